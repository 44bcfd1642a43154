"""Changes in a sequence of rows, without knowing how many: steps from row to row that stand out from those around them.

Axes: T rows in order of time, D features. Between two rows that follow each other is a border; its step is their
distance, each divided by its length. A step is compared with those near it, as PySceneDetect's AdaptiveDetector does
with frames: a camera that moves changes all the time, a cut once. Where AdaptiveDetector asks for a least difference in
gray levels, part of the clip's own spread is added to what a step is compared with, so that one threshold does for
features of all kinds: of rows that hardly change, the largest step is no change either. Of rows that overlap, each is
compared with the first that does not overlap it, `lag` rows later: a row that has a cut inside is a bit of both sides.

Own code in place of the package ruptures, whose methods need a penalty that depends on the features: kernel temporal
segmentation (Potapov et al., ECCV 2014), which is one of them, did worse on real clips (docs/segment.md).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from egotools.linear.change_points import unit_rows
from egotools.types import FloatArray, IntArray

Floats = npt.NDArray[np.float64]

AROUND = (-2, -1, 1, 2)  # the steps that one is compared with, in lags, as of AdaptiveDetector
FLOOR = 0.3  # of the rows' distance from their mean; chosen with THRESHOLD, see docs/segment.md
THRESHOLD = 1.5  # from this score on, a step is a change
FEWEST = 4  # rows, or lags: of fewer, a step has at most one other to be compared with
BLOCK = 1024  # rows at a time
SLACK = 1e-6  # seconds


def change_scores(features: FloatArray, lag: int = 1) -> Floats:
    """How much each step stands out [T - lag]: by the mean of the steps around it + 0.3 of the rows' spread.

    Args:
        features: [T, D] in order of time, of any float type. With fewer than 4 * lag of them all scores are 0.
        lag: a step is from row t to row t + lag.

    Raises:
        ValueError: a row is not finite, or there are none.
    """
    count = len(features)
    mean = sum(rows.sum(axis=0) for rows in _blocks(features)) / max(count, 1)
    steps, squares, done = np.zeros(max(count - lag, 0)), 0.0, 0
    before = np.empty((0, features.shape[-1]))
    for rows in _blocks(features):
        near = np.concatenate([before, rows])
        new = np.linalg.norm(near[lag:] - near[:-lag], axis=1)
        steps[done : done + len(new)] = new
        before, done = near[-lag:], done + len(new)
        rows -= mean
        squares += float(np.einsum("td,td->", rows, rows))
    if count < FEWEST * lag:
        return np.zeros_like(steps)
    compared = _around(steps, lag) + FLOOR * float(np.sqrt(squares / count))
    return np.divide(steps, compared, out=np.zeros_like(steps), where=steps > 0)


def _around(steps: Floats, lag: int) -> Floats:
    """The mean of the steps around each one, as many of them as there are."""
    reach = lag * max(AROUND)
    kernel = np.zeros(2 * reach + 1)
    kernel[[reach + lag * place for place in AROUND]] = 1
    number = np.convolve(np.ones_like(steps), kernel)[reach:-reach]
    return np.asarray(np.convolve(steps, kernel)[reach:-reach] / number)


def strongest(
    scores: Floats, seconds: Floats, *, least: float, apart: float = 0.0, most: int | None = None
) -> IntArray:
    """The borders with the highest scores, ascending: of two that are too near each other, the one with the higher.

    Args:
        scores: [S] of as many borders, above 0 where something changes.
        seconds: [S], where the borders are, ascending.
        least: lower scores are left out, and scores of 0.
        apart: seconds between two chosen borders, at least.
        most: how many are wanted; None: all.
    """
    candidates = np.flatnonzero((scores >= least) & (scores > 0))
    order = candidates[np.argsort(-scores[candidates], kind="stable")]
    low = np.searchsorted(seconds, seconds - apart + SLACK)
    high = np.searchsorted(seconds, seconds + apart - SLACK)
    is_free, chosen = np.ones(len(scores), bool), list[int]()
    for border in order.tolist():
        if len(chosen) == most:
            break
        if is_free[border]:
            chosen.append(border)
            is_free[low[border] : high[border]] = False
    return np.array(sorted(chosen), np.int64)


def _blocks(features: FloatArray) -> Iterator[Floats]:
    """Rows divided by their length, a block at a time."""
    for first in range(0, max(len(features), 1), BLOCK):
        try:
            yield unit_rows(features[first : first + BLOCK])
        except ValueError as error:
            raise ValueError(f"from row {first} on, {error}" if first else str(error)) from error
