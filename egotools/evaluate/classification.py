"""What predicted labels are worth, in figures and row by row. Axes: N judged rows, K classes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from egotools.errors import TableError
from egotools.metrics import classification as metrics
from egotools.tables import Table, Texts, numbers_of
from egotools.types import FloatArray, IntArray

NAMED = 5  # classes that a remark names


@dataclass(frozen=True, eq=False)
class Predictions:
    """One predicted class a row."""

    classes: tuple[str, ...]  # K, in alphabetical order
    rows: Table  # the N rows that were judged
    labels: IntArray  # [N] class numbers
    predicted: IntArray  # [N] class numbers
    scores: FloatArray  # [N] what speaks for the predicted class, 0 to 1
    details: Mapping[str, Sequence[str]] = field(default_factory=dict)  # further columns of predictions.csv, each N

    @property
    def confusion(self) -> IntArray:
        """Counts [K, K] of label by prediction."""
        return metrics.confusion(self.labels, self.predicted, len(self.classes))

    def to_csv(self) -> str:
        """The rows as CSV: id, start, end, label, predicted, score and the details."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "start", "end", "label", "predicted", "score", *self.details])
        names = np.array(self.classes)
        columns: list[Sequence[Any]] = [  # Any: text and numbers
            self.rows.ids.tolist(),
            *self.rows.times.T.tolist(),
            names[self.labels].tolist(),
            names[self.predicted].tolist(),
            [f"{score:.6g}" for score in self.scores],
            *self.details.values(),
        ]
        writer.writerows(zip(*columns, strict=True))
        return text.getvalue()


@dataclass(frozen=True, eq=False)
class Result:
    """What an evaluation found."""

    figures: dict[str, Any]  # JSON-ready, hence Any
    predictions: Predictions
    remarks: tuple[str, ...]


def numbered(texts: Sequence[str] | Texts) -> tuple[tuple[str, ...], IntArray]:
    """The classes among labels, in alphabetical order, and the number of each label's class.

    Raises:
        TableError: fewer than two classes.
    """
    classes, numbers = numbers_of(texts)
    if len(classes) < 2:
        raise TableError(f"all {len(numbers)} labels are {classes[0]!r}: there is nothing to tell apart")
    return tuple(classes), numbers


def figures(predictions: Predictions, train_labels: IntArray) -> dict[str, Any]:
    """Accuracies beside what answering without looking would reach, and a table by class; JSON-ready, hence Any."""
    counts = predictions.confusion
    return {
        "accuracy": metrics.accuracy_score(predictions.labels, predictions.predicted),
        "mean_class_accuracy": metrics.mean_class_accuracy_score(counts),
        "majority": metrics.majority_score(train_labels, predictions.labels),
        "chance": metrics.chance_score(train_labels, predictions.labels),
        "rows": len(predictions.labels),
        "train_rows": len(train_labels),
        "classes": by_class(predictions.classes, counts, train_labels),
    }


def by_class(classes: Sequence[str], counts: IntArray, train_labels: IntArray) -> list[dict[str, Any]]:
    """One entry a class: rows trained on and judged, recall and precision (None where there is nothing to divide)."""
    train_rows = np.bincount(train_labels, minlength=len(classes))
    recalls, precisions = metrics.recall_scores(counts), metrics.precision_scores(counts)
    return [
        {
            "class": name,
            "train_rows": int(train_rows[index]),
            "rows": int(counts[index].sum()),
            "recall": None if np.isnan(recalls[index]) else float(recalls[index]),
            "precision": None if np.isnan(precisions[index]) else float(precisions[index]),
        }
        for index, name in enumerate(classes)
    ]


def class_remark(names: Sequence[str], what: str) -> str:
    """A count and the first few classes: "2 classes have one clip only: 'a', 'b'"."""
    shown = ", ".join(repr(name) for name in names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} {'class' if len(names) == 1 else 'classes'} {what}: {shown}{more}"
