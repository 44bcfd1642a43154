"""Features to mean zero and deviation one. Axes: N rows, D features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RANGE = 4 * torch.finfo(torch.float32).eps  # the relative range of a constant column: means of windows are rounded
FLOOR = 1e-12  # below, a deviation summed in float64 is none
ROUNDING = 1e-6  # of the mean: what float32 values leave of the deviation of equal numbers
ROWS = 4096  # that are standardized at a time


@dataclass(frozen=True, eq=False)
class Standardization:
    """(x - mean) / deviation of each feature, by the statistics of the rows that were learned from.

    One that was constant there has an infinite deviation, so that it is 0 for all rows: nothing was learned of any
    other value.
    """

    mean: Tensor  # [D]
    deviation: Tensor  # [D]; infinite where a feature is constant (1 in older runs of a probe)

    def __call__(self, values: Tensor, *, in_place: bool = False) -> Tensor:
        """[N, D] to the same, in the type of `values`; computed in the wider of theirs and the statistics' type."""
        standard = values if in_place else torch.empty_like(values)
        for rows, place in zip(torch.split(values, ROWS), torch.split(standard, ROWS), strict=True):
            place.copy_((rows - self.mean).div_(self.deviation))
        return standard


def fit_standardization(values: Tensor, dtype: torch.dtype = torch.float32) -> Standardization:
    """Mean and deviation (the population's) of rows [N, D] float32.

    Args:
        values: on any device.
        dtype: of the sums. In float32 a feature is constant if its range is rounding, in float64 (summed by NumPy) if
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
