"""Accuracy of a vote among the nearest clips. Axes: N evaluated rows, M rows that vote, D features, K classes."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, overload

import numpy as np

from egotools.config import option
from egotools.errors import TableError
from egotools.evaluate import exact
from egotools.evaluate.classification import Predictions, Result, figures
from egotools.evaluate.comparison import VOTE, Compared, compared
from egotools.evaluate.labelled_sets import KS, SHARE, neighbor_choices, rows_of_task
from egotools.evaluate.splits import AS_IN_MANIFEST, Partition
from egotools.evaluate.trials import Task, Trial, remarks_on
from egotools.processes import compute_alone_if_forked
from egotools.progress import Progress, no_progress
from egotools.tables.table import Table
from egotools.types import FloatArray, IntArray

DEEPEST = 2048  # neighbors that FAISS finds at once (its limit on GPUs); beyond, similarities are masked by group
BLOCK = 1024  # queries that are looked up at a time
SAMPLED = 1000  # rows that the caches' shares are estimated from
NEARLY_ALL = 0.99  # of the vectors' squared length
NOBODY = -1  # row number where there are fewer neighbors than asked for


@dataclass(frozen=True)
class KNN:
    """Accuracy of a vote among the nearest neighbors, found exactly."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"storyboard": {"vote": "euclidean", "k": KS}}

    vote: Literal["cosine", "euclidean"] = option(
        "cosine",
        "By cosine, weighted; or one vote each by Euclidean distance, with the best k on test (oracle) and that of a"
        " tenth of train, as Memory Storyboard.",
    )
    k: tuple[int, ...] = option(
        (20, 1, 5), "Neighbors that vote; several with commas. The first is the one shown in detail."
    )
    temperature: float = option(0.07, "A neighbor's vote weighs exp(cosine / temperature).  [cosine]")

    def __post_init__(self) -> None:
        if not self.k or min(self.k) < 1:
            raise ValueError(f"--k must be 1 or more, not {self.k}")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"--temperature must be above 0, not {self.temperature}")


def knn(
    table: Table,
    label: str,
    config: KNN,
    *,
    partition: Partition = AS_IN_MANIFEST,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Result:
    """Predicts the label of each evaluated row by a vote of its nearest neighbors.

    With splits the rows of one vote on those of the other. Without any, every row is evaluated with the rows
    of all other clips. Rows of one group of the partition never vote on each other.

    The Euclidean vote needs splits; `seed` is that of the tenth of train on which its k is chosen.

    Raises:
        TableError: an unknown label or split, one class only, or nobody to vote.
    """
    if config.vote == "euclidean":
        return _euclidean(Task.of(table, label, partition, held_out=SHARE), config, seed)
    task = compared(table, label, partition, VOTE)
    labels, voting = task.labels[task.queries], task.labels[task.gallery]
    neighbors, similarity = nearest(*task.values(), max(config.k), own=task.own(), progress=progress)
    task.check(similarity)
    rows, details = task.table.without_values().only(task.queries), found_details(task, neighbors, similarity)
    results = []
    for k in config.k:
        predicted, scores = vote(
            voting, neighbors[:, :k], similarity[:, :k], classes=len(task.classes), temperature=config.temperature
        )
        results.append(Predictions(task.classes, rows, labels, predicted, scores, details(k)))
    by_k = [{"k": k, **figures(result, voting)} for k, result in zip(config.k, results, strict=True)]
    remarks = (*task.remarks, *unequal(task.table), *task.unreachable())
    return Result({"protocol": task.protocol, **by_k[0], "by_k": _short(by_k)}, results[0], remarks)


def _euclidean(task: Task, config: KNN, seed: int) -> Result:
    """The vote of Memory Storyboard, its k chosen on a tenth of train; the best k on test is reported beside it."""
    if task.split is None:
        raise TableError(
            "--vote euclidean needs the splits train and test, or val: 'egotools manifest split' draws them"
        )
    train, test = task.split.train, task.split.test
    rows, back = rows_of_task(task, train, test, seed)
    choices = neighbor_choices(rows, config.k)
    at = choices.chosen
    shown = task.table.without_values().only(test)
    found = Predictions(task.classes, shown, back[rows.truth], back[choices.predicted[at]], choices.scores[at])
    labels = task.labels[train]
    known = tuple(task.classes[number] for number in np.unique(labels))
    remarks = remarks_on(task, Trial(known, found, train, labels), found)
    if left := sorted({*config.k} - {*choices.values}):
        remarks += (f"--k {','.join(map(str, left))}: more than the {len(labels)} training rows, left out",)
    report = {"protocol": f"{task.protocol}, Euclidean, k of a tenth of train", "k": int(choices.values[at])}
    report |= {**figures(found, labels), **choices.figures("k"), "by_k": choices.table("k")}
    return Result(report, found, remarks)


def found_details(
    task: Compared, neighbors: IntArray, similarity: FloatArray
) -> Callable[[int], dict[str, Sequence[str]]]:
    """For predictions.csv: by how many of the neighbors [N, k], their ids and similarities as JSON lists.

    Where clips have several rows, also the neighbors' times, by which rows of one id are told apart.
    """
    ids, times = task.table.ids[task.gallery], task.table.times[task.gallery]
    has_several = len(set(ids.tolist())) < len(ids)

    def details(k: int) -> dict[str, Sequence[str]]:
        first = neighbors[:, :k]
        when = {"neighbor_times": _Details(first, first, lambda row: times[row].tolist())} if has_several else {}
        return {
            "neighbors": _Details(first, first, lambda row: ids[row].tolist()),
            **when,
            "similarities": _Details(first, similarity[:, :k], lambda row: np.round(row, 6).tolist()),
        }

    return details


def nearest(
    queries: FloatArray,
    rows: FloatArray,
    k: int,
    *,
    own: tuple[IntArray, IntArray] | None = None,
    progress: Progress = no_progress,
) -> tuple[IntArray, FloatArray]:
    """The k rows of the greatest cosine similarity to each query, exactly, the most similar first.

    They are found in float32, and again in float64 where that cannot tell them apart.

    Args:
        queries: [N, D].
        rows: [M, D]. Of equally similar ones the earlier comes first.
        k: fewer where there are fewer.
        own: group numbers of the queries [N] and of the rows [M]; a query never finds rows of its own group.
        progress: reports queries.

    Returns:
        Row numbers and similarities, both [N, k]; -1 and -inf where a query has fewer neighbors.
    """
    if k < 1:
        raise ValueError(f"cannot find {k} neighbors")
    k, count = min(k, len(rows)), min(k + exact.SPARE, len(rows))
    unit = normalized(rows)
    found, similarity = _candidates(unit if queries is rows else normalized(queries), unit, count, own, progress)
    del unit
    points_somewhere = queries.any(axis=1)  # to a row of zeros all are equally similar
    wrong, lacking = (np.flatnonzero(each & points_somewhere) for each in exact.doubtful(similarity, k, rows.shape[1]))
    if len(lacking) and count < len(rows):
        group_of = None if own is None else (own[0][lacking], own[1])
        found[lacking] = exact.search(queries[lacking], rows, count, group_of)
    found, best = found[:, :count], similarity[:, :k].astype(np.float64)
    if len(wrong):
        ordered, exactly = exact.rank(queries[wrong], rows, found[wrong])
        found[wrong], best[wrong] = ordered, exactly[:, :k]
    return found[:, :k], best


def _candidates(
    queries: FloatArray, rows: FloatArray, count: int, own: tuple[IntArray, IntArray] | None, progress: Progress
) -> tuple[IntArray, FloatArray]:
    """The `count` best rows of other groups by float32, the most similar first; queries and rows have length one."""
    largest = 0 if own is None else _largest_shared(*own)
    if min(count + largest, len(rows)) > DEEPEST:
        return _nearest_masked(queries, rows, count, own, progress)
    found, similarity = _search(queries, rows, min(count + largest, len(rows)), progress)
    if own is not None and largest:
        is_own = own[1][found] == own[0][:, None]
        found, similarity = np.where(is_own, NOBODY, found), np.where(is_own, -np.inf, similarity)
    return _best(found, similarity, count)


def vote(
    labels: IntArray, neighbors: IntArray, similarity: FloatArray, *, classes: int, temperature: float
) -> tuple[IntArray, FloatArray]:
    """Each query's class by the sum of its neighbors' weights, exp(similarity / temperature).

    Args:
        labels: [M] classes of the rows that vote.
        neighbors: [N, k] row numbers, -1 for nobody.
        similarity: [N, k].
        classes: K.
        temperature: above 0.

    Returns:
        Classes [N] (of equal sums the lower number), and the share [N] of all weight that voted for them.
    """
    strongest = similarity.max(axis=1, keepdims=True)  # taken off before exp, which would overflow
    weights = np.exp((similarity - strongest).astype(np.float64) / temperature)  # exp(-inf) = 0: nobody has no vote
    cells = np.arange(len(neighbors))[:, None] * classes + labels[neighbors]
    there, cell = np.unique(cells, return_inverse=True)  # of all N x K these have a vote
    sums = np.bincount(cell.ravel(), weights.ravel())
    first = np.searchsorted(there, np.arange(len(neighbors)) * classes)  # a query's cells, by their classes
    strongest = np.maximum.reduceat(sums, first)
    queries = there // classes
    best = np.flatnonzero(sums == strongest[queries])
    winners = best[np.unique(queries[best], return_index=True)[1]]
    return there[winners] - queries[winners] * classes, strongest / np.add.reduceat(sums, first)


def normalized(values: FloatArray) -> FloatArray:
    """Rows [N, D] of length one, float32; a row of zeros stays, and is similar to none."""
    lengths = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    unit: FloatArray = np.multiply(values, scale[:, None], dtype=np.float32, casting="same_kind")
    return unit


def _search(queries: FloatArray, rows: FloatArray, depth: int, progress: Progress) -> tuple[IntArray, FloatArray]:
    """The `depth` rows of the greatest inner product with each query, by FAISS, on a GPU where FAISS has one."""
    import faiss

    compute_alone_if_forked()
    search = partial(faiss.knn, xb=rows, k=depth, metric=faiss.METRIC_INNER_PRODUCT)  # copies no rows
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        index: Any = faiss.IndexFlatIP(rows.shape[1])  # Any: FAISS says little of its types
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
        index.add(rows)
        search = partial(index.search, k=depth)
    found, similarity = np.empty((len(queries), depth), np.int64), np.empty((len(queries), depth), np.float32)
    for part in _blocks(len(queries), progress):
        similarity[part], found[part] = search(queries[part])
    return found, similarity


def _blocks(count: int, progress: Progress) -> Iterator[slice]:
    """So many queries in blocks; Ctrl-C ends the search after one."""
    for start in range(0, count, BLOCK):
        progress("finding neighbors", start, count)
        yield slice(start, start + BLOCK)
    progress("finding neighbors", count, count)


def _nearest_masked(
    queries: FloatArray, rows: FloatArray, k: int, own: tuple[IntArray, IntArray] | None, progress: Progress
) -> tuple[IntArray, FloatArray]:
    """As `nearest`, from all similarities: for groups so large that searching past them would be deeper than FAISS."""
    blocks = []
    k = min(k, len(rows))
    for part in _blocks(len(queries), progress):
        similarity = queries[part] @ rows.T
        if own is not None:
            similarity[own[0][part, None] == own[1]] = -np.inf
        found = exact.smallest(-similarity, k)
        best = np.take_along_axis(similarity, found, axis=1)
        blocks.append(_best(np.where(np.isneginf(best), NOBODY, found), best, k))
    return np.concatenate([found for found, _ in blocks]), np.concatenate([best for _, best in blocks])


def _best(found: IntArray, similarity: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """The first k columns after sorting each row by falling similarity and, where equal, by rising row number."""
    order = np.lexsort((found, -similarity), axis=1)[:, :k]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(similarity, order, axis=1)


def _largest_shared(queries: IntArray, rows: IntArray) -> int:
    """How many rows the largest group has that also has queries."""
    shared = rows[np.isin(rows, queries)]
    return int(np.bincount(shared).max()) if len(shared) else 0


def unequal(table: Table) -> list[str]:
    """A remark on joined caches of which one makes up nearly all of the vectors' length: cosines see no other."""
    stops = np.cumsum([width for _, width in table.parts]).tolist()
    some = table.values[:: max(1, len(table) // SAMPLED)].astype(np.float64)
    squares = [float(np.square(part).sum()) for part in np.split(some, stops[:-1], axis=1)] if len(stops) > 1 else []
    share = max(squares, default=0.0) / (sum(squares) or 1.0)
    if share < NEARLY_ALL:
        return []
    name = table.parts[int(np.argmax(squares))][0]
    return [f"{name} makes up {share:.2%} of the vectors (by squared length): cosines hardly see the other caches"]


class _Details(Sequence[str]):
    """Something of the neighbors of each row as a JSON list (an id may hold anything), made when it is asked for."""

    def __init__(self, neighbors: IntArray, values: IntArray | FloatArray, plain: Callable[[Any], list[Any]]) -> None:
        """Of neighbors [N, k] and numbers [N, k]; `plain` turns numbers [k] into what is listed (Any: JSON values)."""
        self._neighbors, self._values, self._plain = neighbors, values, plain

    def __len__(self) -> int:
        return len(self._neighbors)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[row] for row in range(*at.indices(len(self)))]
        there = self._neighbors[at] != NOBODY
        return json.dumps(self._plain(self._values[at][there]), ensure_ascii=False)


def _short(by_k: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: entry[name] for name in ("k", "accuracy", "mean_class_accuracy")} for entry in by_k]
