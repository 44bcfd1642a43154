"""Changes in a sequence of rows, without knowing how many: steps from row to row that stand out from those around them.

Axes: T rows in order of time, D features. Between two rows that follow each other is a border; its step is their
distance, each divided by its length. A step is compared with those near it, as PySceneDetect's AdaptiveDetector does
with frames: a camera that moves changes all the time, a cut once. Where AdaptiveDetector asks for a least difference in
gray levels, part of the clip's own spread is added to what a step is compared with, so that one threshold does for
features of all kinds: of rows that hardly change, the largest step is no change either.

Own code, as a penalty of the package ruptures depends on the features: kernel temporal segmentation (Potapov et al.,
ECCV 2014) found fewer of the cuts of real clips, however its penalty was chosen (docs/segment.md).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from egotools.linear.change_points import unit_rows
from egotools.types import FloatArray, IntArray

Floats = npt.NDArray[np.float64]

AROUND = np.array([1.0, 1.0, 0.0, 1.0, 1.0])  # a step is compared with two before and two after, as AdaptiveDetector's
FLOOR = 0.3  # of the rows' distance from their mean; chosen with THRESHOLD, see docs/segment.md
THRESHOLD = 1.5  # from this score on, a step is a change
FEWEST = 4  # rows: of fewer, a step has at most one other to be compared with
BLOCK = 1024  # rows at a time
SLACK = 1e-6  # seconds


def change_scores(features: FloatArray) -> Floats:
    """How much each border stands out [T - 1]: its step / (mean of the steps around it + 0.3 of the rows' spread).

    Args:
        features: [T, D] in order of time, of any float type. Of fewer than four rows all scores are 0.

    Raises:
        ValueError: a row is not finite, or there are none.
    """
    count = len(features)
    mean = sum(rows.sum(axis=0) for rows in _blocks(features)) / max(count, 1)
    steps, squares, first = np.zeros(max(count - 1, 0)), 0.0, 0
    before: Floats | None = None
    for rows in _blocks(features):
        if before is not None:
            steps[first - 1] = np.linalg.norm(rows[0] - before)
        steps[first : first + len(rows) - 1] = np.linalg.norm(np.diff(rows, axis=0), axis=1)
        before, first = rows[-1].copy(), first + len(rows)
        rows -= mean
        squares += float(np.einsum("td,td->", rows, rows))
    if count < FEWEST:
        return np.zeros_like(steps)
    spread = float(np.sqrt(squares / count))
    number = np.convolve(np.ones_like(steps), AROUND)[2:-2]
    compared = np.convolve(steps, AROUND)[2:-2] / number + FLOOR * spread
    return np.divide(steps, compared, out=np.zeros_like(steps), where=steps > 0)


def strongest(
    scores: Floats, seconds: Floats, *, least: float, apart: float = 0.0, most: int | None = None
) -> IntArray:
    """The borders with the highest scores, ascending: of two that are too near each other, the one with the higher.

    Args:
        scores: [T - 1], above 0 where something changes.
        seconds: [T - 1], where the borders are, ascending.
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
