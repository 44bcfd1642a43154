"""The raw features of a clip as one row: which columns there are, and how frames are summed up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Statistic = Literal["mean", "deviation"]

# In the order of the published runs, on which their weights depend. (The reference's own default order is another.)
FEATURES = ("hog", "brightness", "contrast", "meanOF", "blurriness", "size_orig")
OF_A_CLIP = ("meanOF", "size_orig")  # not of its frames: without a deviation
HOG_COMPONENTS = 10


@dataclass(frozen=True)
class Part:
    """Columns `start` to `stop` of a row: what a feature has on average over the frames, or how much it varies."""

    feature: str
    statistic: Statistic
    start: int
    stop: int


def layout(
    features: Sequence[str] = FEATURES, *, deviations: bool = False, hog_components: int = HOG_COMPONENTS
) -> list[Part]:
    """The columns of a row, in order; 15 with all features, 28 with deviations.

    >>> [part.stop for part in layout(deviations=True)]
    [10, 20, 21, 22, 23, 24, 25, 26, 27, 28]

    Raises:
        ValueError: an unknown feature, or one that is named twice.
    """
    wanted = ordered(features)
    parts: list[Part] = []
    for feature in wanted:
        width = hog_components if feature == "hog" else 1
        statistics: tuple[Statistic, ...] = ("mean", "deviation")
        for statistic in statistics[: 1 if feature in OF_A_CLIP or not deviations else 2]:
            start = parts[-1].stop if parts else 0
            parts.append(Part(feature, statistic, start, start + width))
    return parts


def ordered(features: Sequence[str]) -> tuple[str, ...]:
    """The features in the order in which a row has them.

    Raises:
        ValueError: an unknown feature, one that is named twice, or none.
    """
    unknown = [name for name in features if name not in FEATURES]
    if unknown or not features:
        raise ValueError(f"{', '.join(unknown) or 'no feature'}: the features are {', '.join(FEATURES)}")
    if len(set(features)) < len(features):
        raise ValueError(f"a feature is named twice: {','.join(features)}")
    return tuple(name for name in FEATURES if name in features)


def clip_row(
    values: Mapping[str, npt.NDArray[np.floating[Any]]], *, deviations: bool = False
) -> npt.NDArray[np.float32]:
    """The row [D] of a clip.

    Args:
        values: by feature: `hog` [T, C] after its PCA; `brightness`, `contrast`, `blurriness` [T]; `meanOF`,
            `size_orig` [1].
        deviations: whether the (population's) deviation over the frames follows each mean.
    """
    columns: list[npt.NDArray[np.float64]] = []
    for feature in ordered(tuple(values)):
        frames = np.asarray(values[feature], np.float64)
        frames = frames.reshape(len(frames), -1)
        columns.append(frames.mean(axis=0))
        if deviations and feature not in OF_A_CLIP:
            columns.append(frames.std(axis=0))
    return np.concatenate(columns).astype(np.float32)
