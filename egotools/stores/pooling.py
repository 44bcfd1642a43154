"""Pools the rows of a clip into one row, reading them in pieces. Axes: T rows of the clip, D features."""

from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.stores.store import StoredClip
from egotools.types import FloatArray

Sums = npt.NDArray[np.float64]


def mean(clip: StoredClip) -> Sums:
    """[D]; summed in float64, so that the mean of equal rows is exactly that row."""
    return np.asarray(sum(piece.values.sum(0, dtype=np.float64) for piece in clip.pieces())) / len(clip)


def deviation(clip: StoredClip, center: Sums | None = None) -> Sums:
    """[D]; population standard deviation, 0 for a single row. `center` is the mean, if known."""
    center = mean(clip) if center is None else center
    squares = sum(np.square(piece.values - center).sum(0) for piece in clip.pieces())
    return np.sqrt(np.asarray(squares) / len(clip))


def largest(clip: StoredClip) -> FloatArray:
    """[D]; NaN if any row has NaN."""
    return reduce(np.maximum, (piece.values.max(0) for piece in clip.pieces()))


def smallest(clip: StoredClip) -> FloatArray:
    """[D]; NaN if any row has NaN."""
    return reduce(np.minimum, (piece.values.min(0) for piece in clip.pieces()))


def span(times: npt.NDArray[Any]) -> Sums:
    """[T, 2] seconds to [1, 2]: from the first start to the last end."""
    return np.array([[times[:, 0].min(), times[:, 1].max()]])
