"""Histograms of oriented gradients."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from egotools.types import Frame

Floats = npt.NDArray[np.float32]

CELL = 8  # pixels
BLOCK = 2  # cells
BINS = 9  # of 180 degrees
LEVELS = 511  # differences of two bytes, from -255 to 255
ZERO = 255 * LEVELS + 255  # the place of "no gradient" in the table of all gradients


def hog_width(height: int, width: int) -> int:
    """Length of the vector of a frame: 34,596 for 256 x 256."""
    return (height // CELL - 1) * (width // CELL - 1) * BLOCK * BLOCK * BINS


def hog(frames: Frame) -> Floats:
    """Histograms of oriented gradients: 9 orientations, cells of 8 x 8 pixels, blocks of 2 x 2 cells, L2-Hys.

    Of each pixel's three channels the one with the largest gradient counts. Pixels beyond the last whole cell do not.

    Args:
        frames: [T, H, W, 3] uint8 RGB, at least 16 x 16 pixels.

    Returns:
        [T, D], by block row, block column, cell row, cell column, orientation; as scikit-image orders and scales them.

    Raises:
        ValueError: frames are smaller than a block.

    Source:
        Dalal and Triggs, DOI 10.1109/CVPR.2005.177; the parameters are those of M3-S.
    """
    _, height, width, _ = frames.shape
    if min(height, width) < CELL * BLOCK:
        raise ValueError(f"frames of {height} x {width} pixels are smaller than a block of {CELL * BLOCK} pixels")
    found = np.empty((len(frames), hog_width(height, width)), np.float32)
    for row, frame in zip(found, frames, strict=True):
        row[:] = _blocks(_cells(frame)).ravel()
    return found


@lru_cache(maxsize=1)
def _gradients() -> npt.NDArray[np.int32]:
    """For every pair of differences (down, right): their squared length times 64, plus the bin of their direction."""
    down, right = np.meshgrid(np.arange(-255, 256), np.arange(-255, 256), indexing="ij")
    degrees = np.rad2deg(np.arctan2(down.astype(float), right.astype(float))) % 180
    bins = (degrees / (180 / BINS)).astype(np.int32)
    table: npt.NDArray[np.int32] = (((down**2 + right**2) << 6) + bins).astype(np.int32).ravel()
    return table


@lru_cache(maxsize=16)
def _cell_of_pixel(height: int, width: int) -> npt.NDArray[np.int64]:
    """Where the histogram of each pixel's cell begins, [H, W]."""
    rows, columns = np.arange(height) // CELL, np.arange(width) // CELL
    return (rows[:, None] * (width // CELL) + columns) * BINS


def _cells(frame: Frame) -> Floats:
    """Histograms [H / 8, W / 8, 9] of the cells: lengths of gradients, by direction, per pixel."""
    channels = frame.transpose(2, 0, 1).astype(np.int32)  # contiguous
    index = np.full(channels.shape, ZERO, np.int32)
    index[:, :, 1:-1] += channels[:, :, 2:]
    index[:, :, 1:-1] -= channels[:, :, :-2]
    channels *= LEVELS
    index[:, 1:-1] += channels[:, 2:]
    index[:, 1:-1] -= channels[:, :-2]
    height, width = (side // CELL * CELL for side in frame.shape[:2])
    red, green, blue = _gradients()[index[:, :height, :width]]
    red += 2 << 4  # of equal lengths, the first channel's counts
    green += 1 << 4
    strongest = np.maximum(np.maximum(red, green, out=red), blue, out=red)
    lengths = np.sqrt((strongest >> 6).astype(np.float64))
    places = _cell_of_pixel(height, width) + (strongest & 15)
    size = (height // CELL, width // CELL, BINS)
    votes = np.bincount(places.ravel(), lengths.ravel(), minlength=size[0] * size[1] * size[2])
    return (votes / CELL**2).astype(np.float32).reshape(size)


def _blocks(cells: Floats) -> Floats:
    """Blocks [R, C, 2, 2, 9] of neighboring cells, each normalized, cut at 0.2, and normalized again."""
    rows, columns = cells.shape[0] - 1, cells.shape[1] - 1
    blocks = np.empty((rows, columns, BLOCK * BLOCK, BINS), np.float32)
    for place in range(BLOCK * BLOCK):
        down, right = divmod(place, BLOCK)
        blocks[:, :, place] = cells[down : down + rows, right : right + columns]
    flat = blocks.reshape(rows * columns, -1)
    flat /= np.sqrt(np.einsum("bd,bd->b", flat, flat) + 1e-10)[:, None]
    np.minimum(flat, 0.2, out=flat)
    flat /= np.sqrt(np.einsum("bd,bd->b", flat, flat) + 1e-10)[:, None]
    return flat
