"""Frames to network input: resizing and cropping of bytes, normalization on the device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.types import Frame

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Preprocessing:
    """How a frame becomes a network's input; belongs to the weights.

    Resizing equals Pillow's (antialiased, on bytes) to within one grey level, bicubic beside hard edges two;
    `antialias=False` is what torchvision's video weights were evaluated with.
    """

    resize: tuple[int, ...]  # (short side,) or (height, width)
    crop: tuple[int, int] | None  # centre crop, (height, width)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    corner: Literal["round", "floor"] = "round"  # of the crop, where it falls on half a pixel; torchvision rounds

    def override(self, resize: str | None, crop: str | None) -> "Preprocessing":
        """The same with other sizes, given as options.

        A full `HxW` to resize to leaves nothing to crop, and a short side is cropped to itself where it is smaller
        than the crop: what is not asked for is not filled up with black.
        """
        chosen = self
        if resize is not None:
            size = parse_size(resize)
            chosen = replace(chosen, resize=size, crop=None if len(size) == 2 else self._smaller(size[0]))
        if crop is not None:
            side = parse_size(crop)
            chosen = replace(chosen, crop=(side[0], side[-1]))
        return chosen

    def of_side(self, side: int) -> "Preprocessing":
        """The same for frames whose shorter side is `side`, resized and cropped in the same proportion."""
        factor = side / min(self.size)
        crop = self.crop and (round(self.crop[0] * factor), round(self.crop[1] * factor))
        return replace(self, resize=tuple(round(each * factor) for each in self.resize), crop=crop)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what comes out; of a short side without a crop, if frames are square."""
        return self.crop or (self.resize[0], self.resize[-1])

    def _smaller(self, side: int) -> tuple[int, int] | None:
        return self.crop and (min(self.crop[0], side), min(self.crop[1], side))

    def __call__(self, frame: Frame) -> Frame:
        """uint8 [H, W, 3] to uint8 [height, width, 3] of the fixed shape."""
        frame = np.require(frame, requirements=["C", "W"])  # a copy only of mirrored and of read-only frames
        pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]  # a view: channels stay last in memory
        pixels = self._crop(self._resize(pixels))
        array: Frame = pixels[0].permute(1, 2, 0).contiguous().numpy()
        return array

    def _resize(self, pixels: Tensor) -> Tensor:
        size = self._target(pixels.shape[2], pixels.shape[3])
        if size == tuple(pixels.shape[2:]):
            return pixels
        if self.antialias:
            return F.interpolate(pixels, size=size, mode=self.interpolation, antialias=True)
        exact = F.interpolate(pixels.float(), size=size, mode=self.interpolation, antialias=False)
        return exact.round().clamp(0, 255).to(torch.uint8)

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if len(self.resize) == 2:
            return self.resize[0], self.resize[1]
        side = self.resize[0]
        if width <= height:
            return int(side * height / width), side
        return side, int(side * width / height)

    def _crop(self, pixels: Tensor) -> Tensor:
        if self.crop is None:
            return pixels
        height, width = self.crop
        below, right = height - pixels.shape[2], width - pixels.shape[3]
        if below > 0 or right > 0:  # a crop larger than the frame is padded with black, as torchvision does
            top, left = max(below, 0) // 2, max(right, 0) // 2
            pixels = F.pad(pixels, (left, max(right, 0) - left, top, max(below, 0) - top))
        whole = round if self.corner == "round" else math.floor
        top, left = whole((pixels.shape[2] - height) / 2), whole((pixels.shape[3] - width) / 2)
        return pixels[:, :, top : top + height, left : left + width]


def squeezed(side: int) -> Preprocessing:
    """All of a frame as a square, whatever its proportions."""
    return Preprocessing(resize=(side, side), crop=None)


def central(side: int) -> Preprocessing:
    """The square in the middle of a frame whose shorter side is 256 where that of the square is 224."""
    return Preprocessing(resize=(256 * side // 224,), crop=(side, side))


def parse_size(text: str) -> tuple[int, ...]:
    """`"224"` to (224,), `"240x320"` (height x width) to (240, 320).

    Raises:
        ValueError: anything else.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} is not a size; write 224 (short side) or 240x320 (height x width)")
    return tuple(int(part) for part in parts)


class Normalize(nn.Module):
    """Bytes [..., H, W, 3] to normalized [..., 3, H, W] with channels last in memory, computed in float32."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)
        self.dtype = torch.float32  # of the result; what runs the network may set another

    def forward(self, pixels: Tensor) -> Tensor:
        scale = torch.tensor([1 / (255 * std) for std in self.std], device=pixels.device)
        shift = torch.tensor([-mean / std for mean, std in zip(self.mean, self.std, strict=True)], device=pixels.device)
        width = pixels.shape[-2]  # whole rows at once, in place: the same values, some times faster
        rows = pixels.flatten(-2).to(torch.float32, copy=True)
        torch.addcmul(shift.repeat(width), rows, scale.repeat(width), out=rows)
        return rows.reshape(*rows.shape[:-1], width, 3).to(self.dtype).movedim(-1, -3)
