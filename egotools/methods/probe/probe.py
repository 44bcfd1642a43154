"""A linear classifier on frozen features. Axes: N rows, D features, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from egotools.config import check_positive, option
from egotools.evaluate.classification import Predictions, Result, figures, numbered
from egotools.evaluate.leakage import unlearned
from egotools.evaluate.splits import AS_IN_MANIFEST, Partition, groups, to_evaluate
from egotools.evaluate.trials import Task, Trial, remarks_on, summary
from egotools.methods.probe.head import LINEAR, Head, Views, fit_head, predict_clips, predicted_clips, views_of
from egotools.metrics.classification import accuracy_score
from egotools.processes import compute_alone_if_forked
from egotools.tables.by_time import FILE
from egotools.tables.table import Mask, Table
from egotools.training.learned_from import NOTHING, LearnedFrom

if TYPE_CHECKING:  # the options are read by the command line, which starts without torch
    from torch import device

    from egotools.linear.softmax import Fit
    from egotools.methods.probe.classifier import Classifier


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


def probe(
    table: Table,
    label: str,
    config: Probe,
    *,
    partition: Partition = AS_IN_MANIFEST,
    head: Head = LINEAR,
    views: Sequence[Table] = (),
    seed: int = 0,
    device: str | device = "cpu",
) -> ProbeResult:
    """Trains a classifier on the train rows and evaluates it on the test rows, for several seeds.

    C is chosen on the split "val" if there is one that is not evaluated itself, else on a part of the train rows.
    Training rows whose group (of the partition) is evaluated are left out. Without splits, test rows are held out at
    random, stratified by class, groups kept whole: by default videos if a class is in several, else clips. A class
    that is in one of them only is trained on, and not evaluated.

    The other heads have no C. An epoch of "bn-dropout" has one row of each clip, drawn at random, one of "normalized"
    has all rows. Their probabilities of a clip are the mean over the clip's rows.

    Args:
        table: the rows.
        label: the column to predict.
        config: the linear head, and seeds and hold-out of any.
        partition: which rows are for what.
        head: which head, and its training.
        views: further rows of the same clips (other crops, flips), to train the head "bn-dropout" on.
        seed: of everything random.
        device: to compute on.

    Raises:
        TableError: an unknown label or split, one class only, classes that leave nothing to hold out, or views of
            another width.
        ValueError: rows that are labeled by time, for another head than the linear one.
    """
    if head.is_trained and FILE in table.labels:
        raise ValueError(f"the head {head.head!r} predicts whole clips, and not rows that are labeled by time")
    task = Task.of(table, label, partition, held_out=config.held_out)
    own = views_of(task, views)
    numbers = range(config.seeds if _varies(task, config, head) else 1)
    outcomes = [_fit_once(task, config, head, own, device, [seed, number]) for number in numbers]
    first = outcomes[0].trial
    more = {} if head.is_trained else {"evaluations": outcomes[0].evaluations}
    report, predictions = summary(task, [outcome.trial for outcome in outcomes], more)
    if head.head == "normalized":
        report["protocol"] += "; cached features, without augmentation"
        report["is_augmented"] = False
    remarks = remarks_on(task, first, predictions, chosen_on=None if head.is_trained else task.validation())
    remarks += tuple(f"view: {remark}" for view in views for remark in view.remarks)
    return ProbeResult(report, predictions, remarks, outcomes[0].classifier, task.learned(first.train))


def apply(
    classifier: Classifier,
    table: Table,
    label: str,
    *,
    partition: Partition = AS_IN_MANIFEST,
    learned: LearnedFrom | None = NOTHING,
    all_rows: bool = False,
    by_clip: bool = False,
) -> Result:
    """What a fitted classifier predicts for rows that it was not trained on, and its figures there.

    These are the rows of the partition's test split; by default those of "test", else "val", or all if the table has
    neither. With `all_rows` all, or all of the partition's test split. With `by_clip` a clip is predicted by the mean
    of its rows' probabilities.

    Raises:
        TableError: no rows to evaluate.
    """
    if by_clip and FILE in table.labels:
        raise ValueError("by_clip predicts whole clips, and not rows that are labeled by time")
    table = table.labeled(label)
    name, rows = to_evaluate(table, partition.test_split, all_rows=all_rows)
    rows, remarks = unlearned(table, learned, rows, group=partition.group, all_rows=all_rows)
    table = table.only(rows)
    names = np.union1d(table.labels[label], np.array(classifier.classes))
    classes, _ = numbered(names)
    known = np.searchsorted(names, np.array(classifier.classes))
    labels = np.searchsorted(names, table.labels[label])
    if by_clip:
        firsts, predicted, scores = predict_clips(classifier, table)
        table, labels = table.only(firsts), labels[firsts]
    else:
        predicted, scores = classifier.predict(table.values)
    predictions = Predictions(classes, table, labels, known[predicted], scores)
    report = figures(predictions, known)
    for entry in ("majority", "chance", "train_rows"):  # the rows that it was fitted on are not here
        report.pop(entry)
    for of_class in report["classes"]:
        of_class.pop("train_rows")
    protocol = f"a fitted probe applied to {name}" if name else "a fitted probe applied"
    return Result({"protocol": protocol, **report}, predictions, (*table.remarks, *remarks))


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What one seed gave, and its classifier."""

    trial: Trial
    classifier: Classifier
    evaluations: int  # passes over the rows


def _varies(task: Task, config: Probe, head: Head) -> bool:
    """Whether anything depends on the seed."""
    if task.split is None or config.solver == "sgd" or head.is_trained:
        return True
    return len(config.c) > 1 and not task.validation().any()


def _fit_once(
    task: Task, config: Probe, head: Head, views: Views, device: str | device, seed: Sequence[int]
) -> _Outcome:
    """Divides, chooses C, trains and evaluates."""
    generator = np.random.default_rng(list(seed))
    train, test = task.divided(generator)
    if head.is_trained:
        fit, classifier = _trained(task, head, views, train, device, generator)
        more: dict[str, Any] = {"epochs": head.epochs, "loss": fit.objective}
        predictions = predicted_clips(classifier, task, test)
    else:
        c = _choose_c(task, config, device, train, generator)
        ((fit, classifier),) = _fits(task, config, device, train, [c], generator)
        more = {"c": fit.c, "objective": fit.c * int(train.sum()) * fit.objective}  # as scikit-learn scales it
        predicted, scores = classifier.predict(task.table.values, test)
        known = np.searchsorted(np.array(task.classes), np.array(classifier.classes))
        rows = task.table.without_values().only(test)
        predictions = Predictions(task.classes, rows, task.labels[test], known[predicted], scores)
    predictions = replace(predictions, details={"seed": [str(seed[-1])] * len(predictions.labels)})
    trial = Trial(classifier.classes, predictions, train, task.labels[train], more)
    return _Outcome(trial, classifier, fit.evaluations)


def _trained(
    task: Task, head: Head, views: Views, train: Mask, device: str | device, generator: np.random.Generator
) -> tuple[Fit, Classifier]:
    """A head that is trained by epochs on the train rows [N]."""
    if head.head == "bn-dropout":
        return fit_head(task, head, views, train, device, generator)
    if head.head == "sgd":
        raise ValueError("the head 'sgd' is of several labels: egotools.methods.probe.heads_run.train_heads trains it")
    from egotools.methods.probe.normalized import fit_normalized

    return fit_normalized(task, head, train, device, generator)


def _choose_c(task: Task, config: Probe, device: str | device, train: Mask, generator: np.random.Generator) -> float:
    """The C of the best accuracy on "val" (on a part of `train` where that is empty); of equal ones the lowest.

    Where each class has one group only, that part is whole clips instead; where it has one clip, the middle C is taken.
    """
    grid, choosing = sorted(config.c), task.validation()
    if len(grid) == 1:
        return grid[0]
    if not choosing.any():
        rest, choosing = task.drawn(train, task.groups, generator)
        if not choosing.any():
            rest, choosing = task.drawn(train, groups(task.table, None), generator)
        train = rest
    if not choosing.any():
        return grid[len(grid) // 2]
    names = np.array(task.classes)[task.labels[choosing]]
    scores = []
    for fit, classifier in _fits(task, config, device, train, grid, generator):
        predicted, _ = classifier.predict(task.table.values, choosing)
        scores.append((accuracy_score(names, np.array(classifier.classes)[predicted]), -fit.c))
    return -max(scores)[1]


def _fits(
    task: Task,
    config: Probe,
    device: str | device,
    train: Mask,
    c: Sequence[float],
    generator: np.random.Generator,
) -> list[tuple[Fit, Classifier]]:
    """A fit and its classifier for each C, on the train rows [N]."""
    compute_alone_if_forked()
    import torch

    from egotools.linear.softmax import fit_path, fit_sgd
    from egotools.linear.standardize import fit_standardization
    from egotools.methods.probe.classifier import Classifier

    known, labels = np.unique(task.labels[train], return_inverse=True)  # of classes it never saw it can say nothing
    values = torch.from_numpy(task.table.values[train]).to(device)
    standardization = fit_standardization(values)
    x, y = standardization(values, in_place=True), torch.from_numpy(labels).to(device)
    if config.solver == "lbfgs":
        fits = fit_path(x, y, len(known), c=c)
    else:
        order = torch.Generator().manual_seed(int(generator.integers(2**31)))
        fits = [fit_sgd(x, y, len(known), c=value, generator=order) for value in c]
    classes = tuple(task.classes[number] for number in known)
    return [(fit, Classifier(classes, fit.weight, fit.bias, standardization)) for fit in fits]
