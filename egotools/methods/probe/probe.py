"""A linear classifier on frozen features. Axes: N rows, D features, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from egotools.config import option
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
    """What an evaluation found, the classifier of its first seed, and what that learned from."""

    classifier: Classifier
    learned: LearnedFrom


@dataclass(frozen=True, eq=False)
class _SplitRows:
    """What is the same for all seeds."""

    table: Table
    classes: tuple[str, ...]
    labels: IntArray  # [N]
    kin: IntArray  # [N] group numbers
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
    predictions: Predictions  # of the judged rows
    train: Mask  # the rows that were learned from, among all
    train_labels: IntArray  # [N] of these

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
    Rows to learn from whose group (of the partition) is judged are left out. Without any split the judged rows are held
    out at random, stratified by class, groups kept whole: by default videos if a class is in several, else clips. A
    class that is in one of them only is learned, and not judged.

    Raises:
        TableError: an unknown label or split, one class only, or classes that leave nothing to hold out.
    """
    table = table.labeled(label)
    classes, labels = numbered(table.labels[label])
    group = partition.group or default_group(table, labels)
    split = sides(table, partition, label=label)
    kin, is_asked = groups(table, group), partition.group is not None
    task = _SplitRows(table, classes, labels, kin, group, is_asked, split, config, device)
    outcomes = [_fit_once(task, [seed, number]) for number in range(config.seeds if _varies(task) else 1)]
    first, predictions = outcomes[0], _pooled([outcome.predictions for outcome in outcomes])
    report = {
        "protocol": task.protocol,
        **_summary(outcomes),
        "classes": by_class(predictions, first.train_labels),
    }
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
    """What a fitted classifier predicts for rows that it did not learn from, and its figures there.

    Judged are the rows of the partition's test split; by default those of "test", else "val", or all where the table
    has neither. With `all_rows` all, or all of the partition's test split.

    Raises:
        TableError: no rows to judge.
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
        free &= ~np.isin(task.kin, task.kin[split.test | split.train])
    return free


def _fit_once(task: _SplitRows, seed: Sequence[int]) -> _SeedResult:
    """Divides, chooses C, fits and judges."""
    generator = np.random.default_rng(list(seed))
    if task.split is None:
        train, test = _held_out(task, generator)
        choosing = np.zeros(len(test), bool)
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
    return _SeedResult(fit, classifier, predictions, train, task.labels[train])


def _choose_c(task: _SplitRows, train: Mask, choosing: Mask, generator: np.random.Generator) -> float:
    """The C of the best accuracy on `choosing` (on a part of `train` where that is empty); of equal ones the lowest.

    Where each class has one group only, that part is whole clips instead; where it has one clip, the middle C is taken.
    """
    grid = sorted(task.config.c)
    if len(grid) == 1:
        return grid[0]
    if not choosing.any():
        rest, choosing = _drawn(task, train, task.kin, generator)
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
    """Rows [N] to learn from and to judge, whole groups of clips."""
    rest, chosen = _drawn(task, np.ones(len(task.table), bool), task.kin, generator)
    if not chosen.any():
        raise TableError(
            "every class lies within one group of clips, so that nothing can be held out: "
            "give the manifest splits, or --group another column"
        )
    return rest, chosen


def _drawn(task: _SplitRows, among: Mask, kin: IntArray, generator: np.random.Generator) -> tuple[Mask, Mask]:
    """Rows [N] of a mask that are kept and held out, those of one number in `kin` [N] together.

    Where every group has a class that is in no other, such classes are not asked: their rows are kept, but for those
    of groups that are held out, which are on neither side. None are held out if it cannot be.
    """
    labels, groups = task.labels[among], kin[among]
    held = hold_out(labels, groups, share=task.config.held_out, generator=generator)
    shareable = ~lonely_classes(labels, groups)[labels]
    if not held.any() and shareable.any():
        held[shareable] = hold_out(
            labels[shareable], groups[shareable], share=task.config.held_out, generator=generator
        )
    kept, chosen = among.copy(), np.zeros(len(among), bool)
    kept[among], chosen[among] = ~np.isin(groups, groups[held]), held
    return kept, chosen


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


def _class_remarks(task: _SplitRows, predictions: Predictions, known: Sequence[str]) -> list[str]:
    """Classes that were judged but not learned, and classes that were never judged."""
    judged = np.bincount(predictions.labels, minlength=len(predictions.classes)) > 0
    alone = lonely_classes(task.labels, task.kin) & ~lonely_classes(task.labels, groups(task.table, None))
    names = list(zip(predictions.classes, judged, alone & (task.split is None), strict=True))
    unknown = [name for name, is_judged, _ in names if is_judged and name not in known]
    single = [name for name, is_judged, is_alone in names if not is_judged and is_alone]
    few = [name for name, is_judged, is_alone in names if not is_judged and not is_alone]
    remarks = []
    if unknown:
        remarks.append(class_remark(unknown, "not among the rows to learn from: all of these rows count as errors"))
    if single:
        remarks.append(class_remark(single, f"in one {task.group} only, so learned but not judged"))
    if few:
        remarks.append(class_remark(few, "too few clips to be judged as well as learned"))
    return remarks
