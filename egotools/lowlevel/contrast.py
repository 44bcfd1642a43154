"""Contrast: how much the pixels of a frame differ."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from egotools.lowlevel.color import gray
from egotools.types import Frame

Of = Literal["gray", "value"]


def contrast(frames: Frame, of: Of = "gray") -> npt.NDArray[np.float64]:
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
