"""How good predicted labels are, in figures and row by row. Axes: N evaluated rows, K classes."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from egotools.errors import TableError
from egotools.metrics import classification as metrics
from egotools.tables.table import Table, Texts, numbers_of
from egotools.texts import named
from egotools.types import FloatArray, IntArray

NAMED = 5  # classes that a remark names


@dataclass(frozen=True, eq=False)
class Predictions:
    """One predicted class a row."""

    classes: tuple[str, ...]  # K, in alphabetical order
    rows: Table  # the N evaluated rows
    labels: IntArray  # [N] class numbers
    predicted: IntArray  # [N] class numbers
    scores: FloatArray  # [N] what speaks for the predicted class, 0 to 1
    details: Mapping[str, Sequence[str]] = field(default_factory=dict)  # further columns of predictions.csv, each N

    @property
    def hits(self) -> metrics.Hits:
        """How often each class was there, was predicted, and was predicted rightly."""
        return metrics.Hits.of(self.labels, self.predicted, len(self.classes))

    def to_csv(self) -> str:
        """The rows as CSV: id, start, end, label, predicted, score and the details."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "start", "end", "label", "predicted", "score", *self.details])
        names = np.array(self.classes, dtype=object)
        columns: list[Iterable[Any]] = [  # Any: text and numbers
            self.rows.ids,
            *self.rows.times.T,
            names[self.labels],
            names[self.predicted],
            (f"{score:.6g}" for score in self.scores),
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
    hits = predictions.hits
    return {
        "accuracy": metrics.accuracy_score(predictions.labels, predictions.predicted),
        "mean_class_accuracy": metrics.mean_class_accuracy_score(hits),
        "majority": metrics.majority_score(train_labels, predictions.labels),
        "chance": metrics.chance_score(train_labels, predictions.labels),
        "rows": len(predictions.labels),
        "train_rows": len(train_labels),
        "classes": by_class(predictions, train_labels),
    }


def by_class(predictions: Predictions, train_labels: IntArray) -> list[dict[str, Any]]:
    """One entry a class: rows of training and evaluation, recall and precision (None for 0 / 0)."""
    hits, train_rows = predictions.hits, np.bincount(train_labels, minlength=len(predictions.classes))
    recalls, precisions = metrics.recall_scores(hits), metrics.precision_scores(hits)
    return [
        {
            "class": name,
            "train_rows": int(train_rows[index]),
            "rows": int(hits.rows[index]),
            "recall": None if np.isnan(recalls[index]) else float(recalls[index]),
            "precision": None if np.isnan(precisions[index]) else float(precisions[index]),
        }
        for index, name in enumerate(predictions.classes)
    ]


def class_remark(names: Sequence[str], what: str) -> str:
    """A count and the first few classes: "2 classes have one clip only: 'a', 'b'"."""
    return f"{len(names)} {'class' if len(names) == 1 else 'classes'} {what}: {named([*map(repr, names)], NAMED)}"
