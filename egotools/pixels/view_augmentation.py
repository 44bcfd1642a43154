"""Augmented views of pictures, as self-supervised learning takes them: drawn as numbers, applied as Pillow would.

Boxes of chance are cut out and resized, mirrored, changed in color, some made gray, some blurred, and all normalized.
On the CPU picture by picture, because the caches hold one; on another device many at once.

Axes: V views, S side.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from egotools.pixels.augmentation import NONE, Jitter, draw_jitter, recolor
from egotools.pixels.blur import blur
from egotools.pixels.colors import Planes, luma
from egotools.pixels.crops import resized
from egotools.pixels.preprocessing import Preprocessing
from egotools.pixels.resampling import resized_boxes
from egotools.types import FloatArray, Frame, IntArray

Mask = npt.NDArray[np.bool_]
AT_ONCE = 64 << 20  # numbers of the pictures that a device takes together


@dataclass(frozen=True, eq=False)
class ViewDraws:
    """What was drawn for each view, as numbers."""

    boxes: IntArray  # [V, 4] x, y, width, height in pixels, inside of the picture
    mirrored: Mask  # [V] left and right swapped
    turned: Mask  # [V] top and bottom swapped
    factors: FloatArray  # [V, 4] float64: of brightness, contrast, saturation; share of the circle that hue turns
    order: IntArray  # [V, 4] which of these four comes first, second, third, last; -1: none
    gray: Mask  # [V] luma instead of colors, after them
    sigmas: FloatArray  # [V] float64, of the blur, in pixels; 0: none

    def __len__(self) -> int:
        return len(self.boxes)

    def part(self, rows: IntArray | slice) -> "ViewDraws":
        """Some of the views."""
        return ViewDraws(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True)
class ViewColors:
    """What is drawn for each view but for its box; by default as SimCLR's reproductions do."""

    flip_p: float = 0.5
    vertical_flip_p: float = 0.0
    jitter: Jitter = field(default_factory=lambda: Jitter(0.4, 0.4, 0.2, 0.1, p=0.8, consistent=False))
    gray_p: float = 0.2
    blur_p: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)  # of the blur, in pixels

    def draw(self, boxes: IntArray, random: np.random.Generator) -> ViewDraws:
        """Draws for boxes [V, 4]."""
        count = len(boxes)
        mirrored, turned = random.random(count) < self.flip_p, random.random(count) < self.vertical_flip_p
        changed = random.random(count) < self.jitter.p
        factors, order = draw_jitter(count, random, replace(self.jitter, p=1.0, consistent=False))
        order[~changed] = NONE
        gray = random.random(count) < self.gray_p
        is_blurred = random.random(count) < self.blur_p
        sigmas = np.where(is_blurred, random.uniform(*self.sigma, count), 0.0)
        return ViewDraws(boxes, mirrored, turned, factors, order, gray, sigmas)


def augmented(pictures: Sequence[Frame], places: IntArray, draws: ViewDraws, side: int, device: torch.device) -> Tensor:
    """Views of pictures, normalized for networks trained on ImageNet.

    Args:
        pictures: uint8 [H, W, 3] each, of any sizes.
        places: [V], which picture each view is of.
        draws: of the V views.
        side: S.
        device: of the result; there the work is done.

    Returns:
        float32 [V, 3, S, S].
    """
    if device.type != "cpu":
        return augmented_together(pictures, places, draws, side, device)
    found = np.empty((len(places), 3, side, side), np.float32)
    scale, shift = _normalization()
    for view, place in enumerate(places.tolist()):
        planes = _recolored(_cut(pictures[place], draws, view, side), draws.part(slice(view, view + 1)))
        np.multiply(planes[0], scale, out=found[view])
        found[view] += shift
    return torch.from_numpy(found)


def augmented_together(
    pictures: Sequence[Frame], places: IntArray, draws: ViewDraws, side: int, device: torch.device
) -> Tensor:
    """As `augmented`, many pictures at once; on the CPU slower."""
    found = torch.empty((len(places), 3, side, side), device=device)
    scale, shift = (torch.from_numpy(each).to(device) for each in _normalization())
    for rows, pictured in _alike(pictures, places):
        chosen = draws.part(rows)
        planes = _resized_together(pictures, pictured, chosen, side, device)
        found[torch.from_numpy(rows).to(device)] = _recolored(planes, chosen).mul_(scale).add_(shift)
    return found


def _cut(picture: Frame, draws: ViewDraws, view: int, side: int) -> npt.NDArray[np.float32]:
    """One view's box at its size: [1, 3, S * S]."""
    x, y, width, height = draws.boxes[view].tolist()
    pixels = resized(picture[None, y : y + height, x : x + width], side, side)[0]
    pixels = pixels[:: -1 if draws.turned[view] else 1, :: -1 if draws.mirrored[view] else 1]
    planes = np.empty((1, 3, side, side), np.float32)
    planes[0] = pixels.transpose(2, 0, 1)
    return planes.reshape(1, 3, -1)


def _recolored(planes: Planes, draws: ViewDraws) -> Planes:
    """[N, 3, S * S] float32, changed in place, to [N, 3, S, S]."""
    recolor(planes, np.full(len(draws), NONE), draws.factors, draws.order)
    side = math.isqrt(planes.shape[2])
    if draws.gray.any():
        rows = _rows(draws.gray, planes)
        planes[rows] = luma(planes[rows])[:, None]
    pictures = planes.reshape(-1, 3, side, side)
    is_blurred = draws.sigmas > 0
    if is_blurred.any():
        rows = _rows(is_blurred, planes)
        some: Planes = pictures[rows]
        whole: Planes = some.astype(np.uint32) if isinstance(some, np.ndarray) else some.to(torch.int32)
        blur(whole, draws.sigmas[is_blurred])
        pictures[rows] = whole if isinstance(pictures, np.ndarray) else whole.float()
    return pictures


def _rows(chosen: Mask, planes: Planes) -> Any:
    """An index of planes: a slice, which copies nothing, where all are chosen."""
    if chosen.all():
        return slice(None)
    rows = np.flatnonzero(chosen)
    return rows if isinstance(planes, np.ndarray) else torch.from_numpy(rows).to(planes.device)


def _alike(pictures: Sequence[Frame], places: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Views whose pictures are of one size, so many that a device can take them, and which pictures these are."""
    sizes = np.array([pictures[place].shape[:2] for place in places.tolist()], np.int64).reshape(-1, 2)
    for size in np.unique(sizes, axis=0):
        rows = np.flatnonzero((sizes == size).all(1))
        rows = rows[np.argsort(places[rows], kind="stable")]  # views of one picture together: it is copied once
        at_once = max(AT_ONCE // int(3 * size.prod()), 1)
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]
            yield some, places[some]


def _resized_together(
    pictures: Sequence[Frame], places: IntArray, draws: ViewDraws, side: int, device: torch.device
) -> Tensor:
    """Boxes of pictures of one size: [V, 3, S * S]."""
    used, which = np.unique(places, return_inverse=True)
    pixels = torch.from_numpy(np.stack([pictures[place] for place in used.tolist()])).to(device)
    planes = pixels.permute(0, 3, 1, 2).float()[torch.from_numpy(which).to(device)]
    boxes, mirrored, turned = (
        torch.from_numpy(each).to(device) for each in (draws.boxes, draws.mirrored, draws.turned)
    )
    return resized_boxes(planes, boxes, side, side, mirrored, turned).flatten(2)


def _normalization() -> tuple[FloatArray, FloatArray]:
    """What bytes are multiplied by, and what is added: float32 [3, 1, 1] each, as in `Normalize`."""
    mean, std = (np.array(each, np.float64)[:, None, None] for each in (Preprocessing.mean, Preprocessing.std))
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
