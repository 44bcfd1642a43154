"""Brightness of frames, with the reference's oddity as the default."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from egotools.lowlevel.color import hsv
from egotools.types import Frame

Of = Literal["row0", "value"]


def brightness(frames: Frame, of: Of = "row0") -> npt.NDArray[np.float64]:
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
