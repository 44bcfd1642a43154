"""Gray and HSV with the integer weights of OpenCV, bit for bit; brightness and contrast of frames.

Source:
    The formulas of OpenCV's 8-bit conversions, as measured; they decide contrast, brightness and blurriness.
"""

from typing import Any, Literal

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


def brightness(frames: Frame, of: Literal["row0", "value"] = "row0") -> npt.NDArray[np.float64]:
    """Mean brightness of each frame.

    Args:
        frames: [T, H, W, 3] uint8 RGB.
        of: `row0` is the mean of hue, saturation and value over the first row of pixels: the reference takes
            `hsv[0]`, meaning V, and its constants and weights go with that. `value` is the mean of V over the frame.

    Returns:
        [T], from 0 to 255.

    Source:
        M3-S, DOI 10.1109/CVPR52729.2023.01035, step 1.
    """
    if of == "value":
        return np.array([frame.max(axis=-1).mean() for frame in frames], np.float64)
    mean: npt.NDArray[np.float64] = hsv(frames[:, 0]).mean(axis=(1, 2))
    return mean


def contrast(frames: Frame, of: Literal["gray", "value"] = "gray") -> npt.NDArray[np.float64]:
    """Deviation (of the population) over the pixels of each frame.

    Args:
        frames: [T, H, W, 3] uint8 RGB.
        of: gray, or V of HSV (the largest of the three channels), the reference's second variant.

    Returns:
        [T], from 0 to 127.5.

    Source:
        M3-S, DOI 10.1109/CVPR52729.2023.01035, step 1.
    """
    return np.array([_deviation(gray(frame) if of == "gray" else frame.max(axis=-1)) for frame in frames], np.float64)


def _deviation(levels: npt.NDArray[np.integer[Any]]) -> float:
    """In whole numbers until the root, so that a frame of one color has exactly 0."""
    counts = np.bincount(levels.ravel(), minlength=256)
    level = np.arange(256)
    total, first, second = int(counts.sum()), int(counts @ level), int(counts @ level**2)
    return float(np.sqrt(total * second - first**2) / total)
