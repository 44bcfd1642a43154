"""Changes of color, equal to Pillow's: blends are truncated to whole numbers, hue is turned in 8-bit HSV.

Axes: N frames, P pixels. Frames are planes [N, 3, P] float32, R, G and B, of whole numbers from 0 to 255, and are
changed in place; factors are [N] float64, one a frame. A step of Pillow's C code in float or double is one here, too.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from egotools.types import Frame

LUMA = (19595, 38470, 7471)  # of 65536, ITU-R 601
CIRCLE = 85  # hue bytes are 255 parts of the circle: channels are strongest this far apart


def brighten(frames: Tensor, factors: Tensor) -> None:
    """Blends with black: a factor of 0 gives black, 1 changes nothing."""
    frames.mul_(factors.float().view(-1, 1, 1))
    _whole(frames)


def contrast(frames: Tensor, factors: Tensor) -> None:
    """Blends with the mean gray level of each frame, rounded."""
    mean = luma(frames).mean(1, dtype=torch.float64).add_(0.5).floor_().float()
    _blend(mean.view(-1, 1, 1), frames, factors)


def saturate(frames: Tensor, factors: Tensor) -> None:
    """Blends with the gray picture of each frame."""
    _blend(luma(frames).unsqueeze(1), frames, factors)


def turn_hue(frames: Tensor, shares: Tensor) -> None:
    """Adds shares of the whole circle, -0.5 to 0.5, to the hue."""
    red, green, blue = frames.int().to(torch.uint8).unbind(1)  # in two steps: ten times as fast
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    spread = value - least
    below = value - (red ^ green ^ blue ^ value ^ least)  # how far the middle one is below the largest
    order = (red >= green).to(torch.uint8) + 2 * (green >= blue).to(torch.uint8) + 4 * (blue >= red).to(torch.uint8)
    hues, saturations = (torch.from_numpy(table).to(frames.device) for table in tables())
    wide = spread.int() << 8
    hue = _looked_up(hues, (order.int() << 16) + wide + below.int())
    shift = (shares.double() * 255).trunc().to(torch.int16).remainder(256).to(torch.uint8)
    hue += shift.view(-1, 1)  # modulo 256
    strength = _looked_up(saturations, wide + value.int()).float().mul_(value)  # of value * saturation
    place, value = hue.float(), value.float()
    for channel, center in enumerate((0, CIRCLE, 2 * CIRCLE)):
        # How far from where the channel is strongest: it falls from a sixth of the circle on, to its least at a third.
        away = (place - 1.5 * CIRCLE).abs_().neg_().add_(CIRCLE) if not center else (place - center).abs_().sub_(CIRCLE / 2)
        fall = away.clamp_(0, CIRCLE / 2).mul_(strength).mul_(1 / (255 * CIRCLE / 2)).add_(0.5).floor_()
        torch.sub(value, fall, out=frames[:, channel])


def take_channel(frames: Tensor, channels: Tensor) -> None:
    """One channel [N] of each frame, three times: no luma."""
    index = channels.view(-1, 1, 1).expand(-1, 1, frames.shape[2])
    frames.copy_(frames.gather(1, index).expand_as(frames))


OPERATIONS: tuple[Callable[[Tensor, Tensor], None], ...] = (brighten, contrast, saturate, turn_hue)


def luma(frames: Tensor) -> Tensor:
    """Gray levels [N, P]: exact, because all sums stay below 2 ** 24."""
    red, green, blue = frames.unbind(1)
    gray = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    return gray.add_(1 << 15).mul_(1 / (1 << 16)).floor_()


@lru_cache(maxsize=1)
def tables() -> tuple[Frame, Frame]:
    """Hue [8 * 65536] by the channels' order, spread and distance below the largest; saturation [65536] by spread, value.

    The order is 1 for R >= G, plus 2 for G >= B, plus 4 for B >= R.
    """
    spread, other = np.meshgrid(np.arange(256.0, dtype=np.float32), np.arange(256.0, dtype=np.float32), indexing="ij")
    with np.errstate(divide="ignore", invalid="ignore"):  # of spreads and values that do not occur
        part = other / spread  # float32, as in C
        saturations = np.trunc((spread / other).astype(np.float64) * 255.0)
    part[other > spread] = 0
    part[0] = 0
    hues = np.zeros((8, 256, 256), np.float64)
    # Of the channels from the largest to the least: RGB, RBG, GRB, GBR, BGR, BRG. Ties give the same by any.
    for order, base, sign in ((3, 1, -1), (1, -1, 1), (2, 1, 1), (6, 3, -1), (4, 3, 1), (5, 5, -1)):
        place = np.float32(base) + np.float32(sign) * part
        turns = np.fmod(place.astype(np.float64) / 6.0 + 1.0, 1.0).astype(np.float32)
        hues[order] = np.trunc(turns.astype(np.float64) * 255.0)
    return _as_bytes(hues), _as_bytes(saturations)


def _as_bytes(table: np.ndarray) -> Frame:
    return np.nan_to_num(table, posinf=0, neginf=0).clip(0, 255).astype(np.uint8).ravel()


def _looked_up(table: Tensor, index: Tensor) -> Tensor:
    return table.index_select(0, index.view(-1)).view(index.shape)


def _blend(base: Tensor, frames: Tensor, factors: Tensor) -> None:
    frames.sub_(base).mul_(factors.float().view(-1, 1, 1)).add_(base)  # three roundings, not a fused one
    _whole(frames)


def _whole(frames: Tensor) -> None:
    frames.clamp_(0, 255).floor_()
