"""Labels at times, for the rows of clips: a row gets those of the segment that its window's middle lies in.

Axes: C clips, N rows of all clips, T rows of one clip, S segments. Times are seconds of the file.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from egotools.errors import TableError
from egotools.files.csv_files import open_csv
from egotools.files.disk import real
from egotools.manifests.segments import TOUCHING, read_segments
from egotools.manifests.table import label_columns, read_manifest
from egotools.stores.arrays import OF_MANY
from egotools.stores.store import Store
from egotools.tables.joining import NAMED
from egotools.tables.rows_within import Picked, Times, rows_within
from egotools.texts import composed, counted, named, split_name, tidy
from egotools.types import Clip, IntArray

FILE = "path"  # the column of a row's file; it is reserved in manifests, so that no label has this name
LABEL, SPLIT, RECORDING = "label", "split", "recording"
NONE = -1  # the number of no segment, and of an empty label

_Texts = npt.NDArray[np.object_]  # of str


@dataclass(frozen=True, eq=False)
class Column:
    """What the segments say in one column: texts by number, and the number of each segment [S], -1 for nothing."""

    texts: list[str]
    numbers: IntArray


@dataclass(frozen=True, eq=False)
class LabelsAtTimes:
    """The segments of a file, in its order."""

    path: Path
    by_file: bool  # whether clips are found by their file, or by id and `recording`
    keys: list[str]  # [S] the file, or the id
    names: list[str]  # [S] for messages
    spans: Times  # [S, 2]; infinite at the end of the file
    fps: list[float | None]  # [S] that frames of a folder were counted at
    columns: Mapping[str, Column]  # labels by name, and the split if the segments have splits
    there: tuple[str, ...]  # all label columns, including unread ones

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, eq=False)
class SegmentsOfClips:
    """Which segments each clip has."""

    files: list[str]  # [C] links followed; empty for imported rows whose video is not known
    numbers: Mapping[int, IntArray]  # clip -> its segments, sorted by start; clips without any are left out
    remarks: tuple[str, ...]


def read_labels_at_times(path: Path, labels: Collection[str] | None) -> LabelsAtTimes:
    """The labels of a segments file: a manifest of segments, or id, start, end, label (`egotools.manifests.segments`).

    Args:
        path: a CSV file; with a column `path` it is a manifest, whose label columns are all read.
        labels: the label columns to read; None: all.

    Raises:
        ManifestError: the file cannot be read as either.
    """
    return _of_manifest(path, labels) if FILE in open_csv(path)[0] else _of_segments(path, labels)


def _of_segments(path: Path, labels: Collection[str] | None) -> LabelsAtTimes:
    found = read_segments(path)
    wanted = labels is None or LABEL in labels
    return LabelsAtTimes(
        path,
        False,
        [each.id for each in found],
        [f"{each.id!r}, {each.start:g} to {each.end:g} s," for each in found],
        np.array([(each.start, each.end) for each in found]),
        [None] * len(found),
        {LABEL: _column([each.label for each in found])} if wanted else {},
        (LABEL,),
    )


def _of_manifest(path: Path, labels: Collection[str] | None) -> LabelsAtTimes:
    clips, names = read_manifest(path, labels=labels), label_columns(path)
    to_file = lru_cache(maxsize=None)(lambda path: "" if path == Path() else str(real(path)))  # many share a file
    wanted = [name for name in names if labels is None or name in labels]
    columns = {name: _column([tidy(clip.labels[name]) for clip in clips]) for name in wanted}
    if any(clip.split.strip() for clip in clips):
        columns[SPLIT] = _column([split_name(clip.split) for clip in clips])
    return LabelsAtTimes(
        path,
        True,
        [to_file(clip.path) for clip in clips],
        [repr(clip.id) for clip in clips],
        np.array([(clip.start, inf if clip.end is None else clip.end) for clip in clips]),
        [clip.fps for clip in clips],
        columns,
        tuple(names),
    )


def segments_of_clips(labels: LabelsAtTimes, clips: Sequence[Clip], store: Store, manifest: Path) -> SegmentsOfClips:
    """Joins segments with clips: by file, as `derive cut`, or by id and `recording`.

    Args:
        labels: the segments.
        clips: of the table [C]; with the column `recording`, if their manifest has it.
        store: names the files of clips without a path.
        manifest: of the clips, for messages.

    Raises:
        TableError: no segment is of any of the clips, or frames are counted at another rate.
    """
    files = files_of(clips, store)
    clips_of: dict[str, list[int]] = {}
    for number, (clip, file) in enumerate(zip(clips, files, strict=True)):
        ids = dict.fromkeys((clip.id, composed(clip.labels.get(RECORDING, "")) or clip.id))
        for key in [file] if labels.by_file else ids:
            clips_of.setdefault(key, []).append(number)
    clips_of.pop("", None)  # files that nobody knows
    found: dict[int, list[int]] = {}
    for segment, key in enumerate(labels.keys):
        for place in clips_of.get(key, ()):
            _check_rate(labels, segment, clips[place])
            found.setdefault(place, []).append(segment)
    if not found:
        _refuse(labels, clips, files, manifest)
    lost = [number for number, key in enumerate(labels.keys) if key not in clips_of]
    remarks = []
    if lost:
        whose = sorted({labels.keys[number] for number in lost})
        what = counted(len(whose), "file" if labels.by_file else "clip")
        remarks.append(
            f"{counted(len(lost), 'segment')} of {what} without features left out: {named([*map(repr, whose)], NAMED)}"
        )
    ordered = {at: np.array(each)[np.argsort(labels.spans[each, 0], kind="stable")] for at, each in found.items()}
    return SegmentsOfClips(files, ordered, tuple(remarks))


def files_of(clips: Sequence[Clip], store: Store) -> list[str]:
    """The file of each clip, links followed: the manifest's, or else what the cache was made from.

    Empty where nobody knows, and for files of arrays with the rows of many clips, which need not be of one video.
    """
    to_file = lru_cache(maxsize=None)(
        lambda path: "" if not path or path.lower().endswith(OF_MANY) else str(real(path))
    )
    return [to_file(store.source(each.id).path if each.path == Path() else str(each.path)) for each in clips]


def label_rows(
    labels: LabelsAtTimes, of_clips: SegmentsOfClips, ids: Sequence[str], counts: IntArray, times: Times
) -> tuple[dict[str, _Texts], tuple[str, ...]]:
    """The labels of each row, empty where it lies in no segment, and remarks on what has none.

    Args:
        labels: the segments.
        of_clips: which of them each clip has.
        ids: of the clips [C].
        counts: rows of each clip [C].
        times: of all rows [N, 2], clip by clip.

    Raises:
        TableError: segments that say different things of a row, or no row in any segment.
    """
    owners = {name: np.full(len(times), NONE, np.int64) for name in labels.columns}
    is_inside, has_rows = np.zeros(len(times), bool), np.zeros(len(labels), bool)
    stops = np.cumsum(counts)
    for clip, numbers in of_clips.numbers.items():
        part = slice(stops[clip] - counts[clip], stops[clip])
        picked = rows_within(times[part], labels.spans[numbers], overlap=False)
        inside = is_inside[part]  # a view, as are those below
        for number, rows in zip(numbers.tolist(), picked, strict=True):
            inside[rows] = True
            has_rows[number] |= bool(rows.stop > rows.start if isinstance(rows, slice) else len(rows))
        for name, column in labels.columns.items():
            clash = _own(owners[name][part], column, numbers, picked, labels.spans)
            if clash is not None:
                one, other, row = clash
                _clash(labels, name, ids[clip], one, other, times[part][row].mean())
    remarks = _remarks(labels, of_clips, is_inside, has_rows)
    if not has_rows.any():
        _refuse_times(labels, of_clips, counts, times)
    return {name: _of_rows(column, owners[name]) for name, column in labels.columns.items()}, remarks


def _of_rows(column: Column, owner: IntArray) -> _Texts:
    """The text of each row [N], by the number of its segment [N]."""
    numbers = np.append(column.numbers, NONE)[owner]  # the last one is that of no segment
    found: _Texts = np.array([*column.texts, ""], dtype=object)[numbers]
    return found


def _remarks(
    labels: LabelsAtTimes, of_clips: SegmentsOfClips, is_inside: npt.NDArray[np.bool_], has_rows: npt.NDArray[np.bool_]
) -> tuple[str, ...]:
    joined = np.unique(np.concatenate([*of_clips.numbers.values()]))
    empty = [labels.names[number].rstrip(",") for number in joined[~has_rows[joined]].tolist()]
    said = f"{counted(len(empty), 'segment')} without a row, as no row's middle lies inside"
    without = [f"{said}: {named(empty, NAMED, between='; ')}"] if empty else []
    outside = int((~is_inside).sum())
    return (*without, *([said_outside(outside, len(is_inside))] if outside else []))


def said_outside(count: int, total: int) -> str:
    """The remark on rows in no segment."""
    return f"{count} of {total} rows lie in no segment"


def merged(name: str, of_clips: _Texts, of_segments: _Texts, *, ids: _Texts, times: Times, where: str) -> _Texts:
    """A column [N] that both the clips and the segments have: what the clip says, or else the segment.

    Raises:
        TableError: both say something of a row, and not the same; `where` names the files.
    """
    has_own = np.asarray(of_clips != "", bool)
    unlike = np.asarray(of_segments != "", bool) & has_own & np.asarray(of_segments != of_clips, bool)
    if not unlike.any():
        return np.where(has_own, of_clips, of_segments)
    row = int(unlike.argmax())
    raise TableError(
        f"{where} both have the column {name!r}, and say {of_clips[row]!r} and {of_segments[row]!r} of clip"
        f" {ids[row]!r} at {times[row].mean():g} s; rename the column in one of them, or take it out"
    )


def _column(values: Sequence[str]) -> Column:
    known: dict[str, int] = {}
    numbers = [known.setdefault(text, len(known)) if text else NONE for text in values]
    return Column([*known], np.array(numbers, np.int64))


def _own(
    owner: IntArray, column: Column, numbers: IntArray, picked: Sequence[Picked], spans: Times
) -> tuple[int, int, int] | None:
    """Writes into `owner` [T] which segment each row of a clip has its label from.

    Of segments that touch, whose written times overlap by a rounding error, the later has the row.

    Returns:
        Two segments that say different things of one row, and that row; None: there are none.
    """
    said = column.numbers[numbers]
    for number, own, rows in zip(numbers.tolist(), said.tolist(), picked, strict=True):
        if own == NONE:
            continue
        before = owner[rows]
        if (before != NONE).any():
            is_overlap = spans[before, 1] - spans[number, 0] > TOUCHING
            unlike = (before != NONE) & (column.numbers[before] != own) & is_overlap
            if unlike.any():
                at = int(unlike.argmax())
                return int(before[at]), number, int(np.arange(len(owner))[rows][at])
        owner[rows] = number
    return None


def _clash(labels: LabelsAtTimes, name: str, id: str, one: int, other: int, middle: float) -> NoReturn:
    column = labels.columns[name]
    first, second = (column.texts[column.numbers[each]] for each in (one, other))
    raise TableError(
        f"{labels.path}: the segments {labels.names[one]} and {labels.names[other]} overlap, so that the row of clip"
        f" {id!r} at {middle:g} s would be both {first!r} and {second!r} in {name!r}; shorten one of them, or give them"
        " columns of their own"
    )


def _check_rate(labels: LabelsAtTimes, number: int, clip: Clip) -> None:
    fps = labels.fps[number]
    if fps is not None and clip.fps not in (None, fps):
        raise TableError(
            f"{labels.path}: the segment {labels.names[number]} counts frames at {fps:g} fps, its clip {clip.id!r} at"
            f" {clip.fps:g}: their seconds differ"
        )


def _refuse(labels: LabelsAtTimes, clips: Sequence[Clip], files: Sequence[str], manifest: Path) -> NoReturn:
    theirs = labels.keys[0]
    if labels.by_file:
        own = next((file for file in files if file), "")
        said = f"its files are like {theirs!r}, " if theirs else "it names no file, "
        said += f"those of the clips like {own!r}" if own else "and the clips name none"
        said += "; give it the columns id, start, end, label, where id is the clip's" if not (own and theirs) else ""
    else:
        said = f"its ids are like {theirs!r}, those of the clips like {clips[0].id!r}; ids must be equal,"
        said += f" or equal to the clips' {RECORDING!r}"
    raise TableError(f"{labels.path} has no segments of the {len(clips)} clips of {manifest}: {said}")


def _refuse_times(labels: LabelsAtTimes, of_clips: SegmentsOfClips, counts: IntArray, times: Times) -> NoReturn:
    clip, numbers = next(iter(of_clips.numbers.items()))
    own = times[counts[:clip].sum() :][: counts[clip]]
    start, end = labels.spans[numbers[0]]
    raise TableError(
        f"{labels.path}: no row's middle lies in a segment: the first one of its clip is from {start:g} to {end:g} s,"
        f" and the clip's rows are at {own.min():g} to {own.max():g} s; times are seconds of the file"
    )
