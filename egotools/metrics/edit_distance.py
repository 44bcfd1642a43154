"""Edit distances of sequences, all prefixes at once. Axes: N samples, K candidates, Z steps, P pairs."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from egotools.types import IntArray

Values = npt.NDArray[np.float64]


class EditDistances(NamedTuple):
    """ED@z for z = 1 to Z [Z], each from 0 to 1, and the area under it."""

    by_length: Values
    area: float


def levenshtein(predicted: IntArray, true: IntArray) -> IntArray:
    """Fewest insertions, deletions and substitutions between the first z entries, for z = 1 to Z.

    Args:
        predicted: [P, Z].
        true: [P, Z].

    Returns:
        int64 [P, Z]; the last column is of the whole sequences. The diagonal of one table holds all of them.
    """
    pairs, steps = true.shape
    columns = np.arange(steps + 1)
    above = np.broadcast_to(columns, (pairs, steps + 1))
    found = np.empty((pairs, steps), np.int64)
    for row in range(steps):
        differs = predicted[:, row : row + 1] != true
        line = np.empty((pairs, steps + 1), np.int64)
        line[:, 0] = row + 1
        np.minimum(above[:, 1:] + 1, above[:, :-1] + differs, out=line[:, 1:])
        line -= columns  # an insertion costs 1 a column: the smallest to the left, less its column
        np.minimum.accumulate(line, axis=1, out=line)
        above = line + columns
        found[:, row] = above[:, row + 1]
    return found


def edit_distances(predicted: IntArray, true: IntArray) -> EditDistances:
    """ED@z: the distance of the best candidate at z steps, divided by z; its mean over all samples.

    Args:
        predicted: [N, Z, K].
        true: [N, Z].

    Returns:
        By length, NaN without samples, and the area under it by trapezoids, divided by Z - 1.

    Source:
        Ego4D, forecasting, `lta_metrics.py`.
    """
    samples, steps, candidates = predicted.shape
    pairs = predicted.transpose(0, 2, 1).reshape(-1, steps)
    distances = levenshtein(pairs, np.repeat(true, candidates, axis=0)).reshape(samples, candidates, steps)
    if not samples:
        return EditDistances(np.full(steps, np.nan), float("nan"))
    by_length: Values = distances.min(axis=1).mean(axis=0) / np.arange(1, steps + 1)
    area = (by_length[1:] + by_length[:-1]).sum() / 2 / max(steps - 1, 1)
    return EditDistances(by_length, float(area))
