"""Segments of clips from cached rows: where the features change, without labels.

Axes: T rows of a clip in order of time, D features, S segments. A long clip may be cut in windows: the classes of a
clip are its stretches of one class length, a window has as many segments as classes, and the next window begins with
the last class of the one before, whose segment is not finished. So segments are numbered as the classes are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.config import check_positive, option
from egotools.errors import StoreError, TableError
from egotools.linear.change_points import change_points
from egotools.manifests.segments import Segment
from egotools.manifests.table import read_manifest
from egotools.progress import Progress, no_progress
from egotools.stores.copying import intact
from egotools.stores.opening import open_store
from egotools.stores.store import Store
from egotools.types import Clip, FloatArray, IntArray, Rows

Floats = npt.NDArray[np.float64]

DIGITS = 6  # of written seconds
ROWS = 4096  # looked at together
SLACK = 1e-6  # seconds or classes by which times, which are rounded, may be off


@dataclass(frozen=True)
class Cutting:
    """Into how many segments a clip is cut: a number, or one for each class length."""

    segments: int | None = option(None, "Segments of each clip.")
    class_length: float | None = option(None, "Instead: seconds of a segment, on average; they differ in length.")
    window: float | None = option(
        None, "Seconds that are segmented together, for long streams; by default the whole clip."
    )

    def __post_init__(self) -> None:
        if (self.segments is None) == (self.class_length is None):
            raise ValueError("give one of --segments and --class-length")
        check_positive(self, "segments", "class_length", "window")
        if any(value is not None and not math.isfinite(value) for value in (self.class_length, self.window)):
            raise ValueError("--class-length and --window are finite numbers of seconds")
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
    """Cuts each clip of a cache where its rows change.

    Args:
        cache: features with a row for each time, of any width and from any extractor.
        cutting: how many segments.
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
                remarks.append(f"{id}: {len(clip)} segments, not {cutting.segments}: windows divide them unequally")
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
        TableError: the clip is too short for what is asked.
    """
    starts, ends = rows.times.T
    length = float(ends[-1] - starts[0])
    if cutting.class_length is not None and cutting.class_length > length + SLACK:
        raise TableError(
            f"{length:.6g} s long, less than one --class-length of {cutting.class_length:g} s; give a shorter one"
        )
    if cutting.segments is not None and cutting.window is None:
        points = _points(rows.values, cutting.segments, "--segments")
        numbers = np.arange(cutting.segments)
    else:
        of_rows = _windowed(rows, cutting, length)
        points = np.flatnonzero(np.diff(of_rows)) + 1
        numbers = of_rows[np.append(0, points)]
    inner = (ends[points - 1] + starts[points]) / 2  # the border of the rows, or the middle of their gap or overlap
    seconds = np.round(np.concatenate([starts[:1], inner, ends[-1:]]), DIGITS)
    return SegmentedClip(id, np.concatenate([[0], points, [len(starts)]]), seconds, first_label + numbers)


def _windowed(rows: Rows, cutting: Cutting, length: float) -> IntArray:
    """The number of each row's segment [T], not descending."""
    if cutting.segments is None:
        class_length, flag = cutting.class_length or length, "--class-length"
    else:
        class_length, flag = length / cutting.segments, "--segments"
    middles = rows.times.mean(axis=1) - rows.times[0, 0]
    classes = np.floor(middles / class_length + SLACK).astype(np.int64)
    numbers = np.empty(len(classes), np.int64)
    for start, end in _windows(classes, middles, cutting.window):
        count = int(classes[end - 1] - classes[start]) + 1
        points = _points(rows.values[start:end], count, flag)
        numbers[start:end] = classes[start] + np.searchsorted(points, np.arange(end - start), side="right")
    return numbers


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
