"""Changes of color on bytes, as Pillow makes them: blends are truncated, hue is turned in 8-bit HSV.

Axes: N frames, H, W pixels; frames are uint8 [N, H, W, 3], RGB, and factors [N], one a frame.
"""

import torch
from torch import Tensor

LUMA = (19595, 38470, 7471)  # of 65536, ITU-R 601
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def luma(frames: Tensor) -> Tensor:
    """Gray levels [N, H, W, 1] int32, 0 to 255."""
    red, green, blue = (frames[..., channel : channel + 1].int() for channel in range(3))
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue + 32768) >> 16


def brightened(frames: Tensor, factors: Tensor) -> Tensor:
    """Blends with black: 0 gives black, 1 the same."""
    return _bytes(frames.float().mul_(_per_frame(factors)))


def contrasted(frames: Tensor, factors: Tensor) -> Tensor:
    """Blends with the frame's mean gray level, rounded."""
    mean = luma(frames).double().mean(dim=(1, 2, 3), keepdim=True).add_(0.5).floor_().float()
    return _bytes(torch.addcmul(mean, frames.float().sub_(mean), _per_frame(factors)))


def saturated(frames: Tensor, factors: Tensor) -> Tensor:
    """Blends with the frame's gray picture."""
    gray = luma(frames).float()
    return _bytes(torch.addcmul(gray, frames.float().sub_(gray), _per_frame(factors)))


def turned(frames: Tensor, shares: Tensor) -> Tensor:
    """Adds a share of the whole circle, -0.5 to 0.5, to the hue; in double precision where Pillow's C code is."""
    pixels = frames.float().unbind(-1)
    value = torch.maximum(torch.maximum(pixels[0], pixels[1]), pixels[2])
    spread = value - torch.minimum(torch.minimum(pixels[0], pixels[1]), pixels[2])
    shift = (shares.double() * 255).trunc_().int().view(-1, 1, 1)
    hue = (_hue(pixels, value, spread).double().mul_(255).int() + shift) & 255
    fraction = (spread / value.clamp(min=1)).double().mul_(255).trunc_().div_(255).float().double()
    place = hue.double() * 6 / 255
    sector = place.floor()
    part = (place - sector).float().double()
    value = value.double()
    choices = torch.stack(
        [value, _rounded(value * (1 - fraction * part)), _rounded(value * (1 - fraction)),
         _rounded(value * (1 - fraction * (1 - part)))], dim=-1
    ).to(torch.uint8)  # fmt: skip
    # For each sixth of the circle, which of the four a channel takes.
    table = torch.tensor([[0, 3, 2], [1, 0, 2], [2, 0, 3], [2, 1, 0], [3, 2, 0], [0, 2, 1]], device=frames.device)
    return choices.gather(-1, table[sector.long() % 6])


def one_channel(frames: Tensor, channels: Tensor) -> Tensor:
    """One channel [N] of each frame, three times: no luma."""
    index = channels.view(-1, 1, 1, 1).expand(*frames.shape[:3], 1)
    return frames.gather(-1, index).expand(*frames.shape)


OPERATIONS = (brightened, contrasted, saturated, turned)


def _hue(pixels: tuple[Tensor, ...], value: Tensor, spread: Tensor) -> Tensor:
    """From 0 to 1; 0 of gray."""
    red, green, blue = ((value - each) / spread.clamp(min=1) for each in pixels)
    hue = torch.where(
        pixels[0] == value, blue - green, torch.where(pixels[1] == value, 2 + red - blue, 4 + green - red)
    )
    return torch.where(spread > 0, (hue.double() / 6 + 1) % 1.0, 0.0).float()


def _rounded(values: Tensor) -> Tensor:
    """Halves away from zero, as in C; values are not negative."""
    return (values + 0.5).floor_()


def _per_frame(factors: Tensor) -> Tensor:
    return factors.float().view(-1, 1, 1, 1)


def _bytes(values: Tensor) -> Tensor:
    return values.clamp_(0, 255).to(torch.uint8)
