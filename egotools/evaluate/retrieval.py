"""Retrieval: whether a clip of the same class is among the nearest. Axes: N queries, M rows of the gallery, D features.

Source:
    the protocol of Han, Xie, Zisserman, "Self-supervised Co-training for Video Representation Learning" (CoCLR),
    NeurIPS 2020, whose table has the format of MemDPC's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from egotools.config import option
from egotools.evaluate.classification import Predictions, Result, figures
from egotools.evaluate.comparison import Words, compared
from egotools.evaluate.knn import NOBODY, found_details, nearest, unequal
from egotools.evaluate.splits import AS_IN_MANIFEST, Partition
from egotools.progress import Progress, no_progress
from egotools.tables.table import Mask, Table
from egotools.types import FloatArray, IntArray

RETRIEVE = Words("retrieve", "could be retrieved", "a row of their class to retrieve")


@dataclass(frozen=True)
class Retrieval:
    """R@k: the share of queries with a clip of the same class among the k nearest, by cosine, found exactly."""

    k: tuple[int, ...] = option((1, 5, 10, 20, 50), "Depths at which R@k is counted; several with commas.")
    center: bool = option(True, "Subtract from each set (queries, gallery) its own mean first.")

    def __post_init__(self) -> None:
        if not self.k or min(self.k) < 1:
            raise ValueError(f"--k must be 1 or more, not {self.k}")


def retrieval(
    table: Table,
    label: str,
    config: Retrieval,
    *,
    partition: Partition = AS_IN_MANIFEST,
    progress: Progress = no_progress,
) -> Result:
    """Recall of the evaluated rows in the gallery.

    With splits the rows of one are the queries and those of the other the gallery. Without any, every row is a query
    to the rows of all other clips. Rows of one group of the partition never retrieve each other.

    Raises:
        TableError: an unknown label or split, one class only, or an empty gallery.
    """
    task = compared(table, label, partition, RETRIEVE)
    labels, gallery = task.labels[task.queries], task.labels[task.gallery]
    queries, rows = task.values()
    if config.center:
        centered_queries = centered(queries)
        queries, rows = centered_queries, centered_queries if rows is queries else centered(rows)
    neighbors, similarity = nearest(queries, rows, max(config.k), own=task.own(), progress=progress)
    task.check(similarity)
    ranks = first_ranks(gallery, labels, neighbors)
    details = {**found_details(task, neighbors, similarity)(min(config.k)), "rank": [str(r or "") for r in ranks]}
    evaluated = task.table.without_values().only(task.queries)
    scores = np.clip(similarity[:, 0], 0, 1)
    predictions = Predictions(task.classes, evaluated, labels, gallery[neighbors[:, 0]], scores, details)
    sizes, same = task.candidates()
    by_k = [_at(k, ranks, labels, sizes, same) for k in sorted(set(config.k))]
    found = {name: value for name, value in figures(predictions, gallery).items() if name not in ("majority", "chance")}
    remarks = [*task.remarks, *unequal(task.table), *task.unreachable()]
    if max(config.k) > sizes.min():
        remarks.append(f"the smallest gallery of a query has {int(sizes.min())} rows, fewer than --k {max(config.k)}")
    return Result({"protocol": task.protocol, "by_k": by_k, **found}, predictions, tuple(remarks))


def centered(values: FloatArray) -> FloatArray:
    """Rows [N, D] without their mean, float32; the mean is summed in float64."""
    mean = values.mean(axis=0, dtype=np.float64)
    moved: FloatArray = np.subtract(values, mean, dtype=np.float64).astype(np.float32)
    return moved


def first_ranks(gallery: IntArray, labels: IntArray, neighbors: IntArray) -> IntArray:
    """The rank [N], from 1, of the first neighbor of a query's own class; 0 where none of its neighbors is.

    Args:
        gallery: [M] classes.
        labels: [N] classes of the queries.
        neighbors: [N, k] row numbers of the gallery, -1 for nobody.
    """
    hits = (gallery[neighbors] == labels[:, np.newaxis]) & (neighbors != NOBODY)
    return np.where(hits.any(axis=1), 1 + hits.argmax(axis=1), 0).astype(np.int64)


def _at(k: int, ranks: IntArray, labels: IntArray, sizes: IntArray, same: IntArray) -> dict[str, Any]:
    """R@k, its mean over classes, and what a gallery in random order would give; JSON-ready, hence Any."""
    hits: Mask = (ranks > 0) & (ranks <= k)
    rows = np.bincount(labels)
    by_class = np.bincount(labels, hits)[rows > 0] / rows[rows > 0]
    return {
        "k": k,
        "recall": float(hits.mean()),
        "mean_class_recall": float(by_class.mean()),
        "chance": float(_chance(k, sizes, same).mean()),
    }


def _chance(k: int, sizes: IntArray, same: IntArray) -> FloatArray:
    """The probability [N] that of k rows drawn from `sizes` [N] one is among the `same` [N] of the query's class."""
    others, drawn = sizes - same, np.minimum(k, sizes)
    is_sure = others < drawn
    others = np.where(is_sure, drawn, others)  # of C(others, k) / C(sizes, k), the probability of none
    none = gammaln(others + 1) - gammaln(others - drawn + 1) - gammaln(sizes + 1) + gammaln(sizes - drawn + 1)
    return np.where(is_sure, 1.0, -np.expm1(np.where(same == 0, 0.0, none)))
