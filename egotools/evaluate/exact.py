"""Neighbors where float32 cannot tell them apart: found again in float64.

Axes: N queries, M rows, D features, C candidates of a query, k neighbors.

Where one feature is far larger than all others (a number of pixels, a time), every cosine is 1 - 1e-12 or so, and all
are 1 in float32. Of rows u and v of length one the cosine is 1 - |u - v|^2 / 2, so that the distance ranks as the
cosine does; and small distances are exact where small differences of cosines are rounded away. A row of zeros, which
is similar to none, counts as 2 away.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from egotools.types import FloatArray, IntArray

SPARE = 8  # candidates beyond k: by float32, some of these may be among the k
BLOCK = 1 << 22  # float64 numbers at a time

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def doubtful(similarity: FloatArray, k: int, width: int) -> tuple[Mask, Mask]:
    """The queries [N] whose order float32 may have wrong, and those of them that may lack a neighbor altogether.

    Args:
        similarity: [N, C] of the candidates, float32, falling; -inf for none.
        k: how many of the candidates count.
        width: D, of which the rounding of a sum depends.
    """
    rounding = 2 * float(np.finfo(np.float32).eps) * (2 + np.sqrt(width))
    with np.errstate(invalid="ignore"):  # -inf - -inf, where there is no candidate
        close = similarity[:, :-1] - similarity[:, 1:] <= rounding
        wrong = close[:, :k].any(axis=1)
        last = similarity[:, min(k, similarity.shape[1]) - 1] - similarity[:, -1] <= rounding
    return wrong, wrong & last


def rank(queries: FloatArray, rows: FloatArray, found: IntArray) -> tuple[IntArray, Floats]:
    """Candidates [N, C] by falling similarity in float64 (of equal ones the lower row number first), and these.

    Candidates of number -1 are none; they come last, with -inf.
    """
    order, similarity = np.empty_like(found), np.empty(found.shape)
    step = max(1, BLOCK // max(found.shape[1] * queries.shape[1], 1))
    for at in range(0, len(queries), step):
        part, own = slice(at, at + step), found[at : at + step]
        query, others = unit(queries[part]), unit(rows[own])  # [n, D], [n, C, D]
        between = others - query[:, np.newaxis]
        distance = np.vecdot(between, between) + ~others.any(axis=2)
        distance = np.where(own < 0, np.inf, distance)
        best = np.lexsort((own, distance), axis=1)
        order[part] = np.take_along_axis(own, best, axis=1)
        similarity[part] = 1 - np.take_along_axis(distance, best, axis=1) / 2
    return order, similarity


def search(queries: FloatArray, rows: FloatArray, count: int, own: tuple[IntArray, IntArray] | None = None) -> IntArray:
    """The `count` rows nearest to each query [N, count], in no order, by products in float64; -1 where there are fewer.

    Args:
        queries: [N, D], none of zeros.
        rows: [M, D].
        count: how many.
        own: group numbers of queries and rows; a query never finds rows of its own group.
    """
    center = unit(rows[:: max(1, len(rows) // 1000)]).mean(axis=0)  # distances do not change, their rounding does
    found = np.full((len(queries), count), -1, np.int64)
    best = np.full(found.shape, np.inf)
    height = max(1, min(len(rows), BLOCK // max(rows.shape[1], 1)))
    for first in range(0, len(rows), height):
        whole = unit(rows[first : first + height])
        others, nothing = whole - center, ~whole.any(axis=1)
        for part in _parts(len(queries), max(height, count)):
            distance = _distances(unit(queries[part]) - center, others) + nothing
            if own is not None:
                distance[own[0][part, np.newaxis] == own[1][first : first + height]] = np.inf
            nearest = smallest(distance, min(count, distance.shape[1]))
            all_found = np.concatenate([found[part], first + nearest], axis=1)
            all_best = np.concatenate([best[part], np.take_along_axis(distance, nearest, axis=1)], axis=1)
            kept = np.lexsort((all_found, all_best), axis=1)[:, :count]
            best[part] = np.take_along_axis(all_best, kept, axis=1)
            found[part] = np.take_along_axis(all_found, kept, axis=1)
    return np.where(np.isinf(best), -1, found)


def unit(values: FloatArray) -> Floats:
    """Rows [..., D] of length one, float64; a row of zeros stays."""
    values = values.astype(np.float64)
    lengths = np.sqrt(np.vecdot(values, values))
    return np.asarray(values / np.where(lengths > 0, lengths, 1)[..., np.newaxis])


def _parts(queries: int, height: int) -> Iterator[slice]:
    step = max(1, BLOCK // height)
    return (slice(at, at + step) for at in range(0, queries, step))


def _distances(queries: Floats, others: Floats) -> Floats:
    """Squared distances [N, M]."""
    squares = np.vecdot(queries, queries)[:, np.newaxis] + np.vecdot(others, others)
    return np.asarray(squares - 2 * (queries @ others.T))


def smallest(distance: Floats, count: int) -> IntArray:
    """The columns [N, count] of each row's smallest numbers; of equal ones the first."""
    chosen = np.argpartition(distance, count - 1, axis=1)[:, :count]
    limit = np.take_along_axis(distance, chosen, axis=1).max(axis=1, keepdims=True)
    crowded = np.flatnonzero((distance <= limit).sum(axis=1) > count)  # more of the last number than there is room for
    chosen[crowded] = np.argsort(distance[crowded], axis=1, kind="stable")[:, :count]
    return chosen
