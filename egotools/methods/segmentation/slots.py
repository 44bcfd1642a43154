"""From slots to frames to segments. Axes: K slots, C classes, T rows, S segments."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from egotools.metrics.segmentation import Segments, runs
from egotools.types import FloatArray, IntArray

Cut = Literal["rows", "slots"]
Times = npt.NDArray[np.float64]


def frame_labels(parts: Sequence[tuple[FloatArray, int]], rows: int, *, cut: Cut = "rows") -> IntArray:
    """The most probable class of every row of a sequence.

    Args:
        parts: by size of chunk, the probabilities [K, C] of all slots of the sequence, one item after the other, and
            the rows that make a slot. Of several sizes the probabilities are averaged.
        rows: T, of the sequence.
        cut: "rows" labels the rows that there are, as the published test does; "slots" also what the last slot covers
            beyond them, as the published validation does, which knows longer labels.

    Returns:
        Class numbers [T].
    """
    length = rows if cut == "rows" else min(len(values) * chunk for values, chunk in parts)
    if len(parts) == 1:
        ((values, chunk),) = parts
        return np.repeat(values.argmax(axis=1), chunk)[:length]
    total = np.zeros((length, parts[0][0].shape[1]), np.float64)
    for values, chunk in parts:
        total += np.repeat(values, chunk, axis=0)[:length]
    best: IntArray = total.argmax(axis=1)
    return best


def edges(times: Times) -> Times:
    """Where rows with times [T, 2] begin and end [T + 1], in seconds: halfway between their middles.

    Rows that touch keep their own times.
    """
    middles = times.mean(axis=1)
    inner = (middles[1:] + middles[:-1]) / 2
    if np.allclose(times[1:, 0], times[:-1, 1], rtol=0, atol=1e-9):
        return np.concatenate([times[:, 0], times[-1:, 1]])
    half = (inner[:1] - middles[:1]) if len(inner) else (times[:1, 1] - times[:1, 0]) / 2
    last = middles[-1:] - inner[-1:] if len(inner) else half
    return np.concatenate([middles[:1] - half, inner, middles[-1:] + last])


def segments_of(labels: IntArray, times: Times, *, shift: int = 0) -> Segments:
    """Runs of one label [T] as segments in seconds.

    Args:
        labels: class numbers.
        times: of the rows, [T, 2].
        shift: rows by which labels are later than features (`Reading.frame_shift`).
    """
    found, at = runs(labels), edges(times)
    offset = shift * (at[-1] - at[0]) / len(labels)
    starts, ends = at[found.starts.astype(np.int64)] + offset, at[found.ends.astype(np.int64)] + offset
    return Segments(found.labels, starts, ends)
