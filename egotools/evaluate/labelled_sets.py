"""Memory Storyboard's evaluation on labeled sets: nearest neighbors and linear support vector machines.

The reference reports the best accuracy on test over several k, and over several alpha: here the `oracle`. Beside it
stands the accuracy on test of the k, or alpha, that was best on a tenth of train that the others had not learned from:
the `validation` value. Axes: N evaluated rows, M training rows, D features, V values of k or alpha.

Source:
    Yang, Ren, "Memory Storyboard: Leveraging Temporal Segmentation for Streaming Self-Supervised Learning from
    Egocentric Videos", CoLLAs 2025; `evaluate.py` of its code.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from egotools.errors import TableError
from egotools.evaluate.splits import hold_out
from egotools.evaluate.trials import Task
from egotools.machine import usable_cores
from egotools.processes import compute_alone_if_forked
from egotools.tables.table import Mask, Texts
from egotools.texts import split_name, tidy
from egotools.types import FloatArray, IntArray

KS = (1, 3, 5, 10, 20, 50, 100, 150, 200, 250)
ALPHAS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
SHARE = 0.1  # of train, on which k and alpha are chosen
VOTES = 1 << 22  # counted at a time


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to learn from and to evaluate on, and which of the former are held out for the choice; none: no choice."""

    train: FloatArray  # [M, D]
    labels: IntArray  # [M], in the order in which ties are decided
    test: FloatArray  # [N, D]
    truth: IntArray  # [N]
    held: Mask  # [M]


@dataclass(frozen=True, eq=False)
class Choices:
    """What each value of k or alpha gave."""

    values: tuple[float, ...]  # V, ascending
    predicted: IntArray  # [V, N] after learning from all of train
    scores: FloatArray  # [V, N] what speaks for it, 0 to 1
    accuracy: FloatArray  # [V] on test
    validation: FloatArray  # [V] on the held-out rows, after learning from the others; NaN if there are none
    stopped: int = 0  # fits that did not converge

    @property
    def oracle(self) -> int:
        """The value of the best accuracy on test; of equal ones the smallest."""
        return int(self.accuracy.argmax())

    @property
    def chosen(self) -> int:
        """The value of the best accuracy on the held-out rows, of equal ones the smallest; the middle one without."""
        return len(self.values) // 2 if np.isnan(self.validation).any() else int(self.validation.argmax())

    def figures(self, name: str) -> dict[str, Any]:
        """Accuracies and values under their own names; `name` is that of the values, k or alpha. JSON-ready."""
        values = [int(value) if name == "k" else float(value) for value in self.values]
        return {
            "oracle": float(self.accuracy[self.oracle]),
            f"oracle_{name}": values[self.oracle],
            "validation": float(self.accuracy[self.chosen]),
            f"validation_{name}": values[self.chosen],
        }

    def table(self, name: str) -> list[dict[str, Any]]:
        """Each value with its accuracies, JSON-ready."""
        values = [int(value) if name == "k" else float(value) for value in self.values]
        pairs = zip(values, self.accuracy.tolist(), self.validation.tolist(), strict=True)
        return [
            {name: value, "accuracy": test, "held_out": None if np.isnan(held) else held} for value, test, held in pairs
        ]


def labelled_set_figures(
    features: FloatArray,
    labels: Sequence[str] | Texts,
    split: Sequence[str] | Texts,
    *,
    groups: IntArray | None = None,
    ks: Sequence[int] = KS,
    alphas: Sequence[float] = ALPHAS,
    seed: int = 0,
) -> dict[str, Any]:
    """`knn_oracle`, `knn_oracle_k`, `knn_validation`, `knn_validation_k`; the same of `svm` with `alpha`; JSON-ready.

    Args:
        features: [M + N, D], not normalized.
        labels: of the rows.
        split: of the rows: `train` is learned from, `test` is evaluated, or `val` if there is no test.
        groups: numbers of the rows; those of one number are held out together. None: each row by itself.
        ks: of the nearest neighbors; those above the number of training rows are left out. None: no such figures.
        alphas: of the machines. None: no such figures.
        seed: of what is held out, and of the machines.

    Raises:
        TableError: no row to learn from or to evaluate, or features that are not finite.
    """
    sides = np.array([split_name(str(each)) for each in split], dtype=object)
    train, test = sides == "train", sides == ("test" if (sides == "test").any() else "val")
    for found, name in ((train, "train"), (test, "test or val")):
        if not found.any():
            raise TableError(f"no row of the labeled set has the split {name}")
    if not np.isfinite(features).all():
        raise TableError(f"{int((~np.isfinite(features)).any(axis=1).sum())} rows of features are not finite")
    names = np.array([tidy(str(each)) for each in labels], dtype=object)
    order = {name: number for number, name in enumerate(ordered(np.unique(names.astype(str)).tolist()))}
    numbers = np.array([order[name] for name in names], np.int64)
    rows = rows_of(features, numbers, train, test, np.arange(len(names)) if groups is None else groups, seed)
    found = {}
    if ks:
        found |= {f"knn_{name}": value for name, value in neighbor_choices(rows, ks).figures("k").items()}
    if alphas:
        found |= {f"svm_{name}": value for name, value in machine_choices(rows, alphas, seed).figures("alpha").items()}
    return found


def ordered(classes: Sequence[str]) -> list[str]:
    """Classes as the reference numbers them: whole numbers by value, names by the alphabet."""
    is_number = all(name.removeprefix("-").isdecimal() for name in classes)
    return sorted(classes, key=int) if is_number else sorted(classes)


def rows_of(features: FloatArray, numbers: IntArray, train: Mask, test: Mask, groups: IntArray, seed: int) -> Rows:
    """The rows of two masks, a tenth of the training rows of each class held out, groups kept whole."""
    generator = np.random.default_rng([seed, 1])
    labels = np.unique(numbers[train], return_inverse=True)[1]  # without gaps, as the hold-out needs them
    held = hold_out(labels, groups[train], share=SHARE, generator=generator)
    return Rows(features[train], numbers[train], features[test], numbers[test], held)


def rows_of_task(task: Task, train: Mask, test: Mask, seed: int) -> tuple[Rows, IntArray]:
    """As `rows_of`; and the task's number of each class, by the number that the rows have for it."""
    number = {name: at for at, name in enumerate(task.classes)}
    back = np.array([number[name] for name in ordered(task.classes)], np.int64)
    return rows_of(task.table.values, back.argsort()[task.labels], train, test, task.groups, seed), back


def neighbor_choices(rows: Rows, ks: Sequence[int]) -> Choices:
    """Votes of the k nearest by Euclidean distance, one vote each; of equal numbers of votes the lower class.

    One search serves all k. As scikit-learn's KNeighborsClassifier.

    Raises:
        TableError: every k is above the number of training rows.
    """
    values = tuple(sorted({k for k in ks if k <= len(rows.train)}))
    if not values:
        raise TableError(f"{len(rows.train)} training rows are fewer than --k {min(ks)}")
    predicted, scores = _votes(rows.train, rows.labels, rows.test, values)
    validation = np.full(len(values), np.nan)
    if rows.held.any():
        guessed, _ = _votes(rows.train[~rows.held], rows.labels[~rows.held], rows.train[rows.held], values)
        validation = (guessed == rows.labels[rows.held]).mean(axis=1)
    return Choices(values, predicted, scores, (predicted == rows.truth).mean(axis=1), validation)


def _votes(train: FloatArray, labels: IntArray, test: FloatArray, ks: Sequence[int]) -> tuple[IntArray, FloatArray]:
    """Classes [V, N] for each k, and their shares of the votes; a k beyond the rows counts all of them."""
    compute_alone_if_forked()
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(max(ks), len(train))).fit(train)
    neighbors = labels[search.kneighbors(test, return_distance=False)]
    classes, step = int(labels.max()) + 1, max(1, VOTES // (int(labels.max()) + 1))
    predicted, scores = np.empty((len(ks), len(test)), np.int64), np.empty((len(ks), len(test)))
    for at in range(0, len(test), step):
        some = neighbors[at : at + step]
        counts = np.zeros((len(some), classes), np.int64)
        done = 0
        for number, k in enumerate(ks):
            cells = np.arange(len(some))[:, None] * classes + some[:, done:k]
            counts += np.bincount(cells.ravel(), minlength=counts.size).reshape(counts.shape)
            predicted[number, at : at + step] = counts.argmax(axis=1)  # the first of equal ones
            scores[number, at : at + step] = counts.max(axis=1) / counts.sum(axis=1)
            done = k
    return predicted, scores


def machine_choices(rows: Rows, alphas: Sequence[float], seed: int) -> Choices:
    """scikit-learn's SGDClassifier, its defaults but for alpha: hinge loss, L2, one against the rest.

    Raises:
        TableError: all training rows are of one class.
    """
    if len(np.unique(rows.labels)) < 2:
        raise TableError("all training rows are of one class")
    values = tuple(sorted(set(alphas)))
    whole = _machines(rows.train, rows.labels, rows.test, values, seed)
    validation, stopped = np.full(len(values), np.nan), whole[2]
    rest = ~rows.held
    if rows.held.any() and len(np.unique(rows.labels[rest])) > 1:
        guessed, _, more = _machines(rows.train[rest], rows.labels[rest], rows.train[rows.held], values, seed)
        validation, stopped = (guessed == rows.labels[rows.held]).mean(axis=1), stopped + more
    return Choices(values, whole[0], whole[1], (whole[0] == rows.truth).mean(axis=1), validation, stopped)


def _machines(
    train: FloatArray, labels: IntArray, test: FloatArray, alphas: Sequence[float], seed: int
) -> tuple[IntArray, FloatArray, int]:
    """Classes [V, N] for each alpha, sigmoids of their margins, and how many fits did not converge."""
    compute_alone_if_forked()
    from scipy.special import expit
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import SGDClassifier

    random = np.random.RandomState(seed)  # one for all, as the reference draws from NumPy's own
    predicted, scores, stopped = [], [], 0
    for alpha in alphas:
        machine: Any = SGDClassifier(alpha=alpha, random_state=random, n_jobs=usable_cores())  # Any: it has no types
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            machine.fit(train, labels)
        stopped += any(issubclass(each.category, ConvergenceWarning) for each in caught)
        margins = machine.decision_function(test)
        if margins.ndim == 1:  # two classes: the second is above 0
            margins = np.stack([-margins, margins], axis=1)
        best = margins.argmax(axis=1)
        predicted.append(machine.classes_[best])
        scores.append(expit(margins[np.arange(len(best)), best]))
    return np.stack(predicted), np.stack(scores), stopped
