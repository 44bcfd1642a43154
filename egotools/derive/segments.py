"""Segments of clips from cached rows: where the features change, without labels.

Axes: T rows of a clip in order of time, D features, S segments. The classes of a clip are its stretches of one class
length; they are the segments of the method `uniform`. With `cluster`, a long clip may be cut in windows: a window has
as many segments as classes, and the next one begins with the last class of the one before, whose segment is not
finished. So segments are numbered as the classes are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from egotools.config import check_positive, option
from egotools.errors import StoreError, TableError
from egotools.linear.change_points import change_points
from egotools.linear.changes import THRESHOLD, change_scores, strongest
from egotools.manifests.segments import Segment
from egotools.manifests.table import read_manifest
from egotools.progress import Progress, no_progress
from egotools.stores.copying import intact
from egotools.stores.opening import open_store
from egotools.stores.store import Store
from egotools.texts import counted
from egotools.types import Clip, FloatArray, IntArray, Rows

Floats = npt.NDArray[np.float64]

METHODS = ("cluster", "uniform", "change")
OF_METHODS = {  # which options belong to some methods only
    "class_length": ("cluster", "uniform"),
    "window": ("cluster",),
    "threshold": ("change",),
    "min_length": ("change",),
}
MIN_LENGTH = 1.0  # seconds between two changes
DIGITS = 6  # of written seconds
ROWS = 4096  # looked at together
SLACK = 1e-6  # seconds or classes by which times, which are rounded, may be off
MOST = 1e15  # classes that can be counted


@dataclass(frozen=True)
class Cutting:
    """How clips are cut: by which method, and into how many segments or how strictly."""

    method: Literal["cluster", "uniform", "change"] = option(
        "cluster",
        "cluster: as many segments as asked, of rows that are alike. uniform: of equal length. change: wherever a row"
        " differs from the one before far more than rows around do.",
    )
    segments: int | None = option(None, "Segments of each clip; with change, by default as many as there are.")
    class_length: float | None = option(
        None, "Instead: seconds of a segment; with cluster on average.  [cluster, uniform]"
    )
    window: float | None = option(
        None, "Seconds that are segmented together, for long streams; by default the whole clip.  [cluster]"
    )
    threshold: float | None = option(None, f"Score of a change, at least; by default {THRESHOLD:g}.  [change]")
    min_length: float | None = option(
        None, f"Seconds between two changes, at least; by default {MIN_LENGTH:g}.  [change]"
    )

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"--method is one of {', '.join(METHODS)}, not {self.method!r}")
        for name, methods in OF_METHODS.items():
            if getattr(self, name) is not None and self.method not in methods:
                raise ValueError(f"--{name.replace('_', '-')} is for --method {' or '.join(methods)}")
        if self.method != "change" and (self.segments is None) == (self.class_length is None):
            raise ValueError("give one of --segments and --class-length, or --method change, which needs neither")
        if self.segments is not None and self.threshold is not None:
            raise ValueError("give one of --segments and --threshold")
        check_positive(self, "segments", *OF_METHODS)
        for name in OF_METHODS:
            if (value := getattr(self, name)) is not None and not math.isfinite(value):
                raise ValueError(f"--{name.replace('_', '-')} must be a finite number, not {value}")
        if self.window is not None and self.class_length is not None and self.window <= self.class_length:
            raise ValueError("--window must be longer than --class-length")


@dataclass(frozen=True, eq=False)
class SegmentedClip:
    """A clip cut into segments that follow each other without gaps."""

    id: str
    edges: IntArray  # [S + 1], the first row of each segment, then T
    seconds: Floats  # [S + 1], of the file: where each begins, and the last one ends
    labels: IntArray  # [S], ascending; numbers that no other clip has

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def mean_length(self) -> float:
        """Seconds."""
        return float(self.seconds[-1] - self.seconds[0]) / len(self)

    def segments(self) -> list[Segment]:
        """As a file of segments has them."""
        spans = zip(pairwise(self.seconds.tolist()), self.labels.tolist(), strict=True)
        return [Segment(self.id, start, end, str(label), self.id) for (start, end), label in spans]


@dataclass(frozen=True, eq=False)
class Segmented:
    """The segments of a cache, and which clips have none and why."""

    clips: list[SegmentedClip]
    failed: list[tuple[str, str]]  # id and reason
    remarks: list[str]


def segment_cache(
    cache: Path | str, cutting: Cutting, manifest: Path | str | None = None, *, progress: Progress = no_progress
) -> Segmented:
    """Cuts each clip of a cache.

    Args:
        cache: features with a row for each time, of any width and from any extractor.
        cutting: by which method, and how many segments.
        manifest: the clips, in its order; None: all of the cache.
        progress: reports clips.

    Raises:
        StoreError: the cache cannot be opened. (A clip that cannot be segmented is among the failed ones.)
        ManifestError: the manifest cannot be used.
    """
    store = open_store(cache)
    ids = [*store] if manifest is None else [clip.id for clip in read_manifest(manifest, labels=())]
    found, failed, remarks, label = list[SegmentedClip](), [], [], 0
    for done, id in enumerate(ids, 1):
        try:
            clip = segmented_clip(id, rows_of(store, id), cutting, label)
        except (TableError, StoreError) as error:
            failed.append((id, str(error)))
        else:
            found.append(clip)
            label = int(clip.labels[-1]) + 1
            if cutting.segments not in (None, len(clip)):
                why = "windows divide them unequally" if cutting.window else "the others would have no row"
                remarks.append(f"{id}: {len(clip)} segments, not {cutting.segments}: {why}")
        store.release()
        progress("segmenting", done, len(ids))
    return Segmented(found, failed, remarks)


def rows_of(store: Store, id: str) -> Rows:
    """The rows of a clip, finite and in order of time.

    Raises:
        TableError: the clip is absent, has no rows, or its rows cannot be used; names the row.
        StoreError: it is damaged.
    """
    if id not in store:
        raise TableError(f"not in {store.path}; extract it, or take it out of the manifest")
    stored = intact(store, id)
    if not len(stored):
        raise TableError(f"no rows in {store.path}")
    values = stored.views[0] if len(stored.views) == 1 else np.concatenate(stored.views)
    starts, ends = stored.times.T
    for first in range(0, len(values), ROWS):
        broken = np.flatnonzero(~np.isfinite(values[first : first + ROWS]).all(axis=1))
        if len(broken):
            number = first + int(broken[0])
            raise TableError(
                f"row {number} ({starts[number]:.6g} to {ends[number]:.6g} s) has NaN or infinite features in"
                f" {store.path}; extract the clip again"
            )
    late = np.flatnonzero((np.diff(starts) <= 0) | (np.diff(ends) < 0))
    if len(late) or not np.isfinite(stored.times).all():
        number = int(late[0]) + 1 if len(late) else 0
        raise TableError(f"row {number} in {store.path} does not begin after the row before it: rows have no order")
    if ends[-1] <= starts[0]:
        raise TableError(f"its rows in {store.path} last 0 s")
    return Rows(values, stored.times)


def segmented_clip(id: str, rows: Rows, cutting: Cutting, first_label: int = 0) -> SegmentedClip:
    """The segments of one clip, numbered from `first_label` on.

    Raises:
        TableError: the clip is too short for what is asked, or changes too seldom.
    """
    starts, ends = rows.times.T
    length = float(ends[-1] - starts[0])
    if cutting.class_length is not None and cutting.class_length > length + SLACK:
        raise TableError(
            f"{length:.6g} s long, less than one --class-length of {cutting.class_length:g} s; give a shorter one"
        )
    if cutting.method != "uniform" and rows.values.shape[1] == 1:
        raise TableError("rows of one number cannot be compared: divided by their length, they are all 1 or -1")
    if cutting.method == "change":
        points, inner = _changes(rows, cutting)
        numbers = np.arange(len(points) + 1)
    elif cutting.method == "uniform":
        points, numbers, inner = _uniform(rows, cutting, length)
    else:
        points, numbers = _clustered(rows, cutting, length)
        inner = (ends[points - 1] + starts[points]) / 2  # where rows meet, or the middle of their gap or overlap
    seconds = np.round(np.concatenate([starts[:1], inner, ends[-1:]]), DIGITS)
    return SegmentedClip(id, np.concatenate([[0], points, [len(starts)]]), seconds, first_label + numbers)


def _changes(rows: Rows, cutting: Cutting) -> tuple[IntArray, Floats]:
    """First rows of all segments but the first, and the seconds between them: strong changes, or as many as asked."""
    starts, ends = rows.times.T
    lag = _lag(rows.times)
    borders = (ends[:-lag] + starts[lag:]) / 2
    apart = MIN_LENGTH if cutting.min_length is None else cutting.min_length
    if lag > 1 and len(borders):
        apart = max(apart, float(np.median(starts[lag:] - starts[:-lag])))  # a cut is in all rows that overlap it
    least, most = THRESHOLD if cutting.threshold is None else cutting.threshold, None
    if cutting.segments is not None:
        least, most = 0.0, cutting.segments - 1
    chosen = strongest(change_scores(rows.values, lag), borders, least=least, apart=apart, most=most)
    if most is not None and len(chosen) < most:
        raise TableError(
            f"{len(starts)} rows with {counted(len(chosen), 'change')} at least {apart:g} s apart, too few for"
            f" {cutting.segments} segments; give fewer --segments, or a shorter --min-length"
        )
    points, first = np.unique(np.searchsorted(rows.times.mean(axis=1), borders[chosen] - SLACK), return_index=True)
    return points, borders[chosen[first]]


def _lag(times: Floats) -> int:
    """How many rows after a row [T, 2] the first is that does not overlap it: 1, or more where most rows overlap."""
    starts, ends = times.T
    after = np.searchsorted(starts, ends - SLACK)
    has_one = after < len(starts)
    return max(int(np.median((after - np.arange(len(starts)))[has_one])), 1) if has_one.any() else len(starts)


def _uniform(rows: Rows, cutting: Cutting, length: float) -> tuple[IntArray, IntArray, Floats]:
    """First rows of all segments but the first, numbers of all, and the seconds between them: those of the classes."""
    classes, class_length, flag = _classes(rows, cutting, length)
    points, numbers = _parts(classes)
    if classes[-1] + 1 > len(classes):
        wanted = cutting.segments or classes[-1] + 1
        raise TableError(f"{wanted} segments of {len(classes)} rows: choose 1 to {len(classes)} ({flag})")
    return points, numbers, rows.times[0, 0] + class_length * numbers[1:]


def _clustered(rows: Rows, cutting: Cutting, length: float) -> tuple[IntArray, IntArray]:
    """First rows of all segments but the first, and the numbers of all."""
    if cutting.segments is not None and cutting.window is None:
        return _points(rows.values, cutting.segments, "--segments"), np.arange(cutting.segments)
    classes, _, flag = _classes(rows, cutting, length)
    middles = rows.times.mean(axis=1) - rows.times[0, 0]
    numbers = np.empty(len(classes), np.int64)
    for start, end in _windows(classes, middles, cutting.window):
        count = int(classes[end - 1] - classes[start]) + 1
        points = _points(rows.values[start:end], count, flag)
        numbers[start:end] = classes[start] + np.searchsorted(points, np.arange(end - start), side="right")
    return _parts(numbers)


def _classes(rows: Rows, cutting: Cutting, length: float) -> tuple[IntArray, float, str]:
    """The class in which the middle of each row lies [T], the length of a class, and the option that says it."""
    if cutting.segments is None:
        class_length, flag = cutting.class_length or length, "--class-length"
    else:
        class_length, flag = length / cutting.segments, "--segments"
    if not length / class_length < MOST:
        raise TableError(f"{flag} makes far more segments than the {len(rows.times)} rows")
    middles = rows.times.mean(axis=1) - rows.times[0, 0]
    last = max(math.ceil(length / class_length - SLACK) - 1, 0)  # also of a row that is a point in time, at the end
    return np.minimum(np.floor(middles / class_length + SLACK).astype(np.int64), last), class_length, flag


def _parts(of_rows: IntArray) -> tuple[IntArray, IntArray]:
    """Where the numbers of rows, which do not descend, change, and the numbers before and after."""
    points = np.flatnonzero(np.diff(of_rows)) + 1
    return points, of_rows[np.append(0, points)]


def _windows(classes: IntArray, middles: Floats, window: float | None) -> Iterator[tuple[int, int]]:
    """Rows [start, end) of each window; each begins where the last class of the one before does."""
    start = 0
    while True:
        end = len(classes) if window is None else int(np.searchsorted(middles, middles[start] + window - SLACK))
        yield start, end
        if end == len(classes):
            return
        following = int(np.searchsorted(classes, classes[end - 1]))
        if following == start:
            raise TableError(f"a --window of {window:g} s has only one class; give a longer one, or more segments")
        start = following


def _points(values: FloatArray, segments: int, flag: str) -> IntArray:
    try:
        return change_points(values, segments)
    except ValueError as error:
        raise TableError(f"{error} ({flag})") from error


def source_of(store: Store, id: str, clips: Sequence[Clip] = ()) -> Clip | None:
    """The video of a clip: what the manifest says, else what the cache was made from; None if neither knows."""
    listed = next((clip for clip in clips if clip.id == id), None)
    if listed is not None and listed.path != Path():
        return listed
    source = store.source(id)
    return Clip(id, Path(source.path), source.start, source.end, fps=source.fps) if source.path else None
