"""Which rows of a clip belong to a span of time. Axes: T rows of a clip, S spans. Times are seconds of the file."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from egotools.types import IntArray

Picked = slice | IntArray  # rows of a clip: from a first one up to an end, or by their numbers, ascending
Times = npt.NDArray[np.float64]


def rows_within(times: Times, spans: Times, *, overlap: bool) -> list[Picked]:
    """The rows of each span.

    Args:
        times: of the rows [T, 2].
        spans: [S, 2]; a row belongs to one if its middle is at or after the first number, and before the second.
        overlap: whether rows belong, too, if only another part of them lies inside the span.
    """
    starts, ends, middles = times[:, 0], times[:, 1], times.mean(axis=1)
    if not all((np.diff(each) >= 0).all() for each in (starts, ends, middles)):  # imported rows may lie in any order
        if not overlap:
            order = np.argsort(middles, kind="stable")
            return [np.sort(order[each]) for each in _between(middles[order], spans)]
        is_inside = (_is_inside(starts, ends, middles, span) for span in spans.tolist())
        return [np.flatnonzero(each) for each in is_inside]
    found = _between(middles, spans)
    if not overlap:
        return [*found]
    first = np.searchsorted(ends, spans[:, 0], side="right").tolist()
    stop = np.searchsorted(starts, spans[:, 1]).tolist()
    return [slice(min(a, each.start), max(b, each.stop)) for a, b, each in zip(first, stop, found, strict=True)]


def _between(middles: Times, spans: Times) -> list[slice]:
    first, stop = np.searchsorted(middles, spans[:, 0]), np.searchsorted(middles, spans[:, 1])
    return [slice(begin, max(begin, end)) for begin, end in zip(first.tolist(), stop.tolist(), strict=True)]


def _is_inside(starts: Times, ends: Times, middles: Times, span: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Which rows [T] have their middle in a span, or reach into it."""
    first, stop = span
    return ((middles >= first) & (middles < stop)) | ((starts < stop) & (ends > first))
