"""Change points of a sequence of rows: greedy hierarchical clustering of time, exact, without the matrix of cosines.

Axes: n rows in order of time, D features, k segments. A set of change points cuts the rows into segments; its score is
the sum over segments of (sum of the cosines of all pairs of rows in it, both orders and the diagonal) / length. k - 1
times the point is added that gives the largest score; of equal ones the smallest. A change point is the first row of a
new segment, and the last segment has at least two rows. Results are nested in k.

Source: Yang & Ren, "Memory Storyboard" (CoLLAs 2025), and `utils.greedy_hierarchical_clustering` of its code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from egotools.types import FloatArray, IntArray

Floats = npt.NDArray[np.float64]

ZERO = 1e-12  # smaller norms divide by this: a black frame may be a row of zeros
BLOCK = 16  # rows at a time
ROUNDING = 1e-12  # per row: scores that differ by less are equal, as for frames that repeat


@dataclass(frozen=True, eq=False)
class Picks:
    """Change points in the order in which they were chosen, and the score after each; `first` is that of no point."""

    order: IntArray  # [k - 1]
    scores: Floats  # [k - 1]
    first: float

    @property
    def points(self) -> IntArray:
        """In order of time [k - 1]; those of a smaller k are `np.sort(order[: k - 1])`."""
        return np.sort(self.order)


def change_points(features: FloatArray, segments: int) -> IntArray:
    """The first rows of all segments but the first, ascending [segments - 1].

    Args:
        features: [n, D] in order of time, of any float type; rows need not be normalized.
        segments: k, at most n - 1 (1 of a single row).

    Raises:
        ValueError: a row is not finite, which is named, or there are too many segments.
    """
    return picks_of_rows(features, segments).points


def picks_of_rows(features: FloatArray, segments: int) -> Picks:
    """As `change_points`, with the order of the picks and their scores.

    A block of a Gram matrix sums to the squared length of a sum of rows, so prefix sums are enough. Time: n * D twice,
    and at most 1.5 times for each pick; memory: n + k * D float64 beside the features, which are not copied.
    """
    sums = _Sums(features)
    _check(segments, len(features))
    return _search(sums.squares, sums.cross, segments, sums.offset)


def picks_of_similarity(similarity: FloatArray, segments: int) -> Picks:
    """As `picks_of_rows`, from any similarities [n, n], which need not be a Gram matrix: memory 2 * n * n float64.

    Raises:
        ValueError: a row has NaN or infinity and is named, it is no square matrix, or there are too many segments.
    """
    count = len(similarity)
    if similarity.shape != (count, count):
        raise ValueError(f"similarities need the shape [n, n], not {list(similarity.shape)}")
    _check_finite(similarity)
    _check(segments, count)
    blocks = np.zeros((count + 1, count + 1))  # the sum of all before a row and before a column
    np.cumsum(similarity, axis=0, dtype=np.float64, out=blocks[1:, 1:])
    np.cumsum(blocks[1:, 1:], axis=1, out=blocks[1:, 1:])

    def cross(edge: int, low: int, high: int) -> Floats:
        return np.asarray((blocks[edge, low:high] + blocks[low:high, edge]) / 2)

    return _search(np.diagonal(blocks).copy(), cross, segments, 0.0)


def unit_rows(features: FloatArray) -> Floats:
    """Rows [n, D] divided by their length, or by 1e-12 if that is larger, in float64.

    Raises:
        ValueError: a row is not finite, and is named, or there are no rows.
    """
    rows = features.astype(np.float64)
    rows *= _scales(features)[:, np.newaxis]
    return rows


class _Sums:
    """Prefix sums of unit rows minus their mean, which changes every score by the same amount and keeps sums small.

    Only those at change points are kept, and rows pass through a buffer that fits the processor's cache: memory for all
    would cost more time than the sums.
    """

    def __init__(self, features: FloatArray) -> None:
        self._features, self._scales = features, _scales(features)
        count, width = features.shape
        self._mean = self._total(0, count) / count
        self._sums = {0: np.zeros(width), count: np.zeros(width)}
        self.offset = count * float(self._mean @ self._mean)
        self.squares = np.zeros(count + 1)  # squared lengths of all prefix sums
        before = np.zeros(width)
        for span, rows in _blocks(features, 0, count):
            rows *= self._scales[span, np.newaxis]
            rows -= self._mean
            rows[0] += before
            for above, row in pairwise(rows):
                row += above
            before = rows[-1].copy()
            self.squares[span.start + 1 : span.stop + 1] = np.einsum("nd,nd->n", rows, rows)

    def cross(self, edge: int, low: int, high: int) -> Floats:
        """Products of the sum before `edge` with the sums before low, ..., high - 1; `low` is 0 or a change point."""
        if edge in (0, len(self._features)):
            return np.zeros(high - low)
        if edge not in self._sums:
            self._sums[edge] = self._sums[low] + self._total(low, edge) - (edge - low) * self._mean
        vector = self._sums[edge]
        products = np.empty(high - low)
        products[0] = self._sums[low] @ vector
        for span, rows in _blocks(self._features, low, high - 1):
            np.dot(rows, vector, out=products[span.start - low + 1 : span.stop - low + 1])
        products[1:] *= self._scales[low : high - 1]
        products[1:] -= self._mean @ vector
        return np.cumsum(products, out=products)

    def _total(self, low: int, high: int) -> Floats:
        total = np.zeros(self._features.shape[1])
        for span, rows in _blocks(self._features, low, high):
            total += self._scales[span] @ rows
        return total


def _scales(features: FloatArray) -> Floats:
    """1 / length of each row [n]."""
    if features.ndim != 2 or not len(features):
        raise ValueError(f"features need the shape [n, D] with n of at least 1, not {list(features.shape)}")
    scales = np.empty(len(features))
    for span, rows in _blocks(features, 0, len(features)):
        _check_finite(rows, span.start)
        np.einsum("nd,nd->n", rows, rows, out=scales[span])
    return np.asarray(1 / np.maximum(np.sqrt(scales), ZERO))


def _blocks(features: FloatArray, low: int, high: int) -> Iterator[tuple[slice, Floats]]:
    """Rows low, ..., high - 1 a few at a time in one buffer, which is the caller's until the next ones."""
    buffer = np.empty((BLOCK, features.shape[1]))
    for first in range(low, high, BLOCK):
        span = slice(first, min(first + BLOCK, high))
        rows = buffer[: span.stop - first]
        rows[:] = features[span]
        yield span, rows


def _check_finite(rows: FloatArray, first: int = 0) -> None:
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise ValueError(f"row {first + broken[0]} has NaN or infinite values")


def _check(segments: int, count: int) -> None:
    most = max(count - 1, 1)
    if not 1 <= segments <= most:
        raise ValueError(f"{segments} segments of {count} rows: choose 1 to {most}")


def _search(squares: Floats, cross: Callable[[int, int, int], Floats], segments: int, offset: float) -> Picks:
    """The greedy search.

    Args:
        squares: [n + 1], the sum of the block of rows and columns before each place.
        cross: (place, low, high) -> the sums [high - low] of the blocks of rows before the place and columns before
            low, ..., high - 1.
        segments: k.
        offset: what is missing from every score.
    """
    count = len(squares) - 1
    gains = np.full(count, -np.inf)  # of a change point at each row; of none at 0, n - 1 and those chosen
    edges = {0: np.zeros(count + 1), count: cross(count, 0, count + 1)}  # what `cross` gives of each, where needed
    first = score = float(squares[count]) / count + offset
    order, scores = [], []
    fresh = [(0, count)]
    for _ in range(segments - 1):
        for start, end in fresh:
            gains[start + 1 : end] = _gains(squares, edges[start], edges[end], start, end)
        gains[count - 1] = -np.inf
        best = float(gains.max())
        pick = int(np.argmax(gains >= best - ROUNDING * count))
        score += float(gains[pick])
        gains[pick] = -np.inf
        order.append(pick)
        scores.append(score)
        start = max(edge for edge in edges if edge < pick)
        end = min(edge for edge in edges if edge > pick)
        edges[pick] = np.empty(count + 1)
        edges[pick][start : end + 1] = cross(pick, start, end + 1)
        fresh = list(pairwise((start, pick, end)))
    return Picks(np.array(order, np.int64), np.array(scores, np.float64), first)


def _gains(squares: Floats, left: Floats, right: Floats, start: int, end: int) -> Floats:
    """By how much a change point at each row from start + 1 to end - 1 raises the score."""
    inner = slice(start + 1, end)
    place = np.arange(start + 1, end)
    before = (squares[inner] - 2 * left[inner] + squares[start]) / (place - start)
    after = (squares[end] - 2 * right[inner] + squares[inner]) / (end - place)
    whole = (squares[end] - 2 * left[end] + squares[start]) / (end - start)
    return np.asarray(before + after - whole)
