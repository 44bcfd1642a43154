"""A storyboard: a clip's matrix of similarities, cut into its segments, over a key frame of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from egotools.derive.segments import SegmentedClip
from egotools.errors import ClipError
from egotools.linear.change_points import unit_rows
from egotools.media.shown_frames import shown_at
from egotools.plots import Shot, Storyboard, storyboard_picture
from egotools.stores.source import SourceFiles
from egotools.stores.store import Store
from egotools.types import Clip, FloatArray, Frame, IntArray, Rows

Floats = npt.NDArray[np.float64]

CELLS = 600  # most rows of the drawn matrix; longer clips are averaged
MOST = 60  # most key frames


def draw_storyboard(clip: SegmentedClip, rows: Rows, video: Clip | None, store: Store) -> tuple[bytes, list[str]]:
    """A PNG, and remarks: what is missing in it and why.

    Args:
        clip: the segments.
        rows: the rows that they were found in.
        video: where frames are read from; None if it is unknown.
        store: the cache of the rows.
    """
    shown, remarks = _shown(clip)
    keys = key_rows(rows.values, clip.edges)[shown]
    frames, more = _frames(video, rows.times[keys].mean(axis=1), store)
    shots = [Shot(frame, _caption(clip, at)) for frame, at in zip(frames, shown.tolist(), strict=bool(frames))]
    width = -(-len(rows.values) // CELLS)  # rows of a cell
    board = Storyboard(
        binned_similarity(rows.values, width), clip.edges / width, clip.seconds, clip.labels.tolist(), shots
    )
    count = f"{len(clip)} segments" if len(clip) > 1 else "1 segment"
    return storyboard_picture(board, title=f"{clip.id}: {count}, {store.path.name}"), [*remarks, *more]


def key_rows(values: FloatArray, edges: IntArray) -> IntArray:
    """The row of each segment [S] that is nearest, by its cosine, to the mean of the segment's unit rows; the first."""
    found = []
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        rows = unit_rows(values[start:end])
        found.append(start + int(np.argmax(rows @ rows.mean(axis=0))))
    return np.array(found, np.int64)


def binned_similarity(values: FloatArray, width: int) -> Floats:
    """The mean cosine [M, M] of the rows of each two cells of `width` rows; the last cell may have fewer."""
    cells = [unit_rows(values[at : at + width]).mean(axis=0) for at in range(0, len(values), width)]
    means = np.array(cells)
    return np.asarray(means @ means.T)


def _shown(clip: SegmentedClip) -> tuple[IntArray, list[str]]:
    """The segments that get a key frame: all, or the longest."""
    if len(clip) <= MOST:
        return np.arange(len(clip)), []
    longest = np.argsort(-np.diff(clip.seconds), kind="stable")[:MOST]
    return np.sort(longest), [f"{clip.id}: key frames of the {MOST} longest of {len(clip)} segments"]


def _caption(clip: SegmentedClip, at: int) -> str:
    start, end = clip.seconds[at : at + 2]
    return f"{clip.labels[at]}: {start:.1f}\u2013{end:.1f} s"


def _frames(video: Clip | None, seconds: Floats, store: Store) -> tuple[Sequence[Frame], list[str]]:
    """The frames shown at these times; none, and why, if they cannot be read."""
    if video is None:
        return [], [f"no key frames: neither the manifest nor {store.path} says which file the clip comes from"]
    remarks = []
    if changed := SourceFiles().change(store.source(video.id), video):
        remarks.append(f"{video.id}: the features are older: {changed}")
    try:
        return shown_at(video.path, video.fps, seconds), remarks
    except ClipError as error:
        return [], [*remarks, f"no key frames: {error}"]
