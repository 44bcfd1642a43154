"""A linear classifier on frozen features. Axes: N rows, D features, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from egotools.config import check_positive, option
from egotools.errors import TableError
from egotools.evaluate.classification import Predictions, Result, by_class, class_remark, figures, numbered
from egotools.evaluate.leakage import default_group, lonely_classes, shared_remarks, unlearned
from egotools.evaluate.splits import (
    AS_IN_MANIFEST,
    Partition,
    Sides,
    alike_groups,
    groups,
    hold_out,
    is_in,
    sides,
    unused,
)
from egotools.metrics.classification import accuracy_score
from egotools.processes import compute_alone_if_forked
from egotools.tables.table import Mask, Table, joined
from egotools.training.learned_from import NOTHING, LearnedFrom
from egotools.types import IntArray

if TYPE_CHECKING:  # the options are read by the command line, which starts without torch
    from torch import device

    from egotools.linear.softmax import Fit
    from egotools.methods.probe.classifier import Classifier

AVERAGED = ("accuracy", "mean_class_accuracy", "majority", "chance")


@dataclass(frozen=True)
class Probe:
    """A linear softmax classifier on standardized features."""

    c: tuple[float, ...] = option(
        (0.001, 0.01, 0.1, 1.0), "Inverse strengths of regularization, as in scikit-learn; the best on val is used."
    )
    solver: Literal["lbfgs", "sgd"] = option("lbfgs", "L-BFGS on all rows at once, or stochastic gradient descent.")
    seeds: int = option(3, "Number of seeds (of the hold-out and the order of SGD), for mean and deviation.")
    held_out: float = option(0.25, "Fraction of each class to hold out where the manifest has no splits.")

    def __post_init__(self) -> None:
        if not self.c or not all(0 < value < float("inf") for value in self.c):
            raise ValueError(f"--c must be above 0, not {self.c}")
        check_positive(self, "seeds")
        if not 0 < self.held_out < 1:
            raise ValueError(f"--held-out must be between 0 and 1, not {self.held_out}")


@dataclass(frozen=True, eq=False)
class ProbeResult(Result):
    """What an evaluation found, the classifier of its first seed, and what that was trained on."""

    classifier: Classifier
    learned: LearnedFrom


@dataclass(frozen=True, eq=False)
class _SplitRows:
    """What is the same for all seeds."""

    table: Table
    classes: tuple[str, ...]
    labels: IntArray  # [N]
    groups: IntArray  # [N] group numbers
    group: str | None
    is_asked: bool  # whether the group was asked for
    split: Sides | None
    config: Probe
    device: str | device

    @property
    def protocol(self) -> str:
        kept = f"{self.config.held_out:.0%} held out, {self.group or 'clip'} kept whole"
        return self.split.protocol if self.split else kept


@dataclass(frozen=True, eq=False)
class _SeedResult:
    """What one seed gave."""

    fit: Fit
    classifier: Classifier
    predictions: Predictions  # of the evaluated rows
    train: Mask  # the training rows, among all
    train_labels: IntArray  # [N] of these

    def figures(self) -> dict[str, Any]:
        """JSON-ready, hence Any; the objective as scikit-learn scales it."""
        objective = self.fit.c * len(self.train_labels) * self.fit.objective
        return {"c": self.fit.c, "objective": objective, **figures(self.predictions, self.train_labels)}


def probe(
    table: Table,
    label: str,
    config: Probe,
    *,
    partition: Partition = AS_IN_MANIFEST,
    seed: int = 0,
    device: str | device = "cpu",
) -> ProbeResult:
    """Trains a linear classifier on the train rows and evaluates it on the test rows, for several seeds.

    C is chosen on the split "val" if there is one that is not evaluated itself, else on a part of the train rows.
    Training rows whose group (of the partition) is evaluated are left out. Without splits, test rows are held out at
    random, stratified by class, groups kept whole: by default videos if a class is in several, else clips. A class
    that is in one of them only is trained on, and not evaluated.

    Raises:
        TableError: an unknown label or split, one class only, or classes that leave nothing to hold out.
    """
    table = table.labeled(label)
    classes, labels = numbered(table.labels[label])
    group = partition.group or default_group(table, labels)
    split = sides(table, partition, label=label)
    is_asked = partition.group is not None
    task = _SplitRows(table, classes, labels, groups(table, group), group, is_asked, split, config, device)
    outcomes = [_fit_once(task, [seed, number]) for number in range(config.seeds if _varies(task) else 1)]
    first, predictions = outcomes[0], _pooled([outcome.predictions for outcome in outcomes])
    report = {"protocol": task.protocol, **_summary(outcomes), "classes": by_class(predictions, first.train_labels)}
    remarks = [*table.remarks, *alike_groups(table, partition.group)]
    if split is not None:
        used = split.train | split.test | split.left_out | _validation(task, split)
        remarks += [*split.remarks, *unused(table, used)]
    elif group is None:
        remarks += shared_remarks(table, label, first.train, ~first.train)
    remarks += _class_remarks(task, predictions, first.classifier.classes)
    learned = LearnedFrom.of(table, first.train, group if is_asked or split is None else None)
    return ProbeResult(report, predictions, tuple(remarks), first.classifier, learned)


def apply(
    classifier: Classifier,
    table: Table,
    label: str,
    *,
    partition: Partition = AS_IN_MANIFEST,
    learned: LearnedFrom | None = NOTHING,
    all_rows: bool = False,
) -> Result:
    """What a fitted classifier predicts for rows that it was not trained on, and its figures there.

    These are the rows of the partition's test split; by default those of "test", else "val", or all if the table has
    neither. With `all_rows` all, or all of the partition's test split.

    Raises:
        TableError: no rows to evaluate.
    """
    table = table.labeled(label)
    name = partition.test_split or next(
        (each for each in ("test", "val") if not all_rows and is_in(table, each).any()), ""
    )
    rows = is_in(table, name) if name else np.ones(len(table), bool)
    if not rows.any():
        raise TableError(f"no labeled clip with features has the split {name!r}")
    rows, remarks = unlearned(table, learned, rows, group=partition.group, all_rows=all_rows)
    table = table.only(rows)
    names = np.union1d(table.labels[label], np.array(classifier.classes))
    classes, _ = numbered(names)
    known = np.searchsorted(names, np.array(classifier.classes))
    labels = np.searchsorted(names, table.labels[label])
    predicted, scores = classifier.predict(table.values)
    predictions = Predictions(classes, table, labels, known[predicted], scores)
    report = figures(predictions, known)
    for entry in ("majority", "chance", "train_rows"):  # the rows that it was fitted on are not here
        report.pop(entry)
    for of_class in report["classes"]:
        of_class.pop("train_rows")
    protocol = f"a fitted probe applied to {name}" if name else "a fitted probe applied"
    return Result({"protocol": protocol, **report}, predictions, (*table.remarks, *remarks))


def _summary(outcomes: Sequence[_SeedResult]) -> dict[str, Any]:
    """Means and deviations over the seeds, and each of them; JSON-ready, hence Any."""
    by_seed = [outcome.figures() for outcome in outcomes]
    return {
        "seeds": len(outcomes),
        **{name: float(np.mean([entry[name] for entry in by_seed])) for name in AVERAGED},
        **{f"{name}_deviation": float(np.std([entry[name] for entry in by_seed])) for name in AVERAGED[:2]},
        "rows": by_seed[0]["rows"],
        "train_rows": by_seed[0]["train_rows"],
        "evaluations": outcomes[0].fit.evaluations,
        "by_seed": [{name: entry[name] for name in ("c", "objective", *AVERAGED)} for entry in by_seed],
    }


def _varies(task: _SplitRows) -> bool:
    """Whether anything depends on the seed."""
    if task.split is None or task.config.solver == "sgd":
        return True
    return len(task.config.c) > 1 and not _validation(task, task.split).any()


def _validation(task: _SplitRows, split: Sides) -> Mask:
    """The rows of "val", if they are free to choose C on."""
    free: Mask = is_in(task.table, "val") & ~split.test & ~split.train & ~split.left_out
    if task.is_asked:
        free &= ~np.isin(task.groups, task.groups[split.test | split.train])
    return free


def _fit_once(task: _SplitRows, seed: Sequence[int]) -> _SeedResult:
    """Divides, chooses C, trains and evaluates."""
    generator = np.random.default_rng(list(seed))
    if task.split is None:
        train, test = _held_out(task, generator)
        choosing = np.zeros(len(test), bool)
    else:
        train, test, choosing = task.split.train, task.split.test, _validation(task, task.split)
    if len(np.unique(task.labels[train])) < 2:
        raise TableError("all training rows are of one class")
    c = _choose_c(task, train, choosing, generator)
    ((fit, classifier),) = _fits(task, train, [c], generator)
    predicted, scores = classifier.predict(task.table.values, test)
    known = np.searchsorted(np.array(task.classes), np.array(classifier.classes))
    details = {"seed": [str(seed[-1])] * int(test.sum())}
    rows = task.table.without_values().only(test)
    predictions = Predictions(task.classes, rows, task.labels[test], known[predicted], scores, details)
    return _SeedResult(fit, classifier, predictions, train, task.labels[train])


def _choose_c(task: _SplitRows, train: Mask, choosing: Mask, generator: np.random.Generator) -> float:
    """The C of the best accuracy on `choosing` (on a part of `train` where that is empty); of equal ones the lowest.

    Where each class has one group only, that part is whole clips instead; where it has one clip, the middle C is taken.
    """
    grid = sorted(task.config.c)
    if len(grid) == 1:
        return grid[0]
    if not choosing.any():
        rest, choosing = _drawn(task, train, task.groups, generator)
        if not choosing.any():
            rest, choosing = _drawn(task, train, groups(task.table, None), generator)
        train = rest
    if not choosing.any():
        return grid[len(grid) // 2]
    names = np.array(task.classes)[task.labels[choosing]]
    scores = []
    for fit, classifier in _fits(task, train, grid, generator):
        predicted, _ = classifier.predict(task.table.values, choosing)
        scores.append((accuracy_score(names, np.array(classifier.classes)[predicted]), -fit.c))
    return -max(scores)[1]


def _fits(
    task: _SplitRows, train: Mask, c: Sequence[float], generator: np.random.Generator
) -> list[tuple[Fit, Classifier]]:
    """A fit and its classifier for each C, on the train rows [N]."""
    compute_alone_if_forked()
    import torch

    from egotools.linear.softmax import fit_path, fit_sgd
    from egotools.linear.standardize import fit_standardization
    from egotools.methods.probe.classifier import Classifier

    known, labels = np.unique(task.labels[train], return_inverse=True)  # of classes it never saw it can say nothing
    values = torch.from_numpy(task.table.values[train]).to(task.device)
    standardization = fit_standardization(values)
    x, y = standardization(values, in_place=True), torch.from_numpy(labels).to(task.device)
    if task.config.solver == "lbfgs":
        fits = fit_path(x, y, len(known), c=c)
    else:
        order = torch.Generator().manual_seed(int(generator.integers(2**31)))
        fits = [fit_sgd(x, y, len(known), c=value, generator=order) for value in c]
    classes = tuple(task.classes[number] for number in known)
    return [(fit, Classifier(classes, fit.weight, fit.bias, standardization)) for fit in fits]


def _held_out(task: _SplitRows, generator: np.random.Generator) -> tuple[Mask, Mask]:
    """Rows [N] for training and for evaluation, whole groups of clips."""
    rest, chosen = _drawn(task, np.ones(len(task.table), bool), task.groups, generator)
    if not chosen.any():
        raise TableError(
            "every class is in one group of clips only, so nothing can be held out: "
            "give the manifest splits, or choose another --group"
        )
    return rest, chosen


def _drawn(task: _SplitRows, among: Mask, of_row: IntArray, generator: np.random.Generator) -> tuple[Mask, Mask]:
    """Rows [N] of a mask that are kept and held out, those of one number in `of_row` [N] together.

    Where every group has a class that is in no other, such classes are not asked: their rows are kept, but for those
    of groups that are held out, which are on neither side. None are held out if it cannot be.
    """
    labels, groups = task.labels[among], of_row[among]
    held = hold_out(labels, groups, share=task.config.held_out, generator=generator)
    shareable = ~lonely_classes(labels, groups)[labels]
    if not held.any() and shareable.any():
        some = labels[shareable], groups[shareable]
        held[shareable] = hold_out(*some, share=task.config.held_out, generator=generator)
    kept, chosen = among.copy(), np.zeros(len(among), bool)
    kept[among], chosen[among] = ~np.isin(groups, groups[held]), held
    return kept, chosen


def _pooled(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of all seeds, one after the other."""
    arrays = [(part.labels, part.predicted, part.scores) for part in parts]
    labels, predicted, scores = (np.concatenate(each) for each in zip(*arrays, strict=True))
    details = {"seed": [seed for part in parts for seed in part.details["seed"]]}
    return Predictions(parts[0].classes, joined([part.rows for part in parts]), labels, predicted, scores, details)


def _class_remarks(task: _SplitRows, predictions: Predictions, known: Sequence[str]) -> list[str]:
    """Classes that were evaluated but not trained on, and classes that were not evaluated."""
    evaluated = np.bincount(predictions.labels, minlength=len(predictions.classes)) > 0
    alone = lonely_classes(task.labels, task.groups) & ~lonely_classes(task.labels, groups(task.table, None))
    names = list(zip(predictions.classes, evaluated, alone & (task.split is None), strict=True))
    found = {
        "not among the training rows: all of these rows count as errors": [
            name for name, has_rows, _ in names if has_rows and name not in known
        ],
        f"in one {task.group} only, so trained on but not evaluated": [
            name for name, has_rows, is_alone in names if not has_rows and is_alone
        ],
        "with too few clips for both training and evaluation": [
            name for name, has_rows, is_alone in names if not has_rows and not is_alone
        ],
    }
    return [class_remark(classes, what) for what, classes in found.items() if classes]
