"""How well labels are predicted. Axes: N rows, K classes.

`labels` and `predicted` hold class numbers [N] int64, 0 to K - 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from egotools.types import IntArray

Scores = npt.NDArray[np.float64]


def confusion(labels: IntArray, predicted: IntArray, classes: int) -> IntArray:
    """Counts [K, K]: entry (i, j) is the number of rows of class i that were called j."""
    if labels.shape != predicted.shape:
        raise ValueError(f"{labels.shape} labels and {predicted.shape} predictions do not belong together")
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def accuracy_score(labels: IntArray, predicted: IntArray) -> float:
    """Share of rows whose class was predicted."""
    if len(labels) == 0:
        raise ValueError("no rows: there is no accuracy")
    return float(np.mean(labels == predicted))


def recall_scores(counts: IntArray) -> Scores:
    """Share [K] of each class's rows that were found, from confusion counts; NaN for a class without rows."""
    rows = counts.sum(axis=1)
    recalls: Scores = np.divide(np.diag(counts), rows, out=np.full(len(counts), np.nan), where=rows > 0)
    return recalls


def precision_scores(counts: IntArray) -> Scores:
    """Share [K] of the rows called a class that are of it, from confusion counts; NaN for one never predicted."""
    return recall_scores(counts.T)


def mean_class_accuracy_score(counts: IntArray) -> float:
    """Mean of the classes' recalls, over the classes that have rows: every class weighs the same."""
    if counts.sum() == 0:
        raise ValueError("no rows: there is no accuracy")
    return float(np.nanmean(recall_scores(counts)))


def majority_score(train_labels: IntArray, labels: IntArray) -> float:
    """Accuracy of always answering the most frequent class of the training rows (the first, if several are)."""
    return accuracy_score(labels, np.full_like(labels, np.bincount(train_labels).argmax()))


def chance_score(train_labels: IntArray, labels: IntArray) -> float:
    """Expected accuracy of answering at random, each class as often as among the training rows."""
    shares = np.bincount(train_labels, minlength=int(labels.max()) + 1) / len(train_labels)
    return float(shares[labels].mean())
