"""Cuts boxes out of frames, resizes them as Pillow does, and mirrors them: bytes to bytes, in the reading worker."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.pixels.sizes import even_side
from egotools.types import Frame, IntArray

Interpolation = Literal["nearest", "bilinear"]
AT_ONCE = 8  # frames that are resized together: as many as the caches hold
NO_BOX = -1  # the width of a box where none fitted: the frame's shorter side is resized, and the middle cut out


def cropped(
    frames: Frame,
    boxes: IntArray,
    flips: np.ndarray,
    side: int,
    *,
    between: int,
    interpolation: Interpolation = "nearest",
) -> Frame:
    """Boxes of frames at one size; what falls outside of a frame is black.

    Each box is resized to `between` x `between` by bilinear interpolation with antialiasing, equal to Pillow's to
    within one gray level, and to `side` x `side` by taking the nearest pixels, or in the same way; only then mirrored.

    Args:
        frames: uint8 [L, H, W, 3].
        boxes: [L, 4], x, y, width and height in pixels; a width of -1 (`NO_BOX`) cuts out the middle of a frame whose
            shorter side has been resized.
        flips: bool [L], which frames are mirrored.
        side: of the result.
        between: side of the boxes after resizing.
        interpolation: from `between` to `side`.

    Returns:
        uint8 [L, side, side, 3].
    """
    found = np.empty((len(frames), side, side, 3), np.uint8)
    for first, last in _alike(boxes, flips):
        box, flip = tuple(boxes[first].tolist()), bool(flips[first])
        for begin in range(first, last, AT_ONCE):
            end = min(begin + AT_ONCE, last)
            pixels = _resized_middle if box[2] == NO_BOX else _resized_box
            whole = pixels(frames[begin:end], box, between)
            if interpolation == "bilinear":
                small = resized(whole, side, side)
                found[begin:end] = small[:, :, ::-1] if flip else small
                continue
            whole = whole.reshape(end - begin, -1)
            whole.take(_places(between, side, flip), axis=1, out=found[begin:end].reshape(end - begin, -1), mode="clip")
    return found


def resized(
    frames: Frame, height: int, width: int, interpolation: Literal["bilinear", "bicubic"] = "bilinear"
) -> Frame:
    """Frames [L, H, W, 3] at another size, with antialiasing."""
    if frames.shape[1:3] == (height, width):
        return np.ascontiguousarray(frames)
    pixels = torch.from_numpy(frames if min(frames.strides) > 0 else frames.copy()).permute(0, 3, 1, 2)
    pixels = F.interpolate(pixels, size=(height, width), mode=interpolation, antialias=True)
    array: Frame = pixels.permute(0, 2, 3, 1).contiguous().numpy()
    return array


def lowered(frame: Frame, height: int) -> Frame:
    """A frame [H, W, 3] that is at most so high, its width even then, as FFmpeg's `scale=-2:256` has it; bicubic."""
    if frame.shape[0] <= height:
        return frame
    found: Frame = resized(frame[None], height, even_side(frame.shape[1], frame.shape[0], height), "bicubic")[0]
    return found


def enlarged(frames: Frame, side: int) -> Frame:
    """Frames [L, H, W, 3]; if their shorter side is below `side`, they are resized so that it is equal."""
    height, width = frames.shape[1:3]
    return frames if min(height, width) >= side else resized(frames, *shorter_side(height, width, side))


def shorter_side(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of a frame whose shorter side becomes `side`; the other one is truncated."""
    return (int(side * height / width), side) if width < height else (side, int(side * width / height))


def center_box(height: int, width: int, side: int) -> tuple[int, int, int, int]:
    """The box in the middle, which may reach outside of the frame; halves are rounded to even, as in the reference."""
    return round((width - side) / 2), round((height - side) / 2), side, side


def five_boxes(height: int, width: int, side: int) -> IntArray:
    """Boxes [5, 4]: top left, top right, bottom left, bottom right, center.

    Raises:
        ValueError: the frame is smaller.
    """
    if side > min(height, width):
        raise ValueError(f"frames of {width}x{height} pixels are smaller than the crop, {side}x{side}")
    right, below = width - side, height - side
    corners = [(x, y, side, side) for y in (0, below) for x in (0, right)]
    return np.array([*corners, center_box(height, width, side)], np.int64)


@lru_cache
def nearest(source: int, target: int) -> IntArray:
    """Which pixels [target] of a line are kept when it is resized to the nearest ones."""
    step = source / target
    # Pillow adds up steps, which decides where a place falls on a pixel's border.
    return np.add.accumulate(np.r_[step / 2, np.full(target - 1, step)]).astype(np.int64)


@lru_cache
def _places(source: int, target: int, flip: bool) -> IntArray:
    """Where in a flat picture [source, source, 3] each byte of [target, target, 3] is."""
    lines = nearest(source, target)
    columns = lines[::-1] if flip else lines
    return (3 * (lines[:, None, None] * source + columns[:, None]) + np.arange(3)).ravel()


def _alike(boxes: IntArray, flips: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of frames that are cut and mirrored alike."""
    changes = np.flatnonzero((np.diff(boxes, axis=0) != 0).any(1) | (np.diff(flips.astype(np.int8)) != 0)) + 1
    edges = [0, *changes.tolist(), len(boxes)]
    return pairwise(edges)


def _resized_box(frames: Frame, box: tuple[int, int, int, int], side: int) -> Frame:
    return resized(_cut(frames, box), side, side)


def _resized_middle(frames: Frame, _: tuple[int, int, int, int], side: int) -> Frame:
    height, width = shorter_side(frames.shape[1], frames.shape[2], side)
    return np.ascontiguousarray(_cut(resized(frames, height, width), center_box(height, width, side)))


def _cut(frames: Frame, box: tuple[int, int, int, int]) -> Frame:
    x, y, width, height = box
    inside = frames[:, max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    if inside.shape[1:3] == (height, width):
        return inside
    whole = np.zeros((len(frames), height, width, 3), np.uint8)
    top, left = max(-y, 0), max(-x, 0)
    whole[:, top : top + inside.shape[1], left : left + inside.shape[2]] = inside
    return whole
