"""Which frames of a clip stand for its positions, and which cached row shows each. Axes: P positions, T rows."""

from __future__ import annotations

from typing import Literal

import numpy as np

from egotools.sampling import picked_frames
from egotools.types import FloatArray, IntArray

Sampling = Literal["reference", "exact"]
POSITIONS = 16  # 8 s at 2 frames per second
SAME = 1e-6  # seconds by which two rows are equally near


def position_frames(start: int, end: int, sampling: Sampling = "reference") -> IntArray:
    """The frames [P] of a clip from frame `start` up to `end`, which are counted in the whole video.

    `reference`: absolute multiples of a step (`egotools.sampling.picked_frames`). `exact`: evenly spaced from `start`,
    which is what the metric assumes.

    Raises:
        ValueError: the clip has fewer than P frames.
    """
    if sampling == "reference" or end - start < POSITIONS:
        return picked_frames(start, end, POSITIONS)
    found: IntArray = start + np.rint(np.arange(POSITIONS) * ((end - start) / POSITIONS)).astype(np.int64)
    return found


def nearest_position(frames: IntArray, keyframe: int) -> int:
    """The position of the frame [P] that is nearest to a key frame, the first of equally near ones."""
    return int(np.abs(frames - keyframe).argmin())


def rows_of_times(times: FloatArray, rows: FloatArray, within: float) -> IntArray | None:
    """The row [P] whose middle is nearest to each time; None if one has none.

    Of two that are equally near it is the later one: windows of the length of a spacing that begin with a position
    then belong to it.

    Args:
        times: [P] seconds.
        rows: [T, 2] seconds of the rows' windows.
        within: seconds that a middle may be away.
    """
    if not len(rows):
        return None
    distances = np.abs(rows.mean(axis=1) - times[:, np.newaxis])
    nearest = distances.min(axis=1)
    if (nearest > within + SAME).any():
        return None
    is_near = distances <= nearest[:, np.newaxis] + SAME
    found: IntArray = len(rows) - 1 - is_near[:, ::-1].argmax(axis=1)
    return found
