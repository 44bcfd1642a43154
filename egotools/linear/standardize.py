"""Standardizes features to mean 0 and standard deviation 1. Axes: N rows, D features."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RANGE = 4 * torch.finfo(torch.float32).eps  # the relative range of a constant column: means of windows are rounded
FLOOR = 1e-12  # a smaller deviation, summed in float64, counts as 0
ROUNDING = 1e-6  # relative to the mean: the deviation that float32 rounding leaves for equal numbers
ROWS = 4096  # standardized at a time


@dataclass(frozen=True, eq=False)
class Standardization:
    """(x - mean) / deviation of each feature, with the statistics of the training rows.

    A feature that was constant there has an infinite deviation, so that it becomes 0 in all rows: nothing is known
    about its other values.
    """

    mean: Tensor  # [D]
    deviation: Tensor  # [D]; infinite if a feature is constant (1 in older runs of a probe)

    def __call__(self, values: Tensor, *, in_place: bool = False) -> Tensor:
        """[N, D] to [N, D], in the dtype of `values`; computed in the wider of both dtypes."""
        standard = values if in_place else torch.empty_like(values)
        for rows, place in zip(torch.split(values, ROWS), torch.split(standard, ROWS), strict=True):
            place.copy_((rows - self.mean).div_(self.deviation))
        return standard


def fit_standardization(values: Tensor, dtype: torch.dtype = torch.float32) -> Standardization:
    """Mean and deviation (the population's) of rows [N, D] float32.

    Args:
        values: on any device.
        dtype: of the sums. In float32 a feature is constant if its range is a rounding error, in float64 (by NumPy) if
            its deviation is.
    """
    if dtype == torch.float32:
        deviation, mean = torch.std_mean(values, dim=0, correction=0)
        low, high = torch.aminmax(values, dim=0)
        is_constant = high - low <= RANGE * torch.maximum(low.abs(), high.abs())
    else:
        sums = (each(values.numpy(), axis=0, dtype=np.float64) for each in (np.mean, np.std))
        mean, deviation = map(torch.from_numpy, sums)
        is_constant = deviation <= (ROUNDING * mean.abs()).clamp(min=FLOOR)
    return Standardization(mean, deviation.masked_fill(is_constant, torch.inf))
