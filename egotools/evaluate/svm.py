"""A linear support vector machine on standardized features. Axes: N rows, D features, K classes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from egotools.config import check_positive, option
from egotools.evaluate.classification import Predictions, Result
from egotools.evaluate.labelled_sets import ALPHAS, machine_choices, rows_of_task
from egotools.evaluate.splits import AS_IN_MANIFEST, Partition
from egotools.evaluate.trials import Task, Trial, remarks_on, summary
from egotools.metrics.classification import accuracy_score
from egotools.processes import compute_alone_if_forked
from egotools.progress import Progress, no_progress
from egotools.tables.table import Mask, Table
from egotools.texts import counted
from egotools.types import FloatArray, IntArray

ITERATIONS = 10_000  # of the solver; scikit-learn's 1000 are few for unregularized fits


@dataclass(frozen=True)
class SVM:
    """scikit-learn's LinearSVC (one against the rest, squared hinge loss) on standardized features."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"storyboard": {"solver": "sgd", "seeds": 1}}

    solver: Literal["liblinear", "sgd"] = option(
        "liblinear",
        "LinearSVC; or SGDClassifier on features as they are, the best alpha on test (oracle) and that of a tenth of"
        " train, as Memory Storyboard.",
    )
    alpha: tuple[float, ...] = option(ALPHAS, "Strengths of regularization.  [sgd]")
    c: tuple[float, ...] = option(
        (0.0001, 0.001, 0.01, 0.1, 1.0),
        "Inverse strengths of regularization; the best in cross-validation is used.  [liblinear]",
    )
    folds: int = option(5, "Folds of the cross-validation within the training rows, groups kept whole.  [liblinear]")
    seeds: int = option(3, "Number of seeds (of hold-out and folds), for mean and deviation.")
    held_out: float = option(0.25, "Fraction of each class to hold out where the manifest has no splits.")

    def __post_init__(self) -> None:
        if not self.c or not all(0 < value < float("inf") for value in self.c):
            raise ValueError(f"--c must be above 0, not {self.c}")
        if not self.alpha or not all(0 < value < float("inf") for value in self.alpha):
            raise ValueError(f"--alpha must be above 0, not {self.alpha}")
        if self.folds < 2:
            raise ValueError(f"--folds must be 2 or more, not {self.folds}")
        check_positive(self, "seeds")
        if not 0 < self.held_out < 1:
            raise ValueError(f"--held-out must be between 0 and 1, not {self.held_out}")


def svm(
    table: Table,
    label: str,
    config: SVM,
    *,
    partition: Partition = AS_IN_MANIFEST,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Result:
    """Fits the machine on the train rows and evaluates it on the test rows, for several seeds.

    Rows, groups and hold-outs are those of a probe. C is chosen by cross-validation within the train rows, in which
    rows of one group (by default a video if a class is in several, else a clip) are in one fold. Standardization is
    fitted on the rows that each machine is fitted on. A score is the sigmoid of the margin.

    The solver "sgd" takes features as they are, and chooses alpha on a tenth of the train rows; the best accuracy on
    the test rows is reported beside, as `oracle`.

    Raises:
        TableError: an unknown label or split, one class only, or classes that leave nothing to hold out.
    """
    task = Task.of(table, label, partition, held_out=config.held_out)
    by_descent = config.solver == "sgd"
    varies = task.split is None or len(config.c) > 1 or by_descent
    fit = _descend_once if by_descent else _fit_once
    fits, count = [], config.seeds if varies else 1
    for number in range(count):
        progress("fitting", number, count)
        fits.append(fit(task, config, [seed, number]))
    progress("fitting", count, count)
    trials = [trial for trial, _ in fits]
    report, predictions = summary(task, trials, _chosen(trials) if by_descent else {})
    stopped = sum(count for _, count in fits)
    remarks = remarks_on(task, trials[0], predictions)
    if stopped:
        most, what = (1000, "epochs") if by_descent else (ITERATIONS, "iterations")
        advice = "" if by_descent else ": lower --c"
        remarks += (f"{counted(stopped, 'fit')} ended after {most:,} {what}, before converging{advice}",)
    return Result(report, predictions, remarks)


def _fit_once(task: Task, config: SVM, seed: Sequence[int]) -> tuple[Trial, int]:
    """Divides, chooses C, fits and evaluates; and how many fits did not converge."""
    generator = np.random.default_rng(list(seed))
    train, test = task.divided(generator)
    values, labels = task.table.values[train], task.labels[train]
    grid = sorted(set(config.c))
    scores, stopped = _cross_validated(values, labels, task.groups[train], grid, config.folds, generator)
    best = grid[len(grid) // 2] if not scores else min(grid, key=lambda c: (-scores[c], c))
    machine = _Machine.fitted(values, labels, best)
    predicted, margins = machine.predict(task.table.values[test])
    more: dict[str, Any] = {"c": best}
    if scores:
        more["cross_validation"] = [{"c": c, "accuracy": scores[c]} for c in grid]
    details = {"seed": [str(seed[-1])] * int(test.sum())}
    rows = task.table.without_values().only(test)
    found = Predictions(task.classes, rows, task.labels[test], predicted, 1 / (1 + np.exp(-margins)), details)
    known = tuple(task.classes[number] for number in np.unique(labels))
    return Trial(known, found, train, labels, more), stopped + machine.stopped


def _descend_once(task: Task, config: SVM, seed: Sequence[int]) -> tuple[Trial, int]:
    """As `_fit_once`, by stochastic gradient descent."""
    train, test = task.divided(np.random.default_rng(list(seed)))
    rows, back = rows_of_task(task, train, test, sum(seed))
    choices = machine_choices(rows, config.alpha, sum(seed))
    at = choices.chosen
    more = {"alpha": choices.values[at], **choices.figures("alpha"), "by_alpha": choices.table("alpha")}
    details = {"seed": [str(seed[-1])] * int(test.sum())}
    shown = task.table.without_values().only(test)
    predicted = back[choices.predicted[at]]
    found = Predictions(task.classes, shown, task.labels[test], predicted, choices.scores[at], details)
    known = tuple(task.classes[number] for number in np.unique(task.labels[train]))
    return Trial(known, found, train, task.labels[train], more), choices.stopped


def _chosen(trials: Sequence[Trial]) -> dict[str, Any]:
    """Means over the seeds of what was best, and the values of each alpha; JSON-ready, hence Any."""
    first = trials[0].more
    means = {name: float(np.mean([trial.more[name] for trial in trials])) for name in ("oracle", "validation")}
    if len(trials) == 1:
        return {name: first[name] for name in ("oracle", "oracle_alpha", "validation", "validation_alpha", "by_alpha")}
    names = ("accuracy", "held_out")
    lines = zip(*(trial.more["by_alpha"] for trial in trials), strict=True)
    by_alpha = [
        {"alpha": line[0]["alpha"], **{name: _mean([entry[name] for entry in line]) for name in names}}
        for line in lines
    ]
    return {**means, "by_alpha": by_alpha}


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _cross_validated(
    values: FloatArray,
    labels: IntArray,
    groups: IntArray,
    grid: Sequence[float],
    folds: int,
    generator: np.random.Generator,
) -> tuple[dict[float, float], int]:
    """The accuracy of each C over all rows that were left out once, and how many fits did not converge.

    None where there is nothing to choose, or no fold leaves two classes to learn.
    """
    right, rows, stopped = dict.fromkeys(grid, 0.0), 0, 0
    for fitted, left_out in _folds(labels, groups, folds, generator) if len(grid) > 1 else []:
        rows += int(left_out.sum())
        for c in grid:
            machine = _Machine.fitted(values[fitted], labels[fitted], c)
            predicted, _ = machine.predict(values[left_out])
            right[c] += accuracy_score(labels[left_out], predicted) * int(left_out.sum())
            stopped += machine.stopped
    return ({c: count / rows for c, count in right.items()} if rows else {}), stopped


def _folds(labels: IntArray, groups: IntArray, folds: int, generator: np.random.Generator) -> list[tuple[Mask, Mask]]:
    """Rows [N] to fit and rows left out, whole groups, classes spread evenly; fewer folds where groups are fewer."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(folds, len(np.unique(groups)), int(np.bincount(labels).max()))
    if folds < 2:
        return []
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=int(generator.integers(2**31)))
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer rows than folds
        for fitted, left_out in splitter.split(labels, labels, groups):
            masks = np.zeros((2, len(labels)), bool)
            masks[0, fitted] = masks[1, left_out] = True
            if len(left_out) and len(np.unique(labels[fitted])) > 1:
                found.append((masks[0], masks[1]))
    return found


@dataclass(frozen=True, eq=False)
class _Machine:
    """A fitted machine with the standardization of its rows."""

    scaler: Any  # of scikit-learn, which has no types
    machine: Any
    stopped: bool  # whether it did not converge

    @classmethod
    def fitted(cls, values: FloatArray, labels: IntArray, c: float) -> _Machine:
        """Of rows [N, D] and class numbers [N]."""
        compute_alone_if_forked()
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import LinearSVC

        scaler = StandardScaler().fit(values.astype(np.float64))
        machine = LinearSVC(C=c, dual="auto", max_iter=ITERATIONS, random_state=0)  # 0: of its order, where dual
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            machine.fit(scaler.transform(values.astype(np.float64)), labels)
        return cls(scaler, machine, any(issubclass(each.category, ConvergenceWarning) for each in caught))

    def predict(self, values: FloatArray) -> tuple[IntArray, FloatArray]:
        """Class numbers [N] of rows [N, D], and by how much each lies on its side [N]."""
        margins = self.machine.decision_function(self.scaler.transform(values.astype(np.float64)))
        if margins.ndim == 1:  # two classes: the second is above 0
            margins = np.stack([-margins, margins], axis=1)
        best = margins.argmax(axis=1)
        return self.machine.classes_[best], margins[np.arange(len(margins)), best]
