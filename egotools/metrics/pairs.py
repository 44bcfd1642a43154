"""How well what belongs together is told from what does not. Axes: N items on both sides; scores [N, N].

Entry (i, j) says how well item i of one side goes with item j of the other; the pairs (i, i) belong together.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from egotools.types import IntArray

Scores = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]


def auc_score(positive: Scores, negative: Scores) -> float:
    """How often a positive score [P] is above a negative one [Q], ties half: the area under the ROC curve.

    NaN if there is none of one kind.
    """
    if not positive.size or not negative.size:
        return float("nan")
    ranks = rankdata(np.concatenate([positive.ravel(), negative.ravel()]))
    above = ranks[: positive.size].sum() - positive.size * (positive.size + 1) / 2
    return float(above / (positive.size * negative.size))


def matching_auc(scores: Scores) -> float:
    """Of the pairs that belong together against all others; NaN for fewer than two items."""
    apart = ~np.eye(len(scores), dtype=bool)
    return auc_score(np.diagonal(scores), scores[apart])


def matching_auc_within(scores: Scores, groups: IntArray) -> tuple[float, int]:
    """As `matching_auc`, among the items of each group [N] only: the mean over items, and how many were compared.

    A group of one item has nothing to compare. NaN if there are only such.
    """
    sums, count = 0.0, 0
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        if len(own) > 1:
            sums += len(own) * matching_auc(scores[np.ix_(own, own)])
            count += len(own)
    return (sums / count if count else float("nan")), count


def order_score(right: Scores, wrong: Scores, rows: Mask | None = None) -> float:
    """The share of entries where the right order has the higher score, ties half; NaN if there are none.

    Args:
        right: scores of the right order, any shape.
        wrong: scores of the reversed one, of the same shape.
        rows: which entries count; None: all.
    """
    if right.shape != wrong.shape:
        raise ValueError(f"{right.shape} and {wrong.shape} scores do not belong together")
    wins = (right > wrong) + (right == wrong) / 2
    counted = wins if rows is None else wins[rows]
    return float(counted.mean()) if counted.size else float("nan")


def recall_at(scores: Scores, k: int) -> float:
    """The share of rows whose own entry, on the diagonal, is among the k best; equal ones are drawn from by chance."""
    own = np.diagonal(scores)[:, None]
    above, alike = (scores > own).sum(1), (scores == own).sum(1)
    if not alike.all():
        raise ValueError("scores that are no numbers have no order")
    return float(np.clip((k - above) / alike, 0, 1).mean())
