"""How well labels are predicted. Axes: N rows, K classes.

`labels` and `predicted` hold class numbers [N] int64, 0 to K - 1.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from egotools.types import FloatArray, IntArray

Scores = npt.NDArray[np.float64]


def confusion(labels: IntArray, predicted: IntArray, classes: int) -> IntArray:
    """Counts [K, K]: entry (i, j) is the number of rows of class i that were called j."""
    if labels.shape != predicted.shape:
        raise ValueError(f"{labels.shape} labels and {predicted.shape} predictions do not belong together")
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Hits:
    """What recall and precision take of the counts [K, K], which would not fit in memory where classes are many."""

    rows: IntArray  # [K] of each class
    predicted: IntArray  # [K] rows that were called so
    right: IntArray  # [K] rows of each class that were called so

    @classmethod
    def of(cls, labels: IntArray, predicted: IntArray, classes: int) -> "Hits":
        """Of class numbers [N]."""
        if labels.shape != predicted.shape:
            raise ValueError(f"{labels.shape} labels and {predicted.shape} predictions do not belong together")
        counts = (np.bincount(part, minlength=classes) for part in (labels, predicted, labels[labels == predicted]))
        return cls(*(each.astype(np.int64) for each in counts))

    @classmethod
    def among(cls, counts: IntArray) -> "Hits":
        """Of confusion counts [K, K]."""
        return cls(counts.sum(axis=1), counts.sum(axis=0), np.diag(counts))


def accuracy_score(labels: IntArray, predicted: IntArray) -> float:
    """Share of rows whose class was predicted."""
    if len(labels) == 0:
        raise ValueError("no rows: there is no accuracy")
    return float(np.mean(labels == predicted))


def recall_scores(counts: IntArray | Hits) -> Scores:
    """Share [K] of each class's rows that were found, from confusion counts; NaN for a class without rows."""
    hits = _hits(counts)
    return _shares(hits.right, hits.rows)


def precision_scores(counts: IntArray | Hits) -> Scores:
    """Share [K] of the rows called a class that are of it, from confusion counts; NaN for one never predicted."""
    hits = _hits(counts)
    return _shares(hits.right, hits.predicted)


def mean_class_accuracy_score(counts: IntArray | Hits) -> float:
    """Mean of the classes' recalls, over the classes that have rows: every class weighs the same."""
    if not _hits(counts).rows.any():
        raise ValueError("no rows: there is no accuracy")
    return float(np.nanmean(recall_scores(counts)))


def _hits(counts: IntArray | Hits) -> Hits:
    return counts if isinstance(counts, Hits) else Hits.among(counts)


def _shares(part: IntArray, whole: IntArray) -> Scores:
    shares: Scores = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return shares


def majority_score(train_labels: IntArray, labels: IntArray) -> float:
    """Accuracy of always answering the most frequent class of the training rows (the first, if several are)."""
    return accuracy_score(labels, np.full_like(labels, np.bincount(train_labels).argmax()))


def chance_score(train_labels: IntArray, labels: IntArray) -> float:
    """Expected accuracy of answering at random, each class as often as among the training rows."""
    shares = np.bincount(train_labels, minlength=int(labels.max()) + 1) / len(train_labels)
    return float(shares[labels].mean())


def ranks(scores: FloatArray, labels: IntArray) -> IntArray:
    """How many classes come before the right one, [N]: 0 where it is the best; of equal scores the first comes first.

    Args:
        scores: [N, K], the higher the better.
        labels: [N].

    Raises:
        ValueError: a score is not a number.
    """
    if np.isnan(scores).any():
        raise ValueError("scores that are no numbers have no order")
    own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < labels[:, np.newaxis]))
    found: IntArray = before.sum(axis=1, dtype=np.int64)
    return found
