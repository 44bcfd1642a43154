"""Which frames of a clip stand for its positions, and which cached row shows each. Axes: P positions, T rows."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from egotools.types import IntArray

Sampling = Literal["reference", "exact"]
POSITIONS = 16  # 8 s at 2 frames per second
SAME = 1e-6  # seconds by which two rows are equally near


def picked_frames(start: int, end: int, sampling: Sampling = "reference", positions: int = POSITIONS) -> IntArray:
    """The frames [P] of a clip from frame `start` up to `end`, which are counted in the whole video.

    `reference`: the first P numbers that divide by ceil((end - start) / P), or if there are fewer, by the floor: the
    picks begin up to 14 frames late in the usual clip of 240 frames. `exact`: evenly spaced from `start`, which is what
    the metric assumes.

    Raises:
        ValueError: the clip has fewer than P frames.

    Source:
        Ego4D, hands and objects, `_sample_frames`.
    """
    count = end - start
    if count < positions:
        raise ValueError(f"{count} frames, {positions} are needed")
    if sampling == "exact":
        return start + np.rint(np.arange(positions) * (count / positions)).astype(np.int64)
    for step in (-(-count // positions), count // positions):
        found = np.arange(-(-start // step) * step, end, step, dtype=np.int64)
        if len(found) >= positions:
            break
    return found[:positions]


def nearest_position(frames: IntArray, keyframe: int) -> int:
    """The position of the frame [P] that is nearest to a key frame, the first of equally near ones."""
    return int(np.abs(frames - keyframe).argmin())


def rows_of_times(times: npt.NDArray[np.float64], rows: npt.NDArray[np.float64], within: float) -> IntArray | None:
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
    return len(rows) - 1 - is_near[:, ::-1].argmax(axis=1)
