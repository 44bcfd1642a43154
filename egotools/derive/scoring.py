"""The measures of similarity that are one formula of a row's coordinates: what is kept of the training rows, and how.

Axes: N rows, M rows that they are compared with, C coordinates, K values a row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools import similarity
from egotools.similarity import Floats

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Training:
    """What a measure may learn from."""

    rows: Floats  # [N, C] of the training clips, in the manifest's order
    everything: Floats  # [M, C] of all clips of the manifest, training first
    classes: Sequence[Collection[str]]  # of each training row
    threshold: float
    exponent: float


@dataclass(frozen=True)
class Measure:
    """What is kept of the training rows, and what rows [N, C] become with it: values [N, K]."""

    keep: Callable[[Training, list[str]], dict[str, npt.NDArray[Any]]]  # and remarks, which it may add to
    values: Callable[[Floats, Arrays], Floats]


def _keep_mean(training: Training, remarks: list[str]) -> dict[str, npt.NDArray[Any]]:
    mean = training.rows.mean(axis=0)
    if np.linalg.norm(mean) < similarity.NO_DIRECTION:
        remarks.append("the mean of whitened training rows has no direction, so every cosine to it is 0")
    return {"mean": mean}


def _keep_points(training: Training, _: list[str]) -> dict[str, npt.NDArray[Any]]:
    return {"points": training.rows.mean(axis=0)[np.newaxis], "exponent": np.array(training.exponent)}


def _keep_everything(training: Training, _: list[str]) -> dict[str, npt.NDArray[Any]]:
    return {"reference": training.everything, "threshold": np.array(training.threshold)}


def _keep_prototypes(training: Training, _: list[str]) -> dict[str, npt.NDArray[Any]]:
    names, points = similarity.prototypes(training.rows, training.classes)
    return {"names": np.array(names, np.str_), "points": points, "exponent": np.array(training.exponent)}


def _keep_density(training: Training, remarks: list[str]) -> dict[str, npt.NDArray[Any]]:
    data = training.rows[: similarity.MOST_ROWS]
    if len(data) < len(training.rows):
        remarks.append(f"the density is that of the first {len(data)} of {len(training.rows)} training rows")
    bandwidth = similarity.best_bandwidth(data, folds=min(similarity.FOLDS, len(data)))
    scores = -similarity.log_density(training.everything, data, bandwidth)
    largest = np.max(scores, where=np.isfinite(scores), initial=-np.inf)
    if outside := int(np.isinf(scores).sum()):
        remarks.append(f"{outside} clips lie outside the density; they get the largest score inside it, {largest:.4g}")
    return {"data": data, "bandwidth": np.array(bandwidth), "largest": np.array(largest)}


def _density(rows: Floats, kept: Arrays) -> Floats:
    scores = -similarity.log_density(rows, kept["data"], float(kept["bandwidth"]))
    return _column(np.where(np.isinf(scores), kept["largest"], scores))  # a cache holds finite values only


def _fractional(rows: Floats, kept: Arrays) -> Floats:
    return similarity.fractional_distance(rows, kept["points"], float(kept["exponent"]))


def _column(values: Floats) -> Floats:
    return values[:, np.newaxis]


MEASURES = {
    "kde": Measure(_keep_density, _density),
    "cosine_mean": Measure(_keep_mean, lambda rows, kept: _column(similarity.cosine_to_mean(rows, kept["mean"]))),
    "cosine_threshold": Measure(
        _keep_everything,
        lambda rows, kept: _column(similarity.cosine_share(rows, kept["reference"], float(kept["threshold"]))),
    ),
    "fractional_mean": Measure(_keep_points, _fractional),
    "euclidean_to_prototypes_classes": Measure(
        _keep_prototypes, lambda rows, kept: similarity.euclidean_distance(rows, kept["points"])
    ),
    "fractional_to_prototypes_classes": Measure(_keep_prototypes, _fractional),
}
