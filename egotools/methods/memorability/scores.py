"""True scores of clips, and what they do to figures. Axes: N clips."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.errors import TableError
from egotools.tables.table import Table
from egotools.training.folds import Scores


def read_scores(table: Table, column: str) -> Scores:
    """The scores [N] of a manifest column, NaN where it is empty.

    Raises:
        TableError: no such column; a score that is no number from 0 to 1: the clip is named.
    """
    scores = np.full(len(table), np.nan, np.float32)
    for row, text in enumerate(table.column(column).tolist()):
        if text.strip():
            scores[row] = _score(text, str(table.ids[row]), column)
    return scores


def _score(text: str, id: str, column: str) -> float:
    try:
        score = float(text)
    except ValueError:
        raise TableError(f"clip {id!r}: its {column} {text!r} is not a number") from None
    if not 0 <= score <= 1:
        raise TableError(f"clip {id!r}: its {column} {text} is no score from 0 to 1")
    return score


def of_zeros(scores: Scores | npt.NDArray[np.float64]) -> list[str]:
    """What true scores [N] of exactly 0 do to a report, in words."""
    zeros = int((scores == 0).sum())
    if not zeros:
        return []
    clips = f"{zeros} of {len(scores)} evaluated clips {'has' if zeros == 1 else 'have'} a score of 0"
    return [f"kl is infinite, since {clips}, by which it divides: it is null; js and the other figures are as they are"]


def of_undefined(
    targets: Sequence[Scores | npt.NDArray[np.float64]], figures: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Why figures of networks are undefined, in words; each network's true scores [N], and its figures."""
    flat = [bool((target == target[:1]).all()) for target in targets]
    unsorted = [not math.isfinite(each["spearman"]) for each in figures]
    below = [not math.isfinite(each["js"]) for each in figures]
    kinds = (
        (flat, "scores{} are the same, so there is no rank correlation: spearman, pearson, kendall and r2 are null"),
        (
            [each and not is_flat for each, is_flat in zip(unsorted, flat, strict=True)],
            "predictions{} are the same, so there is no rank correlation: spearman, pearson and kendall are null",
        ),
    )
    remarks = [f"all {text.format(_share(which))}" for which, text in kinds if any(which)]
    if any(below):
        remarks.append(f"predictions{_share(below)} fall below 0, so there is no divergence: kl and js are null")
    return remarks


def _share(networks: Sequence[bool]) -> str:
    return "" if all(networks) else f" of {sum(networks)} of {len(networks)} networks"
