"""How sure a figure is, by drawing the clips again. Axes: N clips."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.types import IntArray

Values = npt.NDArray[np.floating[Any]]


def bootstrap_interval(
    statistic: Callable[[IntArray], float],
    strata: Sequence[IntArray],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval that a figure of drawn clips falls into (percentiles, draws with replacement).

    Args:
        statistic: of the numbers of the clips drawn, [N].
        strata: numbers of clips; of each as many are drawn as it has. Clips evaluated together are one stratum.
        draws: how often.
        level: share of the draws inside the interval.
        seed: of the draws.

    Returns:
        Its ends; NaN where the figure is NaN in every draw.
    """
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"an interval needs draws and a level between 0 and 1, not {draws} and {level}")
    generator = np.random.default_rng(seed)
    found = [
        statistic(np.concatenate([generator.choice(stratum, len(stratum)) for stratum in strata])) for _ in range(draws)
    ]
    found = [value for value in found if not np.isnan(value)]
    if not found:
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
