"""Changes of color, equal to Pillow's: blends are truncated to whole numbers, hue is turned in 8-bit HSV.

Axes: N frames, P pixels. Frames are planes [N, 3, P] float32, R, G and B, of whole numbers from 0 to 255, and are
changed in place; factors are [N] float64, one a frame. A step of Pillow's C code in float or double is one here, too.

The same lines compute with NumPy's arrays, faster on the CPU, and with torch's tensors, on a GPU: both libraries have
the functions used here by the same names.
"""

from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch

from egotools.types import Frame

Planes = Any  # a NumPy array or a tensor

LUMA = (19595, 38470, 7471)  # of 65536, ITU-R 601
CIRCLE = 85.0  # hue bytes are 255 parts of the circle: channels are strongest this far apart


def brighten(frames: Planes, factors: Planes) -> None:
    """Blends with black: a factor of 0 gives black, 1 changes nothing."""
    frames *= _a_frame(factors)
    _whole(frames)


def contrast(frames: Planes, factors: Planes) -> None:
    """Blends with the mean gray level of each frame, rounded."""
    lib = _library(frames)
    gray = luma(frames)
    exact = lib.float32 if 255 * gray.shape[1] < 2**24 else lib.float64  # sums of whole numbers
    mean = lib.floor(_cast(gray.sum(1, dtype=exact), "float64") / gray.shape[1] + 0.5)
    _blend(_a_frame(mean), frames, factors)


def saturate(frames: Planes, factors: Planes) -> None:
    """Blends with the gray picture of each frame."""
    _blend(luma(frames)[:, None], frames, factors)


def turn_hue(frames: Planes, shares: Planes) -> None:
    """Adds shares of the whole circle, -0.5 to 0.5, to the hue."""
    lib = _library(frames)
    pixels = _cast(frames, "uint8")
    red, green, blue = pixels[:, 0], pixels[:, 1], pixels[:, 2]
    value = lib.maximum(lib.maximum(red, green), blue)
    least = lib.minimum(lib.minimum(red, green), blue)
    spread = value - least
    below = value - (red ^ green ^ blue ^ value ^ least)  # how far the middle one is below the largest
    order = _cast(red >= green, "uint8")
    order += (green >= blue) * _byte(lib, 2)
    order += (blue >= red) * _byte(lib, 4)
    hue = lib.take(_hues(frames), _joined(below, spread, order))
    hue += _cast(lib.trunc(shares * 255) % 256, "uint8")[:, None]  # modulo 256
    value = _cast(value, "float32")
    strength = _cast(spread, "float32")
    strength /= lib.clip(value, 1, 255)
    strength *= 255
    lib.floor(strength, out=strength)  # the saturation, 0 to 255
    strength *= value
    strength *= 1 / (255 * CIRCLE / 2)
    place = _cast(hue, "float32")
    for channel in range(3):
        # How far from where the channel is strongest: it falls from a sixth of the circle on, to its least at a third.
        away = lib.abs(place - (1.5 * CIRCLE if channel == 0 else CIRCLE * channel))
        if channel == 0:  # strongest at both ends, 0 and 255
            away = CIRCLE - away
        else:
            away -= CIRCLE / 2
        lib.clip(away, 0, CIRCLE / 2, out=away)
        away *= strength
        lib.round(away, out=away)  # never exactly between two numbers
        frames[:, channel] = value - away


def take_channel(frames: Planes, channels: Planes) -> None:
    """One channel [N] of each frame, three times: no luma."""
    frames[:] = frames[_library(frames).arange(len(frames)), channels][:, None]


OPERATIONS: tuple[Callable[[Planes, Planes], None], ...] = (brighten, contrast, saturate, turn_hue)


def luma(frames: Planes) -> Planes:
    """Gray levels [N, P]: exact, because all sums stay below 2 ** 24."""
    gray = frames[:, 0] * float(LUMA[0])
    gray += frames[:, 1] * float(LUMA[1])
    gray += frames[:, 2] * float(LUMA[2])
    gray += 32768.0
    gray *= 1 / 65536
    return _library(gray).floor(gray, out=gray)


@lru_cache(maxsize=1)
def hue_table() -> Frame:
    """Hue bytes [8 * 65536] by 65536 * order + 256 * spread + distance of the middle channel below the largest.

    The order is 1 for R >= G, plus 2 for G >= B, plus 4 for B >= R.
    """
    spread, below = np.meshgrid(np.arange(256, dtype=np.float32), np.arange(256, dtype=np.float32), indexing="ij")
    part = np.where(below <= spread, below, 0) / np.maximum(spread, 1)  # float32, as in C
    hues = np.zeros((8, 256, 256), np.uint8)
    # The order of RGB, RBG, GRB, GBR, BGR, BRG, from the largest to the least. Channels alike give the same by any.
    for order, base, sign in ((3, 1, -1), (1, -1, 1), (2, 1, 1), (6, 3, -1), (4, 3, 1), (5, 5, -1)):
        place = np.float32(base) + np.float32(sign) * part
        turns = np.fmod(place.astype(np.float64) / 6.0 + 1.0, 1.0).astype(np.float32)
        hues[order] = (turns.astype(np.float64) * 255.0).astype(np.uint8)
    hues[:, 0] = 0  # gray
    hues[7] = 0
    return hues.ravel()


@lru_cache
def _hues_on(device: torch.device) -> torch.Tensor:
    return torch.from_numpy(hue_table()).to(device)


def _hues(frames: Planes) -> Planes:
    return hue_table() if isinstance(frames, np.ndarray) else _hues_on(frames.device)


def _joined(*bytes_: Planes) -> Planes:
    """Numbers int64 of the same shape from their bytes, the least first: stored side by side, without arithmetic."""
    first = bytes_[0]
    if isinstance(first, np.ndarray):
        numbers = np.zeros((*first.shape, 8), np.uint8)
    else:
        numbers = first.new_zeros((*first.shape, 8))
    for place, each in enumerate(bytes_):
        numbers[..., place] = each
    return _viewed(numbers)[..., 0]


def _viewed(numbers: Planes) -> Planes:
    return numbers.view(np.int64) if isinstance(numbers, np.ndarray) else numbers.view(torch.int64)


def _library(values: Planes) -> ModuleType:
    return np if isinstance(values, np.ndarray) else torch


def _byte(lib: ModuleType, value: int) -> Any:
    """A number that makes bytes of truth values."""
    return np.uint8(value) if lib is np else torch.tensor(value, dtype=torch.uint8)


def _cast(values: Planes, kind: str) -> Planes:
    if isinstance(values, np.ndarray):
        return values.astype(kind)
    return values.to(getattr(torch, kind))


def _a_frame(values: Planes) -> Planes:
    return _cast(values, "float32")[:, None, None]


def _blend(base: Planes, frames: Planes, factors: Planes) -> None:
    frames -= base
    frames *= _a_frame(factors)
    frames += base  # three roundings, not a fused one
    _whole(frames)


def _whole(frames: Planes) -> None:
    lib = _library(frames)
    lib.clip(frames, 0, 255, out=frames)
    lib.floor(frames, out=frames)
