"""A linear classifier on frozen features. Axes: N rows, D features, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from egotools.config import option
from egotools.errors import TableError
from egotools.evaluate.classification import Predictions, Result, by_class, class_remark, figures, numbered
from egotools.evaluate.splits import (
    AS_IN_MANIFEST,
    Partition,
    Sides,
    alike_groups,
    default_group,
    groups,
    hold_out,
    is_in,
    sides,
    unused,
)
from egotools.metrics.classification import accuracy_score
from egotools.processes import compute_alone_if_forked
from egotools.tables import Mask, Table, joined
from egotools.types import IntArray

if TYPE_CHECKING:  # the options are read by the command line, which starts without torch
    from torch import device

    from egotools.evaluate.classifier import Classifier
    from egotools.evaluate.softmax import Fit

AVERAGED = ("accuracy", "mean_class_accuracy", "majority", "chance")


@dataclass(frozen=True)
class Probe:
    """A linear softmax classifier on standardized features."""

    c: tuple[float, ...] = option(
        (0.001, 0.01, 0.1, 1.0), "Inverse strengths of regularization, as in scikit-learn; the best on val is taken."
    )
    solver: Literal["lbfgs", "sgd"] = option("lbfgs", "L-BFGS on all rows at once, or stochastic gradient descent.")
    seeds: int = option(3, "Fits with other random choices (hold-out, order of SGD), for mean and deviation.")
    held_out: float = option(0.25, "Share of each class that is held out where the manifest has no split for it.")

    def __post_init__(self) -> None:
        if not self.c or not all(0 < value < float("inf") for value in self.c):
            raise ValueError(f"--c is above 0, not {self.c}")
        if self.seeds < 1:
            raise ValueError(f"--seeds is 1 at least, not {self.seeds}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"--held-out is a share between 0 and 1, not {self.held_out}")


@dataclass(frozen=True, eq=False)
class ProbeResult(Result):
    """What an evaluation found, and the classifier of its first seed."""

    classifier: Classifier


@dataclass(frozen=True, eq=False)
class _Task:
    """What is the same for all seeds."""

    table: Table
    classes: tuple[str, ...]
    labels: IntArray  # [N]
    kin: IntArray  # [N] group numbers
    group: str | None
    split: Sides | None
    config: Probe
    device: str | device

    @property
    def protocol(self) -> str:
        kept = f"{self.config.held_out:.0%} held out, {self.group or 'clip'} kept whole"
        return self.split.protocol if self.split else kept


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What one seed gave."""

    fit: Fit
    classifier: Classifier
    predictions: Predictions  # of the judged rows
    train_labels: IntArray  # [N] of the rows that were learned from

    def figures(self) -> dict[str, Any]:
        """JSON-ready, hence Any; the objective as scikit-learn scales it."""
        scale = self.fit.c * len(self.train_labels)
        return {
            "c": self.fit.c,
            "objective": scale * self.fit.objective,
            **figures(self.predictions, self.train_labels),
        }


def probe(
    table: Table,
    label: str,
    config: Probe,
    *,
    partition: Partition = AS_IN_MANIFEST,
    seed: int = 0,
    device: str | device = "cpu",
) -> ProbeResult:
    """Fits a linear classifier on the train rows and judges it on the test rows, for several seeds.

    C is chosen on the split "val" where there is one that is not judged itself, else on a part of the train rows.
    Without any split the judged rows are held out at random, stratified by class, the partition's group
    (default: the video where every class has several, else the clip) kept together.

    Raises:
        TableError: an unknown label or split, one class only, or classes that leave nothing to hold out.
    """
    table = table.labeled(label)
    classes, labels = numbered(table.labels[label])
    group = partition.group or default_group(table, labels)
    task = _Task(table, classes, labels, groups(table, group), group, sides(table, partition), config, device)
    outcomes = [_fit_once(task, [seed, number]) for number in range(config.seeds if _varies(task) else 1)]
    first, predictions = outcomes[0], _pooled([outcome.predictions for outcome in outcomes])
    report = {
        "protocol": task.protocol,
        **_summary(outcomes),
        "classes": by_class(predictions, first.train_labels),
    }
    remarks = [*table.remarks, *alike_groups(table, partition.group)]
    if task.split is not None:
        remarks += unused(table, task.split.train | task.split.test | _validation(task, task.split))
    remarks += _class_remarks(predictions, first.classifier.classes)
    return ProbeResult(report, predictions, tuple(remarks), first.classifier)


def apply(classifier: Classifier, table: Table, label: str, *, test_split: str | None = None) -> Result:
    """What a fitted classifier predicts for a table's rows (those of `test_split`, if given), and its figures there."""
    table = table.labeled(label)
    if test_split is not None:
        if not is_in(table, test_split).any():
            raise TableError(f"no labeled clip with features has the split {test_split!r}")
        table = table.only(is_in(table, test_split))
    names = np.union1d(table.labels[label], np.array(classifier.classes))
    classes, _ = numbered(names)
    known = np.searchsorted(names, np.array(classifier.classes))
    labels = np.searchsorted(names, table.labels[label])
    predicted, scores = classifier.predict(table.values)
    predictions = Predictions(classes, table, labels, known[predicted], scores)
    report = figures(predictions, known)
    for name in ("majority", "chance", "train_rows"):  # the rows that it was fitted on are not here
        report.pop(name)
    return Result({"protocol": "a fitted probe applied", **report}, predictions, tuple(table.remarks))


def _summary(outcomes: Sequence[_Outcome]) -> dict[str, Any]:
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


def _varies(task: _Task) -> bool:
    """Whether anything depends on the seed."""
    if task.split is None or task.config.solver == "sgd":
        return True
    return len(task.config.c) > 1 and not _validation(task, task.split).any()


def _validation(task: _Task, split: Sides) -> Mask:
    """The rows of "val", if they are free to choose C on."""
    free: Mask = is_in(task.table, "val") & ~split.test & ~split.train
    return free


def _fit_once(task: _Task, seed: Sequence[int]) -> _Outcome:
    """Divides, chooses C, fits and judges."""
    generator = np.random.default_rng(list(seed))
    if task.split is None:
        test = _held_out(task, generator)
        train, choosing = ~test, np.zeros(len(test), bool)
    else:
        train, test, choosing = task.split.train, task.split.test, _validation(task, task.split)
    if len(np.unique(task.labels[train])) < 2:
        raise TableError("the rows to learn from are all of one class")
    c = _choose_c(task, train, choosing, generator)
    ((fit, classifier),) = _fits(task, train, [c], generator)
    predicted, scores = classifier.predict(task.table.values, test)
    known = np.searchsorted(np.array(task.classes), np.array(classifier.classes))
    details = {"seed": [str(seed[-1])] * int(test.sum())}
    rows = task.table.without_values().only(test)
    predictions = Predictions(task.classes, rows, task.labels[test], known[predicted], scores, details)
    return _Outcome(fit, classifier, predictions, task.labels[train])


def _choose_c(task: _Task, train: Mask, choosing: Mask, generator: np.random.Generator) -> float:
    """The C of the best accuracy on `choosing` (on a part of `train` where that is empty); of equal ones the lowest.

    Where each class has one group only, that part is whole clips instead; where it has one clip, the middle C is taken.
    """
    grid = sorted(task.config.c)
    if len(grid) == 1:
        return grid[0]
    if not choosing.any():
        choosing = _drawn(task, train, task.kin, generator)
        if not choosing.any():
            choosing = _drawn(task, train, groups(task.table, None), generator)
        train = train & ~choosing
    if not choosing.any():
        return grid[len(grid) // 2]
    names = np.array(task.classes)[task.labels[choosing]]
    scores = []
    for fit, classifier in _fits(task, train, grid, generator):
        predicted, _ = classifier.predict(task.table.values, choosing)
        scores.append((accuracy_score(names, np.array(classifier.classes)[predicted]), -fit.c))
    return -max(scores)[1]


def _fits(task: _Task, train: Mask, c: Sequence[float], generator: np.random.Generator) -> list[tuple[Fit, Classifier]]:
    """A fit and its classifier for each C, on the train rows [N]."""
    compute_alone_if_forked()
    import torch

    from egotools.evaluate.classifier import Classifier, Standardization
    from egotools.evaluate.softmax import fit_path, fit_sgd

    known, labels = np.unique(task.labels[train], return_inverse=True)  # of classes it never saw it can say nothing
    values = torch.from_numpy(task.table.values[train]).to(task.device)
    standardization = Standardization.of(values)
    x, y = standardization.in_place(values), torch.from_numpy(labels).to(task.device)
    if task.config.solver == "lbfgs":
        fits = fit_path(x, y, len(known), c=c)
    else:
        order = torch.Generator().manual_seed(int(generator.integers(2**31)))
        fits = [fit_sgd(x, y, len(known), c=value, generator=order) for value in c]
    classes = tuple(task.classes[number] for number in known)
    return [(fit, Classifier(classes, fit.weight, fit.bias, standardization)) for fit in fits]


def _held_out(task: _Task, generator: np.random.Generator) -> Mask:
    """Rows [N] to judge, whole groups of clips."""
    chosen = _drawn(task, np.ones(len(task.table), bool), task.kin, generator)
    if not chosen.any():
        raise TableError(
            "every class lies within one group of clips, so that nothing can be held out: "
            "give the manifest splits, or --group another column"
        )
    return chosen


def _drawn(task: _Task, among: Mask, kin: IntArray, generator: np.random.Generator) -> Mask:
    """Rows [N] held out among those of a mask, those of one number in `kin` [N] kept together; none if it cannot be."""
    chosen = np.zeros(len(among), bool)
    chosen[among] = hold_out(task.labels[among], kin[among], share=task.config.held_out, generator=generator)
    return chosen


def _pooled(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of all seeds, one after the other."""
    rows = joined([part.rows for part in parts])
    return Predictions(
        parts[0].classes,
        rows,
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.predicted for part in parts]),
        np.concatenate([part.scores for part in parts]),
        {"seed": [seed for part in parts for seed in part.details["seed"]]},
    )


def _class_remarks(predictions: Predictions, known: Sequence[str]) -> list[str]:
    """Classes that were judged but not learned, and classes that were never judged."""
    judged = np.bincount(predictions.labels, minlength=len(predictions.classes)) > 0
    unknown, unjudged = [], []
    for name, is_judged in zip(predictions.classes, judged, strict=True):
        if not is_judged:
            unjudged.append(name)
        elif name not in known:
            unknown.append(name)
    remarks = []
    if unknown:
        remarks.append(class_remark(unknown, "not among the rows to learn from: all of these rows count as errors"))
    if unjudged:
        remarks.append(class_remark(unjudged, "too few clips to be judged as well as learned"))
    return remarks
