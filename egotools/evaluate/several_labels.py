"""How good the predictions of several labels of a clip are, each and all together, on all clips and on subsets.

Axes: C clips, K classes of a label, L labels.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egotools.config import to_json
from egotools.files.disk import write_whole
from egotools.metrics.classification import ranks
from egotools.tables.table import Mask, Table, numbers_of
from egotools.types import FloatArray, IntArray

ACTION, TOGETHER = "action", "together"  # what all labels together are called, the latter if one is called the former
PREDICTIONS = "predictions.csv"
SUBSET = "subset_"  # what columns of subsets begin with; 1 says that a clip is in it
IN_SUBSET = "1"
NEVER = np.iinfo(np.int64).max  # the rank of a class that is not among the predicted ones
PAIRS = 1 << 22  # products of probabilities at a time
MOST = 1 << 20  # combinations of classes up to which they are ranked


@dataclass(frozen=True, eq=False)
class SeveralLabels:
    """Probabilities of each label's classes for clips, and where the right ones are among them."""

    table: Table  # C clips with their labels
    classes: Mapping[str, tuple[str, ...]]  # by label
    probabilities: Mapping[str, FloatArray]  # by label, each [C, K]
    ranks: Mapping[str, IntArray]  # by label, and of all together if there are several; each [C]
    truth: Mapping[str, IntArray]  # by the same, numbers [C] of the right classes among those that occur

    @classmethod
    def of(
        cls, table: Table, classes: Mapping[str, Sequence[str]], probabilities: Mapping[str, FloatArray]
    ) -> SeveralLabels:
        """Ranks the right classes; one that is not among `classes` is never right.

        All labels together, an action, are right where each is; their scores are products of probabilities.
        """
        own: dict[str, IntArray] = {}  # the place of the right class, -1: none
        truth: dict[str, IntArray] = {}
        found: dict[str, IntArray] = {}
        for label, names in classes.items():
            place = {name: at for at, name in enumerate(names)}
            texts = table.column(label).tolist()
            own[label] = np.array([place.get(text, -1) for text in texts], np.int64)
            truth[label] = numbers_of(texts)[1]
            ranked = ranks(probabilities[label], np.maximum(own[label], 0))
            found[label] = np.where(own[label] < 0, NEVER, ranked)
        if len(classes) > 1:
            joint = np.stack(list(truth.values()), axis=1)
            name = TOGETHER if ACTION in classes else ACTION
            truth[name] = np.unique(joint, axis=0, return_inverse=True)[1].reshape(-1)
            found[name] = _joint_ranks(list(probabilities.values()), list(own.values()))
        whole = {label: tuple(names) for label, names in classes.items()}
        return cls(table, whole, dict(probabilities), found, truth)

    @property
    def unknown(self) -> dict[str, list[str]]:
        """By label, the classes of clips that are not among the predicted ones."""
        there = {label: set(self.table.column(label).tolist()) - {*names} for label, names in self.classes.items()}
        return {label: sorted(names) for label, names in there.items() if names}

    def figures(self) -> dict[str, Any]:
        """Of all clips, and of each subset that the table has columns of; JSON-ready, hence Any."""
        everything = np.ones(len(self.table), bool)
        subsets = {}
        for name in [each for each in self.table.labels if each.startswith(SUBSET)]:
            rows = np.asarray(self.table.column(name) == IN_SUBSET, bool)
            subsets[name.removeprefix(SUBSET)] = {"rows": int(rows.sum()), **self._of(rows)}
        return {"rows": len(self.table), **self._of(everything), "subsets": subsets}

    def _of(self, rows: Mask) -> dict[str, Any]:
        return {"figures": {name: _shares(found[rows], self.truth[name][rows]) for name, found in self.ranks.items()}}

    def to_csv(self) -> str:
        """A row a clip: id, start, end, and of each label the right class, the predicted one and its probability."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns: dict[str, Sequence[Any]] = {"id": self.table.ids.tolist()}  # Any: text and numbers
        columns |= dict(zip(("start", "end"), self.table.times.T.tolist(), strict=True))
        for label, names in self.classes.items():
            best = self.probabilities[label].argmax(axis=1)
            columns[label] = self.table.column(label).tolist()
            columns[f"predicted_{label}"] = [names[number] for number in best.tolist()]
            columns[f"score_{label}"] = [f"{score:.6g}" for score in self.probabilities[label].max(axis=1)]
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        return text.getvalue()


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A report, and the predictions of its last number of rows or windows."""

    content: dict[str, Any]  # JSON-ready
    predictions: SeveralLabels


def save(folder: Path, found: Evaluated) -> None:
    """Writes the predictions, then the report."""
    write_whole(folder / PREDICTIONS, found.predictions.to_csv())
    write_whole(folder / "report.json", to_json(found.content))


def figures_by_clips(content: Mapping[str, Any]) -> list[list[Any]]:
    """The rows of a table of a report: clips, subset, rows, what, top-1, top-5, mean of the classes. Any: its cells.

    Subsets without clips are left out, and of what is known without looking all subsets.
    """
    shown = []
    for entry in [*content["clips"], {"clips": "no look", "is_random": False, **content["constant"], "subsets": {}}]:
        name = f"{entry['clips']}, drawn" if entry["is_random"] else str(entry["clips"])
        for subset, part in {"all": entry, **entry["subsets"]}.items():
            if part["rows"]:
                shown += [[name, subset, part["rows"], what, *each.values()] for what, each in part["figures"].items()]
    return shown


def check_rows(table: Table, labels: Sequence[str]) -> Table:
    """The clips that have every label; the others are counted in the remarks.

    Raises:
        TableError: a column that the manifest does not have, or no clip has a label in it.
    """
    for label in labels:
        table = table.labeled(label)
    return table


def _shares(found: IntArray, truth: IntArray) -> dict[str, float | None]:
    """Top-1, top-5 and the mean of the classes' top-1; None where there are no clips."""
    if not len(found):
        return {"accuracy": None, "top5": None, "mean_class_accuracy": None}
    is_right = found < 1
    rows = np.bincount(truth)
    right = np.bincount(truth, weights=is_right, minlength=len(rows))
    return {
        "accuracy": float(is_right.mean()),
        "top5": None if (found == NEVER - 1).any() else float((found < 5).mean()),
        "mean_class_accuracy": float((right[rows > 0] / rows[rows > 0]).mean()),
    }


def _joint_ranks(parts: Sequence[FloatArray], own: Sequence[IntArray]) -> IntArray:
    """The ranks [C] of the right combinations among all, by the product of their probabilities.

    Of more than a million combinations only the best is known: the rank is 0, or NEVER - 1, not the first.
    """
    known = np.min(np.stack(own), axis=0) >= 0
    right = [np.maximum(each, 0) for each in own]
    sizes = [part.shape[1] for part in parts]
    if math.prod(sizes) > MOST:
        is_best = np.all([part.argmax(axis=1) == each for part, each in zip(parts, right, strict=True)], axis=0)
        return np.where(known, np.where(is_best, 0, NEVER - 1), NEVER)
    found = np.empty(len(known), np.int64)
    step = max(1, PAIRS // math.prod(sizes))
    for at in range(0, len(found), step):
        rows = slice(at, at + step)
        products = parts[0][rows].astype(np.float64)
        number = right[0][rows]
        for part, each, size in zip(parts[1:], right[1:], sizes[1:], strict=True):
            products = (products[:, :, np.newaxis] * part[rows, np.newaxis, :]).reshape(len(products), -1)
            number = number * size + each[rows]
        found[rows] = ranks(products, number)
    return np.where(known, found, NEVER)
