"""Enlarging as OpenCV's INTER_AREA does it, bit for bit, and gray of the result.

A pixel of the result lies between two of the source, whose weights have 11 bits after the point. Rows are blended
first, horizontally, then columns; both in integers, with OpenCV's own shifts in between.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from egotools.lowlevel.color import BLUE, GREEN, HALF, RED, SHIFT, Integers
from egotools.types import Frame

Floats = npt.NDArray[np.float32]

ROWS, COLUMNS = 50, 25  # of the result at a time: what they need stays in the processor's cache


@dataclass(frozen=True, eq=False)
class Taps:
    """The two source pixels of each pixel of the result along one axis, and their weights; all [N] int32."""

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    first_weight: Integers  # of 2048
    second_weight: Integers


@lru_cache(maxsize=16)
def taps(source: int, result: int) -> Taps:
    """For an axis of `source` pixels that becomes one of `result` pixels.

    Raises:
        ValueError: it would be made smaller.
    """
    if not 0 < source <= result:
        raise ValueError(f"{source} pixels cannot be enlarged to {result}")
    index = np.arange(result)
    first = index * source // result
    part = (index + 1) - (first + 1) * (result / source)
    part = np.where(part <= 0, 0, part - np.floor(part))
    weights = (np.rint(2048 * share).astype(np.int32) for share in (1 - part, part))
    return Taps(first, np.minimum(first + 1, source - 1), *weights)


def enlarged_gray(frame: Frame, height: int, width: int) -> Floats:
    """Gray of an enlarged frame.

    Args:
        frame: [H, W, 3] uint8 RGB.
        height: of the result, at least H.
        width: of the result, at least W.

    Returns:
        [height, width] float32, whole numbers from 0 to 255.
    """
    rows = _widened(frame, width)  # [H, 3 * width]
    down = taps(len(frame), height)
    upper, lower = np.empty((2, ROWS, rows.shape[1]), np.int32)
    found = np.empty((height, width), np.float32)
    for at in range(0, height, ROWS):
        part = slice(at, min(at + ROWS, height))
        count = part.stop - at
        blended = _blended(rows, down, part, upper[:count], lower[:count]).reshape(count, 3, width)
        found[part] = _gray(blended)
    return found


def _widened(frame: Frame, width: int) -> Integers:
    """Rows [H, 3 * width] of red, green and blue, enlarged, with 7 bits after the point."""
    channels = frame.transpose(0, 2, 1).astype(np.float32).reshape(-1, frame.shape[1])
    sums = np.empty((len(channels), width), np.float32)
    for source, result, weights in _bands(frame.shape[1], width):
        np.matmul(channels[:, source], weights, out=sums[:, result])  # below 2**24: exact in float32
    rows = sums.astype(np.int32).reshape(len(frame), -1)
    rows >>= 4
    return rows


@lru_cache(maxsize=16)
def _bands(source: int, result: int) -> list[tuple[slice, slice, Floats]]:
    """The widening as products with small matrices: columns of the source, of the result, and weights between them."""
    across = taps(source, result)
    bands = []
    for at in range(0, result, COLUMNS):
        columns = np.arange(at, min(at + COLUMNS, result))
        first, second = across.first[columns], across.second[columns]
        weights = np.zeros((second[-1] + 1 - first[0], len(columns)), np.float32)
        np.add.at(weights, (first - first[0], columns - at), across.first_weight[columns])
        np.add.at(weights, (second - first[0], columns - at), across.second_weight[columns])
        bands.append((slice(first[0], second[-1] + 1), slice(at, columns[-1] + 1), weights))
    return bands


def _blended(rows: Integers, down: Taps, part: slice, upper: Integers, lower: Integers) -> Integers:
    """Some rows of the result, in `upper`; `lower` is for its own use."""
    np.take(rows, down.first[part], axis=0, out=upper, mode="clip")  # without the mode NumPy makes a copy
    np.take(rows, down.second[part], axis=0, out=lower, mode="clip")
    upper *= down.first_weight[part, None]
    lower *= down.second_weight[part, None]
    upper >>= 16
    lower >>= 16
    upper += lower
    upper += 2
    upper >>= 2
    return upper


def _gray(channels: Integers) -> Integers:
    """Gray [R, W] of [R, 3, W]."""
    total: Integers = channels[:, 0] * RED
    total += channels[:, 1] * GREEN
    total += channels[:, 2] * BLUE
    total += HALF
    total >>= SHIFT
    return total
