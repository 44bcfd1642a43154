"""The constants by which the released M3-S weights want raw features normalized: (x - mean) / deviation.

Source:
    The configuration of the reference, of the data sets' train splits. Two oddities are kept, for the weights need
    them: Memento10k's blurriness was normalized with magnitudes of optical flow, so that it is about -1.208 for any
    video; and the HOG columns are those of the released PCA, with its signs.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import numpy.typing as npt

from egotools.lowlevel.m3s_row import FEATURES, layout

DataSet = Literal["memento10k", "videomem", "lamem"]
Floats = npt.NDArray[np.float64]


@cache
def constants_of_data_sets() -> dict[str, dict[str, dict[str, list[float]]]]:
    """By data set and feature: `mean` and `deviation`; with `_over_time` those of its deviation within a video."""
    text = files("egotools.metas").joinpath("m3s_normalization.json").read_text(encoding="utf-8")
    constants: dict[str, dict[str, dict[str, list[float]]]] = json.loads(text)
    return constants


def reference_normalization(
    data_set: DataSet, features: Sequence[str] = FEATURES, *, deviations: bool = False
) -> tuple[Floats, Floats]:
    """Mean and deviation of each column of a row as `rows.layout` has them, both [D].

    Raises:
        ValueError: an unknown feature or data set; deviations of LaMem, which has none.
    """
    known = constants_of_data_sets()
    if data_set not in known:
        raise ValueError(f"{data_set!r}: there are constants for {', '.join(known)}")
    means: list[float] = []
    scales: list[float] = []
    for part in layout(features, deviations=deviations):
        constants = known[data_set][part.feature]
        over_time = part.statistic == "deviation"
        if over_time and "mean_over_time" not in constants:
            raise ValueError(f"{data_set}: there are no constants for deviations over time")
        means += constants["mean_over_time" if over_time else "mean"]
        scales += constants["deviation_over_time" if over_time else "deviation"]
    return np.array(means), np.array(scales)
