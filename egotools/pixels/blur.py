"""Gaussian blur exactly as Pillow's: three box blurs along each axis, each rounded to bytes (BoxBlur.c).

The same lines compute with NumPy's arrays and with torch's tensors, as in `colors`.
"""

import math

import numpy as np
import torch

from egotools.pixels.colors import Planes
from egotools.types import FloatArray, IntArray

PASSES = 3  # along each axis
BITS = 24  # weights are whole parts of 2 ** 24
HALF = 1 << (BITS - 1)


def blur(planes: Planes, sigmas: FloatArray) -> None:
    """Pictures as Pillow's `GaussianBlur(radius=sigma)` makes them, changed in place.

    Args:
        planes: NumPy uint32 or torch int32 [N, C, H, W], numbers from 0 to 255.
        sigmas: [N] in pixels, one a picture; 0 changes nothing.
    """
    boxes = np.array([box_of(sigma) for sigma in sigmas.tolist()], np.int64).reshape(-1, 3)
    for radius in sorted(set(boxes[:, 0].tolist())):
        rows = np.flatnonzero((boxes[:, 0] == radius) & (sigmas > 0))
        if len(rows) == len(planes):
            _blur(planes, radius, boxes[:, 1], boxes[:, 2])
        elif len(rows):
            places = rows if isinstance(planes, np.ndarray) else torch.from_numpy(rows).to(planes.device)
            some = planes[places]
            _blur(some, radius, boxes[rows, 1], boxes[rows, 2])
            planes[places] = some


def box_of(sigma: float) -> tuple[int, int, int]:
    """The box whose three passes are nearest to a Gaussian: whole radius, weight inside, weight of the two ends.

    The weights are parts of 2 ** 24. Steps are rounded to float32, as in C.
    """
    f = np.float32
    variance = f(f(sigma) * f(sigma) / f(PASSES))
    length = f(math.sqrt(12.0 * float(variance) + 1.0))
    whole = f(math.floor((float(length) - 1.0) / 2.0))
    part = f(f(2 * whole + 1) * f(f(whole * (whole + 1)) - f(3 * variance)))
    part = f(part / f(6 * f(variance - (whole + 1) * (whole + 1))))
    radius = f(whole + part)
    inside = int(f(1 << BITS) / f(radius * 2 + 1))
    return int(radius), inside, ((1 << BITS) - (2 * int(radius) + 1) * inside) // 2


def _blur(planes: Planes, radius: int, inside: IntArray, ends: IntArray) -> None:
    """Changes pictures in place, all with a box of the same whole radius; weights [N]."""
    count, channels, height, width = planes.shape
    edge = radius + 1
    across, down = width + 2 * edge, height + 2 * edge
    # One line of numbers a picture, with its margins: a neighbor is a shift of the line, without gaps in memory.
    line = _empty_like(planes, (count, channels * down * across))  # corners stay as they are: nothing is made of them
    grid = line.reshape(count, channels, down, across)
    rows, columns = slice(edge, edge + height), slice(edge, edge + width)
    grid[:, :, rows, columns] = planes
    weights = [_column(each, planes) for each in (inside, ends)]
    total, pairs = _empty_like(planes, line.shape), _empty_like(planes, line.shape)
    for step, first, end in ((1, edge, edge + width), (across, edge, edge + height)):
        by_step = grid.swapaxes(2, 3) if step == 1 else grid
        for _ in range(PASSES):
            by_step[:, :, :edge] = by_step[:, :, first : first + 1]
            by_step[:, :, end:] = by_step[:, :, end - 1 : end]
            _box_blur(line, total, pairs, step, radius, *weights)
    planes[:] = grid[:, :, rows, columns]


def _box_blur(line: Planes, total: Planes, pairs: Planes, step: int, radius: int, inside: Planes, ends: Planes) -> None:
    """One pass over lines [N, P]; the results replace the middle of the lines."""
    lib = np if isinstance(line, np.ndarray) else torch
    reach = step * (radius + 1)
    length = line.shape[1] - 2 * reach
    inner, outer, middle = total[:, :length], pairs[:, :length], line[:, reach : reach + length]
    lib.add(line[:, :length], line[:, 2 * reach :], out=outer)
    outer *= ends
    if radius:
        lib.add(line[:, step : step + length], line[:, 2 * step : 2 * step + length], out=inner)
        for at in range(3, 2 * radius + 2):
            inner += line[:, at * step : at * step + length]
        inner *= inside
    else:
        lib.multiply(middle, inside, out=inner)
    inner += outer
    inner += HALF  # below 2 ** 32
    if lib is np:
        np.right_shift(inner, BITS, out=middle)
    else:  # signed numbers: the upper bits are copies of the sign
        inner >>= BITS
        torch.bitwise_and(inner, 255, out=middle)


def _empty_like(planes: Planes, shape: tuple[int, ...]) -> Planes:
    return np.empty(shape, planes.dtype) if isinstance(planes, np.ndarray) else planes.new_empty(shape)


def _column(numbers: IntArray, planes: Planes) -> Planes:
    """[N] to [N, 1], as the planes are."""
    if isinstance(planes, np.ndarray):
        return numbers.astype(planes.dtype)[:, None]
    return torch.from_numpy(numbers.astype(np.int32)).to(planes.device)[:, None]
