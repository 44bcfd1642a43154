"""Squares of frames that are resized first: drawn as numbers or in the middle, the same for all frames of a clip.

As RepLAI's ResizeCropFlip, and, in the middle, as MultiScaleCropFlipColorJitter evaluates (`replai.md`, section 1.6).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.pixels.crops import Interpolation, center_box, nearest, resized, shorter_side
from egotools.types import Frame


@dataclass(frozen=True)
class ResizedSquare:
    """A square of resized frames, in pixels."""

    width: int  # of the resized frame
    height: int
    x: int  # of the square's left column, inside of it
    y: int
    side: int
    flip: bool = False  # whether the square is mirrored


@dataclass(frozen=True)
class SquareDraws:
    """How squares are drawn: the resized frame's shorter side first, then x, y and whether it is mirrored."""

    side: int = 112
    shortest: int = 128  # real numbers from here
    longest: int = 180  # to here are as likely
    flip_p: float = 0.5
    swap_sides: bool = False  # the resized frame's width and height are swapped, as the published code has them

    def draw(self, height: int, width: int, random: np.random.Generator) -> ResizedSquare:
        """A square of frames of this size."""
        return self.placed(height, width, random.uniform(self.shortest, self.longest), random)

    def placed(self, height: int, width: int, shorter: float, random: np.random.Generator) -> ResizedSquare:
        """A square of frames whose shorter side becomes `shorter`, a real number."""
        new_height, new_width = (int(size / min(height, width) * shorter) for size in (height, width))
        if self.swap_sides:
            new_height, new_width = new_width, new_height
        x, y = (int(random.integers(0, size - self.side, endpoint=True)) for size in (new_width, new_height))
        return ResizedSquare(new_width, new_height, x, y, self.side, bool(random.random() < self.flip_p))


def middle_square(height: int, width: int, *, side: int, shorter: int) -> ResizedSquare:
    """The square in the middle of frames whose shorter side becomes `shorter`; halves are rounded to even."""
    new_height, new_width = shorter_side(height, width, shorter)
    x, y, *_ = center_box(new_height, new_width, side)
    return ResizedSquare(new_width, new_height, x, y, side)


def squares(
    frames: Sequence[Frame] | Frame, square: ResizedSquare, interpolation: Interpolation, *, antialias: bool = True
) -> Frame:
    """Cuts a square out of resized frames, of which no more is made than it takes; the pixels are the same.

    Args:
        frames: uint8 [L, H, W, 3], or L of [H, W, 3].
        square: of side S.
        interpolation: bilinear with antialiasing, equal to Pillow's to within one gray level; or the nearest pixels,
            equal to Pillow's.
        antialias: False: bilinear between the four pixels that are nearest, also where frames become smaller.

    Returns:
        uint8 [L, S, S, 3].
    """
    height, width = frames[0].shape[:2]
    rows, columns = slice(square.y, square.y + square.side), slice(square.x, square.x + square.side)
    if interpolation == "nearest":
        lines, places = nearest(height, square.height)[rows, None], nearest(width, square.width)[columns]
        found = np.stack([frame[lines, places] for frame in frames])
    elif antialias:
        found = _corner(frames, square, height, width)[:, rows, columns]
    else:
        found = _between_nearest(np.stack([*frames]), square.height, square.width)[:, rows, columns]
    return np.ascontiguousarray(found[:, :, ::-1] if square.flip else found)


def _corner(frames: Sequence[Frame] | Frame, square: ResizedSquare, height: int, width: int) -> Frame:
    """The resized frames from their top left pixel at least as far as the square reaches."""
    totals, sizes = (height, width), (square.height, square.width)
    ends = (square.y + square.side, square.x + square.side)
    needed = tuple(_needed(*each) for each in zip(totals, sizes, ends, strict=True))
    # A bit more than the scale, as of a whole side torch would otherwise make a pixel less where rounding has it so.
    scale = tuple(size / total * (1 + 1e-12) for size, total in zip(sizes, totals, strict=True))
    made = tuple(int(part * each) for part, each in zip(needed, scale, strict=True))
    # A side of which as many pixels are made as there are is left as it is by torch, whatever the scale.
    is_left = any(
        new == old and size != total for new, old, size, total in zip(made, needed, sizes, totals, strict=True)
    )
    if needed == totals or is_left:
        return resized(np.stack([*frames]), *sizes)
    high, wide = needed
    pixels = torch.from_numpy(np.stack([frame[:high, :wide] for frame in frames])).permute(0, 3, 1, 2)
    pixels = F.interpolate(pixels, scale_factor=scale, mode="bilinear", antialias=True)
    found: Frame = pixels.permute(0, 2, 3, 1).numpy()
    return found


def _between_nearest(frames: Frame, height: int, width: int) -> Frame:
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    pixels = F.interpolate(pixels, size=(height, width), mode="bilinear", align_corners=False)
    found: Frame = pixels.round_().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return found


def _needed(total: int, size: int, end: int) -> int:
    """How many of a line's `total` pixels the first `end` of `size` pixels are made of."""
    scale = total / size
    # One more than what the last one's filter reaches, so that rounding in the number of pixels made does no harm.
    return min(total, math.ceil((end + 0.5) * scale + max(scale, 1.0)) + 1)
