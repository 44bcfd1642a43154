"""How well numbers are predicted. Axes: N clips; `target` and `predicted` are [N] floats."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Values = npt.NDArray[np.floating[Any]]


def pearson_score(target: Values, predicted: Values) -> float:
    """Linear correlation, -1 to 1; NaN where one side does not vary."""
    one, other = _centered(target), _centered(predicted)
    length = np.sqrt(np.sum(one**2) * np.sum(other**2))
    return float(np.sum(one * other) / length) if length > 0 else float("nan")


def spearman_score(target: Values, predicted: Values) -> float:
    """Correlation of the ranks, -1 to 1; equal values share their mean rank; NaN where one side does not vary."""
    _check(target, predicted)
    return pearson_score(stats.rankdata(target), stats.rankdata(predicted))


def kendall_score(target: Values, predicted: Values) -> float:
    """Kendall's tau-b, -1 to 1; NaN where one side does not vary."""
    _check(target, predicted)
    return float(stats.kendalltau(np.ravel(target), np.ravel(predicted)).statistic)


def squared_error(target: Values, predicted: Values) -> float:
    """Mean of the squared errors."""
    _check(target, predicted)
    return float(np.mean((np.asarray(target, np.float64) - predicted) ** 2))


def absolute_error(target: Values, predicted: Values) -> float:
    """Mean of the absolute errors."""
    _check(target, predicted)
    return float(np.mean(np.abs(np.asarray(target, np.float64) - predicted)))


def r2_score(target: Values, predicted: Values) -> float:
    """Share of the targets' variance that is explained; 0 for their mean, below for worse; NaN where none vary."""
    variance = float(np.mean(_centered(target) ** 2))
    return 1 - squared_error(target, predicted) / variance if variance > 0 else float("nan")


def kl_divergence(target: Values, predicted: Values) -> float:
    """Sum of predicted * ln(predicted / target), of positive scores as they are: not normalized to probabilities.

    A prediction of 0 adds 0, the limit; a target of 0 makes it infinite, unless its prediction is 0, too.

    Source:
        Modular Memorability, `train.py`.
    """
    _check(target, predicted)
    return float(special.rel_entr(np.asarray(predicted, np.float64), np.asarray(target, np.float64)).sum())


def js_divergence(target: Values, predicted: Values) -> float:
    """Mean of the two `kl_divergence` to the mean of target and prediction; finite for scores of 0, too."""
    middle = (np.asarray(target, np.float64) + predicted) / 2
    return (kl_divergence(middle, predicted) + kl_divergence(middle, target)) / 2


def _centered(values: Values) -> npt.NDArray[np.float64]:
    numbers: npt.NDArray[np.float64] = np.asarray(values, np.float64).ravel()
    if len(numbers) and numbers.min() == numbers.max():  # the mean of equal numbers may be off by rounding
        return np.zeros(len(numbers))
    centered: npt.NDArray[np.float64] = numbers - numbers.mean()
    return centered


def _check(target: Values, predicted: Values) -> None:
    if np.shape(target) != np.shape(predicted) or np.size(target) == 0:
        raise ValueError(f"{np.shape(target)} targets and {np.shape(predicted)} predictions do not belong together")
