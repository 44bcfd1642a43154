"""What classifiers that are fitted and evaluated for several seeds share: rows, hold-outs, figures and remarks.

Axes: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from egotools.errors import TableError
from egotools.evaluate.classification import Predictions, by_class, class_remark, figures, numbered
from egotools.evaluate.leakage import called, default_group, lonely_classes, shared_remarks
from egotools.evaluate.splits import (
    Partition,
    Sides,
    alike_groups,
    groups,
    hold_out,
    in_whole_files,
    is_in,
    sides,
    unused,
)
from egotools.tables.table import Mask, Table, joined
from egotools.training.learned_from import LearnedFrom
from egotools.types import IntArray

AVERAGED = ("accuracy", "mean_class_accuracy", "majority", "chance")


@dataclass(frozen=True, eq=False)
class Task:
    """The labeled rows, their groups and splits: what is the same for all seeds."""

    table: Table
    label: str  # the column that is predicted
    classes: tuple[str, ...]
    labels: IntArray  # [N]
    groups: IntArray  # [N] group numbers
    partition: Partition
    group: str | None  # the column of the groups: asked for, or the default
    split: Sides | None
    held_out: float  # fraction of each class, where there are no splits

    @classmethod
    def of(cls, table: Table, label: str, partition: Partition, *, held_out: float) -> Task:
        """The task of predicting a label.

        Raises:
            TableError: an unknown label or split, or one class only.
        """
        table, partition = in_whole_files(table.labeled(label), label, partition)
        classes, labels = numbered(table.labels[label])
        group = partition.group or default_group(table, labels)
        split = sides(table, partition, label=label)
        return cls(table, label, classes, labels, groups(table, group), partition, group, split, held_out)

    @property
    def is_asked(self) -> bool:
        """Whether the group was asked for."""
        return self.partition.group is not None

    @property
    def protocol(self) -> str:
        kept = f"{self.held_out:.0%} held out, {called(self.group)} kept whole"
        return self.split.protocol if self.split else kept

    def validation(self) -> Mask:
        """The rows of "val", if they are free to choose on; none without splits."""
        if self.split is None:
            return np.zeros(len(self.table), bool)
        free: Mask = is_in(self.table, "val") & ~self.split.test & ~self.split.train & ~self.split.left_out
        if self.is_asked:
            free &= ~np.isin(self.groups, self.groups[self.split.test | self.split.train])
        return free

    def divided(self, generator: np.random.Generator) -> tuple[Mask, Mask]:
        """Rows [N] for training and for evaluation: the splits', or whole groups held out at random.

        Raises:
            TableError: classes that leave nothing to hold out, or training rows that are all of one class.
        """
        if self.split is not None:
            train, test = self.split.train, self.split.test
        else:
            train, test = self.drawn(np.ones(len(self.table), bool), self.groups, generator)
            if not test.any():
                raise TableError(
                    "every class is in one group of clips only, so nothing can be held out: "
                    "give the manifest splits, or choose another --group"
                )
        if len(np.unique(self.labels[train])) < 2:
            raise TableError("all training rows are of one class")
        return train, test

    def drawn(self, among: Mask, of_row: IntArray, generator: np.random.Generator) -> tuple[Mask, Mask]:
        """Rows [N] of a mask that are kept and held out, those of one number in `of_row` [N] together.

        Where every group has a class that is in no other, such classes are not asked: their rows are kept, but for
        those of groups that are held out, which are on neither side. None are held out if it cannot be.
        """
        labels, groups = self.labels[among], of_row[among]
        held = hold_out(labels, groups, share=self.held_out, generator=generator)
        shareable = ~lonely_classes(labels, groups)[labels]
        if not held.any() and shareable.any():
            some = labels[shareable], groups[shareable]
            held[shareable] = hold_out(*some, share=self.held_out, generator=generator)
        kept, chosen = among.copy(), np.zeros(len(among), bool)
        kept[among], chosen[among] = ~np.isin(groups, groups[held]), held
        return kept, chosen

    def learned(self, train: Mask) -> LearnedFrom:
        """What a classifier of these rows was trained on."""
        return LearnedFrom.of(self.table, train, self.group if self.is_asked or self.split is None else None)


@dataclass(frozen=True, eq=False)
class Trial:
    """What one seed gave."""

    known: tuple[str, ...]  # classes that it was trained on
    predictions: Predictions  # of the evaluated rows
    train: Mask  # the training rows, among all
    train_labels: IntArray  # [N] of these
    more: Mapping[str, Any] = field(default_factory=dict)  # of its fit, for `by_seed`; JSON values, hence Any

    def figures(self) -> dict[str, Any]:
        """JSON-ready, hence Any."""
        return {**self.more, **figures(self.predictions, self.train_labels)}


def summary(task: Task, trials: Sequence[Trial], more: Mapping[str, Any]) -> tuple[dict[str, Any], Predictions]:
    """Means and deviations over the seeds, each of them, and a table by class; and all predictions.

    Args:
        task: what was predicted.
        trials: one or more.
        more: further figures; JSON values, hence Any.
    """
    predictions = _pooled([trial.predictions for trial in trials])
    by_seed = [trial.figures() for trial in trials]
    report = {
        "protocol": task.protocol,
        "seeds": len(trials),
        **{name: float(np.mean([entry[name] for entry in by_seed])) for name in AVERAGED},
        **{f"{name}_deviation": float(np.std([entry[name] for entry in by_seed])) for name in AVERAGED[:2]},
        "rows": by_seed[0]["rows"],
        "train_rows": by_seed[0]["train_rows"],
        **more,
        "by_seed": [{name: entry[name] for name in (*trials[0].more, *AVERAGED)} for entry in by_seed],
        "classes": by_class(predictions, trials[0].train_labels),
    }
    return report, predictions


def remarks_on(task: Task, trial: Trial, predictions: Predictions, *, chosen_on: Mask | None = None) -> tuple[str, ...]:
    """What is to be said of rows that were left out, and of classes.

    Args:
        task: what was predicted.
        trial: of the first seed.
        predictions: of all seeds.
        chosen_on: rows [N] beside those of the splits that were used.
    """
    remarks = [*task.table.remarks, *alike_groups(task.table, task.partition.group)]
    if task.split is not None:
        used = task.split.train | task.split.test | task.split.left_out
        remarks += [*task.split.remarks, *unused(task.table, used if chosen_on is None else used | chosen_on)]
    elif task.group is None:
        remarks += shared_remarks(task.table, task.label, trial.train, ~trial.train)
    return (*remarks, *_class_remarks(task, predictions, trial.known))


def _pooled(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of all seeds, one after the other."""
    arrays = [(part.labels, part.predicted, part.scores) for part in parts]
    labels, predicted, scores = (np.concatenate(each) for each in zip(*arrays, strict=True))
    details = {"seed": [seed for part in parts for seed in part.details["seed"]]}
    return Predictions(parts[0].classes, joined([part.rows for part in parts]), labels, predicted, scores, details)


def _class_remarks(task: Task, predictions: Predictions, known: Sequence[str]) -> list[str]:
    """Classes that were evaluated but not trained on, and classes that were not evaluated."""
    evaluated = np.bincount(predictions.labels, minlength=len(predictions.classes)) > 0
    alone = lonely_classes(task.labels, task.groups) & ~lonely_classes(task.labels, groups(task.table, None))
    names = list(zip(predictions.classes, evaluated, alone & (task.split is None), strict=True))
    found = {
        "not among the training rows: all of these rows count as errors": [
            name for name, has_rows, _ in names if has_rows and name not in known
        ],
        f"in one {called(task.group)} only, so trained on but not evaluated": [
            name for name, has_rows, is_alone in names if not has_rows and is_alone
        ],
        "with too few clips for both training and evaluation": [
            name for name, has_rows, is_alone in names if not has_rows and not is_alone
        ],
    }
    return [class_remark(classes, what) for what, classes in found.items() if classes]
