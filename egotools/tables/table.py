"""Features and labels in memory, as rows joined by clip id.

Axes: N rows, D features, T rows of one clip in its cache, C clips.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from egotools.config import digest, file_digest
from egotools.errors import TableError
from egotools.machine import uncollected
from egotools.manifests.table import label_columns, read_manifest
from egotools.stores.opening import open_store
from egotools.stores.pooling import deviation, mean
from egotools.stores.store import Store, StoredClip
from egotools.tables.by_time import (
    FILE,
    RECORDING,
    SPLIT,
    LabelsAtTimes,
    SegmentsOfClips,
    files_of,
    label_rows,
    merged,
    read_labels_at_times,
    said_outside,
    segments_of_clips,
)
from egotools.tables.joining import SAME_TIME, count_named, listed, not_joined, row_counts, shared_clips
from egotools.texts import alike, counted, split_name, tidy
from egotools.types import Clip, IntArray, Rows

if TYPE_CHECKING:
    from pandas import DataFrame

Reduce = Literal["mean", "mean+std"]
Texts = npt.NDArray[np.object_]  # of str: equal texts share memory
Mask = npt.NDArray[np.bool_]

RELEASED = 1 << 26  # bytes of a cache in memory at a time while reading
CHECKED = 1 << 24  # values checked at a time


class Columns(Mapping[str, Texts]):
    """Label columns [N], stored once per clip [C], and expanded on access."""

    def __init__(self, columns: Mapping[str, Texts], rows: IntArray) -> None:
        """`rows` [N] are indices into `columns`."""
        self._columns: Mapping[str, Texts] = columns
        self._rows = rows
        if isinstance(columns, Columns):  # rows of a table are selected
            self._columns, self._rows = columns._columns, columns._rows[rows]

    def __getitem__(self, name: str) -> Texts:
        return self._columns[name][self._rows]

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of features with their clips' labels and splits from the manifest.

    Labels and splits are tidy (`egotools.texts`): texts that differ only in white space are equal.
    """

    ids: Texts  # [N]; several rows share an id if clips were not reduced
    values: npt.NDArray[np.float32]  # [N, D]
    times: npt.NDArray[np.float64]  # [N, 2] seconds of the file
    labels: Mapping[str, Texts]  # by column of the manifest or of segments, each [N]; empty where there is none
    split: Texts  # [N]
    remarks: tuple[str, ...] = ()  # what was left out, counted and named
    parts: tuple[tuple[str, int], ...] = ()  # the caches of the columns, and how many columns each has
    columns: tuple[str, ...] = ()  # all label columns of the manifest, including unread ones

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> Texts:
        """A label column.

        Raises:
            TableError: the manifest does not have the column.
        """
        if name not in self.labels:
            columns = ", ".join(self.columns or self.labels) or "none"
            raise TableError(f"the manifest has no column {name!r}; its label columns are: {columns}")
        return self.labels[name]

    def labeled(self, name: str) -> "Table":
        """The rows whose label in a column is not empty.

        The others are counted in the remarks; labels that differ only in case are named there.
        """
        column = self.column(name)
        has = np.asarray(column != "", bool)
        if not has.any():
            raise TableError(f"no clip with features has a label in the column {name!r}")
        remarks = alike(set(column.tolist()), "labels")
        if has.all():
            return replace(self, remarks=(*self.remarks, *remarks)) if remarks else self
        without = set(self.ids[~has].tolist())
        left = count_named(sorted(without), f"with an empty {name!r} left out")
        before, outside = self.remarks, said_outside(int((~has).sum()), len(self))
        if not without.isdisjoint(self.ids[has].tolist()):  # labels at times: other rows of the same clips stay
            left = f"{counted(int((~has).sum()), 'row')} with an empty {name!r} left out"
        if outside in before:  # the same rows, said once
            before, left = tuple(each for each in before if each != outside), f"{outside}, and are left out"
        return replace(self.only(has), remarks=(*before, left, *remarks))

    def only(self, rows: Mask) -> "Table":
        """The rows of a mask [N]."""
        return replace(
            self,
            ids=self.ids[rows],
            values=self.values[rows],
            times=self.times[rows],
            labels=Columns(self.labels, np.flatnonzero(rows)),
            split=self.split[rows],
        )

    def to_pandas(self) -> "DataFrame":
        """A data frame with a line per row: id, start and end (seconds), split, the labels, and f0 to the last feature.

        Raises:
            TableError: a label column has the name of a feature.
        """
        from pandas import DataFrame  # here, because pandas is slow to import

        features = [f"f{at}" for at in range(self.values.shape[1])]
        if both := sorted({*self.labels} & {*features}):
            raise TableError(f"the manifest's column {both[0]!r} has the name of a feature; rename it")
        start, end = self.times.T
        known = DataFrame({"id": self.ids, "start": start, "end": end, "split": self.split, **self.labels})
        return known.join(DataFrame(self.values, columns=features))

    def without_values(self) -> "Table":
        """The rows without their features, [N, 0]."""
        return replace(self, values=np.empty((len(self), 0), np.float32), parts=())


@uncollected()
def read_table(
    manifest: Path | str,
    caches: Path | str | Sequence[Path | str],
    *,
    reduce: Reduce | None = "mean",
    split: str | None = None,
    labels: Sequence[str] | None = None,
    segments: Path | str | None = None,
) -> Table:
    """The features of a manifest's clips, from one or several caches joined by id and concatenated.

    With segments, a row has the labels of the segment that the middle of its window lies in, beside those of its clip,
    and the column `path`, its file. Of a clip without a split it has the segment's.

    Args:
        manifest: lists the clips, in order.
        caches: their features are concatenated along D in this order.
        reduce: one row per clip, "mean" [D] or "mean+std" [2 D] over its windows; None: one row per window.
        split: only the clips of this split are read; None: all.
        labels: the label columns to read, if the manifest or the segments have them; None: all.
        segments: labels at times, for `reduce` None: a CSV with id, start, end, label, where id is a clip's or its
            `recording`; or a manifest of segments, which have the clips' files.

    Raises:
        TableError: no clip is in every cache, features are not finite, or times differ; no row is in a segment, or
            two segments, or a segment and its clip, say different things of a row.
        ValueError: segments with reduced clips.
    """
    if segments is not None and reduce is not None:
        raise ValueError("segments label the rows of windows: they need reduce=None")
    manifest, stores = Path(manifest), [open_store(path) for path in listed(caches)]
    timed = None if segments is None else read_labels_at_times(Path(segments), labels)
    wanted = labels if labels is None or timed is None else [*labels, RECORDING]
    clips, remarks = shared_clips(manifest, stores, split, wanted)
    of_clips = None if timed is None else segments_of_clips(timed, clips, stores[0], manifest)
    counts = row_counts(clips, stores) if reduce is None else np.ones(len(clips), np.int64)
    names = [name for name in _names(clips) if labels is None or name in labels]
    tidied = lru_cache(maxsize=None)(tidy)  # few texts, many clips
    columns = {name: _texts(tidied(clip.labels.get(name, "")) for clip in clips) for name in names}
    ids, splits = _texts(clip.id for clip in clips), _texts(clip.split for clip in clips)
    del clips
    numbers = np.repeat(np.arange(len(ids)), counts)  # the clip index of each row
    with np.errstate(invalid="ignore", over="ignore"):  # values that are not finite are refused below
        values, times = _read(stores, ids, counts, reduce)
    parts = tuple((str(store.path), _width(store, reduce)) for store in stores)
    by_row = Columns(columns, numbers)
    there = tuple(columns) if labels is None else tuple(label_columns(manifest))
    table = Table(ids[numbers], values, times, by_row, splits[numbers], remarks, parts, there)
    _check_finite(table, [store.path for store in stores])
    return table if timed is None or of_clips is None else _by_time(table, timed, of_clips, ids, counts, manifest)


def _by_time(
    table: Table, timed: LabelsAtTimes, of_clips: SegmentsOfClips, ids: Texts, counts: IntArray, manifest: Path
) -> Table:
    """A table with the labels of segments; `ids` [C] and `counts` [C] are of the clips."""
    found, remarks = label_rows(timed, of_clips, ids.tolist(), counts, table.times)
    labels = {name: table.labels[name] for name in table.labels}
    both = partial(merged, ids=table.ids, times=table.times, where=f"{manifest} and {timed.path}")
    split = both(SPLIT, table.split, found.pop(SPLIT)) if SPLIT in found else table.split
    for name, own in found.items():
        labels[name] = both(name, labels[name], own) if name in labels else own
    labels[FILE] = np.repeat(_texts(of_clips.files), counts)
    columns = tuple(dict.fromkeys((*table.columns, *timed.there, FILE)))
    said = (*table.remarks, *of_clips.remarks, *remarks)
    return replace(table, labels=labels, split=split, columns=columns, remarks=said)


def with_files(table: Table, manifest: Path, cache: Path) -> Table:
    """A table with the column `path`, the file of each row, as rows that are labeled by time have it."""
    there = set(table.ids.tolist())
    clips = [clip for clip in read_manifest(manifest, labels=()) if clip.id in there]
    files = dict(zip((clip.id for clip in clips), files_of(clips, open_store(cache)), strict=True))
    labels = {name: table.labels[name] for name in table.labels}
    return replace(table, labels={**labels, FILE: _texts(files[id] for id in table.ids.tolist())})


def table_of_clips(
    clips: Sequence[Clip], *, times: Sequence[tuple[float, float]] | None = None, columns: Sequence[str] = ()
) -> Table:
    """A row a clip, without features.

    Args:
        clips: with all label columns that the table is to have.
        times: of each clip, in seconds of its file; None: 0 and 0.
        columns: all label columns of the manifest, including unread ones.
    """
    labels = {name: _texts(tidy(clip.labels.get(name, "")) for clip in clips) for name in _names(clips)}
    return Table(
        _texts(clip.id for clip in clips),
        np.empty((len(clips), 0), np.float32),
        np.zeros((len(clips), 2)) if times is None else np.array(times, np.float64).reshape(-1, 2),
        labels,
        _texts(split_name(clip.split) for clip in clips),
        columns=tuple(columns),
    )


def reduced(clip: StoredClip, reduce: Reduce) -> npt.NDArray[Any]:  # Any: a row as stored, or float64
    """The mean of a clip's rows [D], or mean and standard deviation [2 D]; summed in float64."""
    if reduce == "mean" and len(clip) == 1:
        row: npt.NDArray[Any] = clip.views[0][0]  # the mean of one row is that row
        return row
    center = mean(clip)
    return center if reduce == "mean" else np.concatenate([center, deviation(clip, center)])


def numbers_of(texts: Texts | Sequence[str]) -> tuple[list[str], IntArray]:
    """The unique texts, sorted, and the index [N] of each; memory is proportional to the text."""
    names = sorted({str(text) for text in texts})
    number = {name: at for at, name in enumerate(names)}
    return names, np.fromiter((number[text] for text in texts), np.int64, len(texts))


def joined(tables: Sequence[Table]) -> Table:
    """The rows of several tables with the same columns, one after the other."""
    arrays = ("ids", "values", "times", "split")
    parts: dict[str, Any] = {name: np.concatenate([getattr(table, name) for table in tables]) for name in arrays}
    labels = {name: np.concatenate([table.labels[name] for table in tables]) for name in tables[0].labels}
    return replace(tables[0], labels=labels, **parts)


def manifest_digest(manifest: Path) -> str:
    """The digest of a manifest's content.

    Raises:
        TableError: it does not exist or cannot be read.
    """
    try:
        return file_digest(manifest)
    except OSError as error:
        raise TableError(f"{manifest}: cannot be read as a manifest: {error.strerror}") from error


def input_digests(manifest: Path, caches: Sequence[Path]) -> dict[str, Any]:
    """The inputs of a result, JSON-ready (hence Any): digests of the manifest and of the caches' recipes."""
    return {
        "manifest": {"path": str(manifest), "digest": manifest_digest(manifest)},
        "features": [{"path": str(path), "recipe": digest(open_store(path).recipe.identity)} for path in caches],
    }


def _read(
    stores: Sequence[Store], ids: Texts, counts: IntArray, reduce: Reduce | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Values [N, D] and the times [N, 2] of the first store."""
    widths = [_width(store, reduce) for store in stores]
    values, times = np.empty((int(counts.sum()), sum(widths)), np.float32), np.empty((int(counts.sum()), 2))
    for number, (store, stop) in enumerate(zip(stores, np.cumsum(widths).tolist(), strict=True)):
        own = values[:, stop - widths[number] : stop]
        for at, rows in _portions(store, ids, counts, reduce):
            own[at] = rows.values
            if number == 0:
                times[at] = rows.times
            elif reduce is None and (late := (np.abs(times[at] - rows.times) > SAME_TIME).any(axis=1)).any():
                clip = np.repeat(np.arange(len(ids)), counts)[at][late.argmax()]
                raise not_joined(ids[clip], (stores[0], int(counts[clip])), (store, int(counts[clip])))
        store.release()
    return values, times


def _portions(
    store: Store, ids: Texts, counts: IntArray, reduce: Reduce | None
) -> Iterator[tuple[IntArray | slice, Rows]]:
    """Rows of a store, and where they belong in the table: clips of one row many at once, others in pieces.

    Little more than one portion is in memory: mapped pages, which would add to the table's, are released.
    """
    stops = np.cumsum(counts)
    is_single = (counts if reduce is None else store.row_counts(ids.tolist())) == 1  # reduced clips count as one row
    single, step = np.flatnonzero(is_single), max(1, RELEASED // max(store.width * store.dtype.itemsize, 1))
    for begin in range(0, len(single), step):
        clips = single[begin : begin + step]
        rows = store.single_rows(ids[clips].tolist())
        if reduce == "mean+std":  # one row deviates by nothing
            rows = Rows(np.pad(rows.values, ((0, 0), (0, store.width))), rows.times)
        yield stops[clips] - 1, rows
        store.release()
    read = 0
    for number in np.flatnonzero(~is_single).tolist():
        clip, first = store.stored(ids[number]), int(stops[number] - counts[number])
        for rows in clip.pieces() if reduce is None else [_one_row(clip, reduce)]:
            yield slice(first, first + len(rows.values)), rows
            first += len(rows.values)
        read += sum(view.nbytes for view in clip.views)
        if read > RELEASED:
            store.release()
            read = 0


def _one_row(clip: StoredClip, reduce: Reduce) -> Rows:
    span = clip.times[:, 0].min(), clip.times[:, 1].max()
    return Rows(reduced(clip, reduce)[np.newaxis], np.array([span]))


def _width(store: Store, reduce: Reduce | None) -> int:
    return store.width * (2 if reduce == "mean+std" else 1)


def _check_finite(table: Table, caches: Sequence[Path]) -> None:
    """Refuses features that are not finite; counts and names the clips."""
    step = max(1, CHECKED // max(table.values.shape[1], 1))  # rows
    blocks = (table.values[at : at + step] for at in range(0, len(table), step))
    finite = np.concatenate([np.isfinite(block).all(axis=1) for block in blocks])
    if not finite.all():
        broken = list(dict.fromkeys(table.ids[~finite].tolist()))
        raise TableError(
            f"{', '.join(map(str, caches))}: {count_named(broken, 'with NaN or infinite features')}; "
            "extract these again, or take them out of the manifest"
        )


def _names(clips: Sequence[Clip]) -> list[str]:
    """The label columns of the clips, in order of first appearance."""
    return list(dict.fromkeys(name for clip in clips for name in clip.labels))


def _texts(texts: Iterable[str]) -> Texts:
    """Texts as an array; equal ones share an object."""
    known: dict[str, str] = {}
    return np.array([known.setdefault(text, text) for text in texts], dtype=object)
