"""Boxes drawn at random, for many pictures at once.

Axes: V views. A box is x, y, width, height in pixels.
"""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from egotools.types import IntArray

ATTEMPTS = 10  # to find a box that fits
RATIO = (3 / 4, 4 / 3)  # width by height
Range = tuple[float, float]


def draw_resized_boxes(
    heights: IntArray, widths: IntArray, random: np.random.Generator, *, scale: Range, ratio: Range = RATIO
) -> IntArray:
    """Boxes [V, 4] int64 as torchvision's RandomResizedCrop draws them, of pictures [V] of these sizes.

    A share of the area in `scale`, and width by height in `ratio`, its logarithm uniform; up to ten times, then the
    largest box of a ratio in range, in the middle.
    """
    return _first_fitting(heights, widths, random, scale, ratio, "log")


def draw_overlapping_boxes(
    heights: IntArray, widths: IntArray, random: np.random.Generator, *, scale: Range, ratio: Range = RATIO
) -> IntArray:
    """Pairs of boxes [2, V, 4] int64 that have pixels in common: the second is drawn until it meets the first.

    As Memory Storyboard's `ensure_overlap`: width by height is uniform itself, and the box in the middle that is taken
    after ten attempts is 3/4 as wide as the picture.
    """
    first = _first_fitting(heights, widths, random, scale, ratio, "uniform")
    second = np.zeros_like(first)
    apart = np.arange(len(first))
    while len(apart):
        second[apart] = _first_fitting(heights[apart], widths[apart], random, scale, ratio, "uniform")
        apart = apart[~overlap(first[apart], second[apart])]
    return np.stack([first, second])


def overlap(first: IntArray, second: IntArray) -> npt.NDArray[np.bool_]:
    """Whether boxes [..., 4] have pixels in common."""
    begin = np.maximum(first[..., :2], second[..., :2])
    end = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    result: npt.NDArray[np.bool_] = (begin < end).all(-1)
    return result


def _first_fitting(
    heights: IntArray,
    widths: IntArray,
    random: np.random.Generator,
    scale: Range,
    ratio: Range,
    kind: Literal["log", "uniform"],
) -> IntArray:
    tries = (len(heights), ATTEMPTS)
    area = random.uniform(*scale, tries) * (heights * widths)[:, None]
    if kind == "log":
        aspect = np.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1]), tries))
    else:
        aspect = random.uniform(*ratio, tries)
    w, h = np.rint(np.sqrt(area * aspect)).astype(np.int64), np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (w > 0) & (h > 0) & (w <= widths[:, None]) & (h <= heights[:, None])
    row, chosen = np.arange(len(heights)), fits.argmax(1)
    w, h = w[row, chosen], h[row, chosen]
    places = random.random((2, len(heights)))
    x, y = (places[0] * (widths - w + 1)).astype(np.int64), (places[1] * (heights - h + 1)).astype(np.int64)
    middle = ~fits.any(1)
    if middle.any():
        w_m, h_m = (_largest if kind == "log" else _narrower)(heights[middle], widths[middle], ratio)
        w[middle], h[middle] = w_m, h_m
        x[middle], y[middle] = (widths[middle] - w_m) // 2, (heights[middle] - h_m) // 2
    return np.stack([x, y, w, h], axis=1)


def _largest(heights: IntArray, widths: IntArray, ratio: Range) -> tuple[IntArray, IntArray]:
    """Width and height of torchvision's fallback."""
    aspect = widths / heights
    w = np.where(aspect > ratio[1], np.rint(heights * ratio[1]).astype(np.int64), widths)
    h = np.where(aspect < ratio[0], np.rint(widths / ratio[0]).astype(np.int64), heights)
    return np.maximum(w, 1), np.maximum(h, 1)


def _narrower(heights: IntArray, widths: IntArray, ratio: Range) -> tuple[IntArray, IntArray]:
    """Width and height of Memory Storyboard's fallback."""
    w = np.clip(np.rint(ratio[0] * widths).astype(np.int64), 1, widths)
    return w, np.clip(np.rint(w / ratio[0]).astype(np.int64), 1, heights)
