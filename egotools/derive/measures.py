"""Measures of how close a clip is to a training set, from low-dimensional coordinates.

Axes: N rows to measure, M rows to compare with, C coordinates, K classes. All float64.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NO_DIRECTION = 1e-8  # norm below which a mean has no direction
BLOCK = 256  # rows compared at a time
BANDWIDTHS = 100 ** np.linspace(-1, 1, 100)
FOLDS = 5
MOST_ROWS = 10_000  # used to choose a bandwidth and to estimate a density


def cosine_to_mean(rows: Floats, mean: Floats) -> Floats:
    """[N, C], [C] to [N]: the cosine between each row and a mean; 0 if the mean is (nearly) zero.

    Whitened training rows have mean 0: the reference's values are cosines to its rounding error.
    """
    norm = np.linalg.norm(mean)
    if norm < NO_DIRECTION:
        return np.zeros(len(rows))
    return _unit(rows) @ (mean / norm)


def cosine_share(rows: Floats, reference: Floats, threshold: float) -> Floats:
    """[N, C], [M, C] to [N]: the share of the reference rows whose cosine to a row is at least `threshold`."""
    others = _unit(reference).T
    blocks = (_unit(rows[at : at + BLOCK]) @ others >= threshold for at in range(0, len(rows), BLOCK))
    return np.concatenate([np.empty(0), *(block.mean(axis=1) for block in blocks)])


def euclidean_distance(rows: Floats, points: Floats) -> Floats:
    """[N, C], [K, C] to [N, K]."""
    from scipy.spatial.distance import (
        cdist,
    )  # imported here because SciPy is slow to import, and listing caches loads this module

    return np.asarray(cdist(rows, points))


def fractional_distance(rows: Floats, points: Floats, exponent: float = 0.5) -> Floats:
    """[N, C], [K, C] to [N, K]: (sum of |difference| ** exponent) ** (1 / exponent)."""
    blocks = [
        (np.abs(rows[at : at + BLOCK, np.newaxis] - points) ** exponent).sum(axis=2) ** (1 / exponent)
        for at in range(0, len(rows), BLOCK)
    ]
    return np.concatenate([np.empty((0, len(points))), *blocks])


def prototypes(rows: Floats, classes: Sequence[Collection[str]]) -> tuple[list[str], Floats]:
    """The names of all classes, sorted, and the mean [K, C] of the rows of each.

    Args:
        rows: [N, C].
        classes: the classes of each row; there may be several, or none.
    """
    names = sorted(set().union(*classes))
    return names, np.array([rows[[name in own for own in classes]].mean(axis=0) for name in names])


def log_density(rows: Floats, data: Floats, bandwidth: float) -> Floats:
    """[N, C], [M, C] to [N]: a log density, the mean of Epanechnikov kernels around `data`.

    It is minus infinity farther than `bandwidth` from all of them.
    """
    from scipy.spatial.distance import cdist

    dimensions = data.shape[1]
    ball = math.pi ** (dimensions / 2) / math.gamma(dimensions / 2 + 1)
    scale = math.log((dimensions + 2) / (2 * ball * len(data))) - dimensions * math.log(bandwidth)
    blocks = (cdist(rows[at : at + BLOCK], data, "sqeuclidean") for at in range(0, len(rows), BLOCK))
    with np.errstate(divide="ignore"):
        logs = [np.log(np.maximum(1 - squares / bandwidth**2, 0).sum(axis=1)) for squares in blocks]
    return np.asarray(np.concatenate([np.empty(0), *logs]) + scale)


def best_bandwidth(data: Floats, candidates: Sequence[float] | Floats = BANDWIDTHS, folds: int = FOLDS) -> float:
    """The bandwidth that maximizes the likelihood of held-out rows [N, C], over folds of adjacent rows.

    The first one on ties; also if every one leaves some row without density.
    """
    totals = np.zeros(len(candidates))
    for held in np.array_split(np.arange(len(data)), folds):
        rest = np.delete(data, held, axis=0)
        totals += [log_density(data[held], rest, float(each)).sum() for each in candidates]
    return float(candidates[int(np.argmax(totals))])


@dataclass(frozen=True, eq=False)
class Network:
    """A classifier of rows: linear layers with ReLU between them; the largest output wins.

    With two classes its single output is positive for the second; with one class it has no layers.
    """

    weights: tuple[Floats, ...]  # [C, H], [H, K]
    biases: tuple[Floats, ...]  # [H], [K]
    classes: Integers  # [K]

    def __call__(self, rows: Floats) -> Integers:
        """[N, C] to the class [N] of each row."""
        if len(self.classes) == 1:
            return np.repeat(self.classes, len(rows))
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            rows = np.maximum(rows @ weight + bias, 0)
        outputs = rows @ self.weights[-1] + self.biases[-1]
        chosen = (outputs[:, 0] > 0).astype(np.int64) if outputs.shape[1] == 1 else outputs.argmax(axis=1)
        return np.asarray(self.classes[chosen])


def _unit(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms == 0, 1, norms))


Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Training:
    """The data that a measure is fitted on."""

    rows: Floats  # [N, C] of the training clips, in the manifest's order
    everything: Floats  # [M, C] of all clips of the manifest, training first
    classes: Sequence[Collection[str]]  # of each training row
    threshold: float
    exponent: float


@dataclass(frozen=True)
class Measure:
    """A measure: what it keeps of the training rows, and its values [N, K] for rows [N, C]."""

    keep: Callable[[Training, list[str]], dict[str, npt.NDArray[Any]]]  # may append remarks
    values: Callable[[Floats, Arrays], Floats]


def _keep_mean(training: Training, remarks: list[str]) -> dict[str, npt.NDArray[Any]]:
    mean = training.rows.mean(axis=0)
    if np.linalg.norm(mean) < NO_DIRECTION:
        remarks.append("the mean of whitened training rows has no direction, so every cosine to it is 0")
    return {"mean": mean}


def _keep_points(training: Training, _: list[str]) -> dict[str, npt.NDArray[Any]]:
    return {"points": training.rows.mean(axis=0)[np.newaxis], "exponent": np.array(training.exponent)}


def _keep_everything(training: Training, _: list[str]) -> dict[str, npt.NDArray[Any]]:
    return {"reference": training.everything, "threshold": np.array(training.threshold)}


def _keep_prototypes(training: Training, _: list[str]) -> dict[str, npt.NDArray[Any]]:
    names, points = prototypes(training.rows, training.classes)
    return {"names": np.array(names, np.str_), "points": points, "exponent": np.array(training.exponent)}


def _keep_density(training: Training, remarks: list[str]) -> dict[str, npt.NDArray[Any]]:
    data = training.rows[:MOST_ROWS]
    if len(data) < len(training.rows):
        remarks.append(f"the density is that of the first {len(data)} of {len(training.rows)} training rows")
    bandwidth = best_bandwidth(data, folds=min(FOLDS, len(data)))
    scores = -log_density(training.everything, data, bandwidth)
    largest = np.max(scores, where=np.isfinite(scores), initial=-np.inf)
    if outside := int(np.isinf(scores).sum()):
        remarks.append(f"{outside} clips lie outside the density; they get the largest score inside it, {largest:.4g}")
    return {"data": data, "bandwidth": np.array(bandwidth), "largest": np.array(largest)}


def _density(rows: Floats, kept: Arrays) -> Floats:
    scores = -log_density(rows, kept["data"], float(kept["bandwidth"]))
    return _column(np.where(np.isinf(scores), kept["largest"], scores))  # a cache should contain finite values only


def _fractional(rows: Floats, kept: Arrays) -> Floats:
    return fractional_distance(rows, kept["points"], float(kept["exponent"]))


def _column(values: Floats) -> Floats:
    return values[:, np.newaxis]


MEASURES = {
    "kde": Measure(_keep_density, _density),
    "cosine_mean": Measure(_keep_mean, lambda rows, kept: _column(cosine_to_mean(rows, kept["mean"]))),
    "cosine_threshold": Measure(
        _keep_everything,
        lambda rows, kept: _column(cosine_share(rows, kept["reference"], float(kept["threshold"]))),
    ),
    "fractional_mean": Measure(_keep_points, _fractional),
    "euclidean_to_prototypes_classes": Measure(
        _keep_prototypes, lambda rows, kept: euclidean_distance(rows, kept["points"])
    ),
    "fractional_to_prototypes_classes": Measure(_keep_prototypes, _fractional),
}
