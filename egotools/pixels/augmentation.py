"""Random changes of the frames of a clip: drawn as numbers, applied as functions of them.

Boxes are cut out and mirrored in the reading worker (`cropped`), colors are changed on the device (`recolored`).
Axes: L frames of a clip, B clips of a batch, S side.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from egotools.pixels import crops
from egotools.pixels.colors import OPERATIONS, Planes, take_channel
from egotools.types import FloatArray, Frame, IntArray

Mask = npt.NDArray[np.bool_]
ATTEMPTS = 10  # to find a box that fits
NONE = -1  # no channel is taken, no operation comes here


@dataclass(frozen=True, eq=False)
class Draw:
    """What was drawn for each frame, as numbers: [L, ...], or [B, L, ...] of a batch."""

    boxes: IntArray  # [L, 4] x, y, width, height in pixels; a width of -1: see `crops.NO_BOX`
    flips: Mask  # [L] whether it is mirrored
    channels: IntArray  # [L] which channel is shown three times; -1: none
    factors: FloatArray  # [L, 4] float64: of brightness, contrast, saturation; share of the circle that hue turns
    order: IntArray  # [L, 4] which of these four comes first, second, third, last; -1: none

    @classmethod
    def of(cls, batch: Mapping[str, Any]) -> "Draw":
        """From the entries of a batch that bear the fields' names: arrays, or tensors in the CPU's memory."""
        return cls(**{name: np.asarray(batch[name]) for name in cls.__annotations__})


@dataclass(frozen=True)
class Jitter:
    """How far colors may change: factors from 1 - x to 1 + x, the hue by -x to x of the circle."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    p: float = 1.0  # how often; "consistent": once for the clip, with one draw of all; else always, one draw a frame
    consistent: bool = True


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for a clip; by default a random box of each clip, mirrored or not."""

    crop: int = 224  # side of a box after resizing
    crop_p: float = 1.0  # how often a box is drawn; else the middle of the frame is cut out, not resized
    consistent: bool = True  # one box a clip
    flip_p: float = 0.5  # of the whole clip
    gray_p: float = 0.0  # of a frame: one channel instead of colors
    jitter: Jitter | None = None
    interpolation: crops.Interpolation = "nearest"  # from a resized box to what the network sees

    def draw(self, height: int, width: int, length: int, random: np.random.Generator) -> Draw:
        """Draws for a clip of frames of a size."""
        boxes = draw_boxes(height, width, length, random, side=self.crop, p=self.crop_p, consistent=self.consistent)
        flips = np.full(length, random.random() < self.flip_p)
        channels = draw_channels(length, random, p=self.gray_p)
        factors, order = draw_jitter(length, random, self.jitter)
        return Draw(boxes, flips, channels, factors, order)


def middle(height: int, width: int, length: int, side: int) -> Draw:
    """No chance: the middle of each frame, not mirrored, in its own colors."""
    boxes = np.tile(np.array(crops.center_box(height, width, side), np.int64), (length, 1))
    return _plain(boxes)


def draw_boxes(
    height: int, width: int, length: int, random: np.random.Generator, *, side: int, p: float, consistent: bool
) -> IntArray:
    """Boxes [L, 4] of 0.5 to 1 of the frame's area and 3/4 to 4/3 as wide as high.

    With a probability of 1 - p the middle of `side` pixels. If none of ten boxes fits, `NO_BOX`. Without `consistent`
    only the first size is drawn: each frame may swap its width and height, for the next ones too, and has a place of
    its own, or is not cut if it does not fit.
    """
    if random.random() >= p:
        return np.tile(np.array(crops.center_box(height, width, side), np.int64), (length, 1))
    if consistent:
        return np.tile(np.array(_box(height, width, random), np.int64), (length, 1))
    w, h = _size(height, width, random)
    found = []
    for _ in range(length):
        w, h = (h, w) if random.random() < 0.5 else (w, h)
        found.append(_placed(w, h, height, width, random) or (0, 0, width, height))
    return np.array(found, np.int64)


def draw_channels(length: int, random: np.random.Generator, *, p: float, consistent: bool = False) -> IntArray:
    """Channels [L]: -1, or with probability p, of each frame or of all, one of three, another one in each frame."""
    is_gray = np.full(length, random.random() < p) if consistent else random.random(length) < p
    return np.where(is_gray, random.integers(0, 3, length), NONE).astype(np.int64)


def draw_jitter(length: int, random: np.random.Generator, jitter: Jitter | None) -> tuple[FloatArray, IntArray]:
    """Factors [L, 4] float64 and the order [L, 4] of the operations."""
    if jitter is None or random.random() >= jitter.p:
        return _plain_colors(length)
    draws = 1 if jitter.consistent else length
    reach = np.array([jitter.brightness, jitter.contrast, jitter.saturation])
    scales = random.uniform(np.maximum(0, 1 - reach), 1 + reach, (draws, 3))
    turns = random.uniform(-jitter.hue, jitter.hue, (draws, 1))
    order = random.permuted(np.tile(np.arange(4), (draws, 1)), axis=1)
    repeats = length // draws
    return np.hstack([scales, turns]).repeat(repeats, 0), order.repeat(repeats, 0).astype(np.int64)


def cropped(
    frames: Frame, draw: Draw, side: int, *, crop: int = 224, interpolation: crops.Interpolation = "nearest"
) -> Frame:
    """Frames uint8 [L, H, W, 3] cut, resized and mirrored as drawn: uint8 [L, side, side, 3]; see `crops.cropped`."""
    return crops.cropped(frames, draw.boxes, draw.flips, side, between=crop, interpolation=interpolation)


def recolored(pixels: Tensor, draws: Draw) -> Tensor:
    """Colors changed as drawn, exactly as Pillow does.

    Args:
        pixels: uint8 [B, L, S, S, 3] or [L, S, S, 3] on the device.
        draws: with the same first axes.
    """
    frames = pixels.reshape(-1, *pixels.shape[-3:])
    channels, factors, order = draws.channels.reshape(-1), draws.factors.reshape(-1, 4), draws.order.reshape(-1, 4)
    if pixels.device.type != "cpu":
        planes = frames.flatten(1, 2).transpose(1, 2).float().contiguous()
        recolor(planes, channels, factors, order)
        return planes.to(torch.uint8).transpose(1, 2).reshape(pixels.shape)
    found = np.empty((len(frames), frames[0].numel() // 3 if len(frames) else 0, 3), np.uint8)
    for number, frame in enumerate(frames.numpy()):  # the caches hold one
        one = slice(number, number + 1)
        array = frame.reshape(1, -1, 3).transpose(0, 2, 1).astype(np.float32, order="C")
        recolor(array, channels[one], factors[one], order[one])
        found[one] = array.astype(np.uint8).transpose(0, 2, 1)
    return torch.from_numpy(found).view(pixels.shape)


def recolor(planes: Planes, channels: IntArray, factors: FloatArray, order: IntArray) -> None:
    """Changes planes [N, 3, P] as drawn, in place: `channels` [N], `factors` and `order` [N, 4] as in `Draw`."""
    if len(planes) == 1 and isinstance(planes, np.ndarray):  # no time for more than the operations
        if channels[0] != NONE:
            take_channel(planes, channels)
        for number in order[0].tolist():
            if number != NONE:
                OPERATIONS[number](planes, factors[:, number])
        return
    gray = np.flatnonzero(channels != NONE)
    if len(gray):
        _apply(take_channel, planes, gray, channels)
    for position in range(order.shape[1]):
        for number in np.unique(order[:, position]).tolist():
            if number != NONE:
                rows = np.flatnonzero(order[:, position] == number)
                _apply(OPERATIONS[number], planes, rows, factors[:, number])


def _apply(
    operation: Callable[[Planes, Planes], None], planes: Planes, rows: IntArray, values: npt.NDArray[Any]
) -> None:
    """Changes some of the planes."""
    chosen = values[rows]
    places: Planes = rows if isinstance(planes, np.ndarray) else torch.from_numpy(rows).to(planes.device)
    numbers: Planes = chosen if isinstance(planes, np.ndarray) else torch.from_numpy(chosen).to(planes.device)
    if len(rows) == len(planes):
        operation(planes, numbers)
    else:
        some = planes[places]
        operation(some, numbers)
        planes[places] = some


def _box(height: int, width: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(ATTEMPTS):
        w, h = _size(height, width, random)
        w, h = (h, w) if random.random() < 0.5 else (w, h)
        if (box := _placed(w, h, height, width, random)) is not None:
            return box
    return (0, 0, crops.NO_BOX, crops.NO_BOX)


def _size(height: int, width: int, random: np.random.Generator) -> tuple[int, int]:
    area, aspect = random.uniform(0.5, 1) * height * width, random.uniform(3 / 4, 4 / 3)
    return round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))


def _placed(w: int, h: int, height: int, width: int, random: np.random.Generator) -> tuple[int, int, int, int] | None:
    if w > width or h > height:
        return None
    return int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1)), w, h


def _plain(boxes: IntArray) -> Draw:
    factors, order = _plain_colors(len(boxes))
    return Draw(boxes, np.zeros(len(boxes), bool), np.full(len(boxes), NONE), factors, order)


def _plain_colors(length: int) -> tuple[FloatArray, IntArray]:
    return np.tile(np.array([1.0, 1.0, 1.0, 0.0]), (length, 1)), np.full((length, 4), NONE, np.int64)
