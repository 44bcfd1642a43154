"""Gray and HSV with the integer weights of OpenCV, bit for bit.

Source:
    The formulas of OpenCV's 8-bit conversions, as measured; they decide contrast, brightness and blurriness.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from egotools.types import Frame

Integers = npt.NDArray[np.int32]

RED, GREEN, BLUE = 9798, 19235, 3735  # 0.299, 0.587, 0.114 of 2**15
HALF, SHIFT = 1 << 14, 15


def gray(frames: Frame) -> Integers:
    """[..., 3] uint8 RGB to [...] int32 gray from 0 to 255."""
    # Sums of products stay below 2**24, so that float32 holds them exactly, and a matrix product is the fastest sum.
    weights = np.array([RED, GREEN, BLUE], np.float32)
    total = (frames.astype(np.float32) @ weights).astype(np.int32)
    total += HALF
    total >>= SHIFT
    return total


def hsv(frames: Frame) -> Integers:
    """[..., 3] uint8 RGB to hue, saturation and value [..., 3] int32, each from 0 to 255 (OpenCV's HSV_FULL)."""
    red, green, blue = (frames[..., channel].astype(np.int64) for channel in range(3))
    value = frames.max(axis=-1).astype(np.int64)
    spread = value - frames.min(axis=-1)
    saturation = (spread * _reciprocal(255, value) + 2048) >> 12
    hue = np.where(
        value == red,
        green - blue,
        np.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (hue * _reciprocal(256, 6 * spread) + 2048) >> 12
    hue = np.where(hue < 0, hue + 256, hue)
    return np.stack([hue, saturation, value], axis=-1).astype(np.int32)


def _reciprocal(scale: int, divisor: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`scale` / `divisor` with 12 bits after the point; 0 where the divisor is."""
    rounded = np.rint((scale << 12) / np.maximum(divisor, 1)).astype(np.int64)
    return np.where(divisor == 0, 0, rounded)
