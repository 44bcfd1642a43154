"""How far a predicted moment lies from the true one. Axes: N clips, P positions of a clip."""

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]  # int or float
Values = npt.NDArray[np.float64]


def frame_rates(start: Numbers, end: Numbers, seconds: Numbers) -> Values:
    """Frames per second [N] of clips from frame `start` to frame `end`, which last so many seconds.

    One frame more than the difference is counted, as in the reference: 30.125 for 240 frames in 8 s.
    """
    return (np.asarray(end, np.float64) - start + 1) / seconds


def keyframe_errors(
    chosen: Numbers, positions: int, start: Numbers, end: Numbers, keyframe: Numbers, fps: Numbers
) -> Values:
    """The distance in seconds [N] of a chosen position from the key frame; NaN where there is no key frame.

    Position j of P stands for the frame `start + (end - start) / P * j`, whichever frame was shown for it.

    Args:
        chosen: the position of each clip, from 0; may be a fraction.
        positions: P.
        start: first frames.
        end: the frames after the last ones.
        keyframe: the true frames, counted as `start` is; NaN: there is none.
        fps: frames per second.

    Source:
        Ego4D, hands and objects, `keyframe_distance`.
    """
    predicted = (np.asarray(end, np.float64) - start) / positions * chosen
    found: Values = np.abs(predicted - (np.asarray(keyframe, np.float64) - start)) / fps
    return found


def share(right: npt.NDArray[np.bool_]) -> float:
    """The share [N] that is right; NaN of none."""
    return float(right.mean()) if right.size else float("nan")


def mean_of(values: Values) -> float:
    """The mean of those that are numbers; NaN if there are none."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")
