"""The constants by which the released M3-S weights want raw features normalized: (x - mean) / deviation.

Source:
    The configuration of the reference, of the data sets' train splits. Two oddities are kept, for the weights need
    them: Memento10k's blurriness was normalized with magnitudes of optical flow, so that it is about -1.208 for any
    video; and the HOG columns are those of the released PCA, with its signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from egotools.lowlevel.m3s_row import FEATURES, HOG_COMPONENTS, layout

DataSet = Literal["memento10k", "videomem", "lamem"]
Floats = npt.NDArray[np.float64]


class Constants(NamedTuple):
    """Mean and deviation of a feature, and of its deviation over the frames of a video where there is one."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    mean_over_time: tuple[float, ...] = ()
    deviation_over_time: tuple[float, ...] = ()


# fmt: off
REFERENCE: dict[DataSet, dict[str, Constants]] = {
    "memento10k": {
        "hog": Constants(
            (-0.0382179, -0.22634703, -0.00150232, 0.0013018, -0.00560051, -0.00287241, -0.0159254, -0.00977024,
             0.02961693, -0.00804713),
            (0.95244716, 0.88563999, 0.90972137, 0.93445912, 0.89927394, 0.86414983, 0.83028538, 0.85960258,
             0.88835483, 0.84949636),
            (0.14341384, 0.1638313, 0.2335052, 0.17836176, 0.26769911, 0.29168933, 0.25390074, 0.33578141,
             0.29800854, 0.33817726),
            (0.13432926, 0.15721098, 0.19555975, 0.20175324, 0.215271, 0.24034389, 0.20351628, 0.26407597,
             0.24913998, 0.25800772),
        ),
        "brightness": Constants((97.13908673,), (33.66215848,), (5.21281299,), (6.02105021,)),
        "contrast": Constants((55.5621269,), (16.47006963,), (2.66262172,), (3.25779011,)),
        "blurriness": Constants((159369.90274394627,), (131901.81111343787,), (2.03508193,), (3.24568579,)),
        "meanOF": Constants((156105.642,), (129022.102,)),
        "size_orig": Constants((192004.81357143,), (183295.11417806,)),
    },
    "videomem": {
        "hog": Constants(
            (-0.17517713, -0.18438714, 0.02393828, 0.01537374, 0.01757276, 0.05515971, -0.04763976, 0.22417781,
             0.06289709, -0.02335175),
            (0.88695109, 0.91342727, 0.88481261, 0.86333332, 0.87152722, 0.88787376, 0.811698, 0.80004389,
             0.85398853, 0.83688581),
            (0.16191116, 0.16150428, 0.20691784, 0.29213597, 0.26313414, 0.26835597, 0.349666, 0.20939079,
             0.31025446, 0.32044117),
            (0.14518682, 0.14145836, 0.18033176, 0.25559498, 0.21566336, 0.2129636, 0.29899839, 0.20482844,
             0.23169207, 0.27375623),
        ),
        "brightness": Constants((103.64720883,), (26.90399581,), (3.93361737,), (4.88398109,)),
        "contrast": Constants((52.10466492,), (15.25342803,), (2.4982247,), (3.04715098,)),
        "blurriness": Constants((12.65053648,), (12.67609755,), (1.91609483,), (2.98691579,)),
        "meanOF": Constants((7371403.97225931,), (7770817.85414596,)),
        "size_orig": Constants((844920.80646154,), (588518.23408164,)),
    },
    "lamem": {  # images: nothing varies over time
        "hog": Constants((0.0,) * HOG_COMPONENTS, (0.99998889,) * HOG_COMPONENTS),
        "brightness": Constants((96.39162514,), (38.53091113,)),
        "contrast": Constants((57.84879775,), (15.49616822,)),
        "blurriness": Constants((19.0881984,), (12.0214119,)),
        "meanOF": Constants((0.0,), (1.0,)),
        "size_orig": Constants((46811.95104444,), (60458.10262618,)),
    },
}
# fmt: on


def reference_normalization(
    data_set: DataSet, features: Sequence[str] = FEATURES, *, deviations: bool = False
) -> tuple[Floats, Floats]:
    """Mean and deviation of each column of a row as `rows.layout` has them, both [D].

    Raises:
        ValueError: an unknown feature or data set; deviations of LaMem, which has none.
    """
    if data_set not in REFERENCE:
        raise ValueError(f"{data_set!r}: there are constants for {', '.join(REFERENCE)}")
    means: list[float] = []
    scales: list[float] = []
    for part in layout(features, deviations=deviations):
        constants = REFERENCE[data_set][part.feature]
        over_time = part.statistic == "deviation"
        if over_time and not constants.mean_over_time:
            raise ValueError(f"{data_set}: there are no constants for deviations over time")
        means += constants.mean_over_time if over_time else constants.mean
        scales += constants.deviation_over_time if over_time else constants.deviation
    return np.array(means), np.array(scales)
