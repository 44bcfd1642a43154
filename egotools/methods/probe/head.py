"""The head of a probe: linear; batch norm, dropout and a linear layer; on rows of length one; or one a label, by SGD.

Axes: N rows, C clips, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from egotools.config import check_positive, option, options_of
from egotools.errors import TableError
from egotools.evaluate.classification import Predictions
from egotools.evaluate.trials import Task
from egotools.processes import compute_alone_if_forked
from egotools.tables.table import Mask, Table, Texts
from egotools.types import FloatArray, IntArray

if TYPE_CHECKING:  # the options are read by the command line, which starts without torch
    from torch import device

    from egotools.linear.softmax import Fit
    from egotools.methods.probe.classifier import Classifier

ROWS = 4096  # scored at a time
Views = Sequence[tuple[Texts, FloatArray]]  # ids [N] and rows [N, D] of further views


Normalize = Literal["none", "vector", "scalar"]
REPLAI = {
    **{"head": "sgd", "seeds": 1, "rows": "random", "normalize": "none", "batch_size": 128, "weight_decay": 0.0},
    **{"epochs": 30, "learning_rate": 0.005, "schedule": (18, 24), "dropout": 0.0},
}  # of RepLAI's verbs and nouns
EGO4D = {
    **{**REPLAI, "dropout": 0.5, "loss": "sum", "batch_size": 32, "weight_decay": 1e-4, "learning_rate": 0.01},
    **{"nesterov": True, "decay": "cosine", "warmup": 1000},
}  # of Ego4D's recognition
SGD = {"head": "normalized", "batch_size": 1024, "weight_decay": 0.0, "seeds": 1}  # of Memory Storyboard's probes


@dataclass(frozen=True)
class Head:
    """Which head, and how one with epochs is trained (the defaults are MemDPC's linear probe)."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "imagenet": {**SGD, "epochs": 10, "learning_rate": 3.0},
        "inaturalist": {**SGD, "epochs": 20, "learning_rate": 12.0},
        "inaturalist-code": {**SGD, "epochs": 20, "learning_rate": 3.0, "cosine_epochs": 10},
        "replai": REPLAI,
        "ego4d": EGO4D,
    }

    head: Literal["linear", "bn-dropout", "normalized", "sgd"] = option(
        "linear",
        "Logistic regression; batch norm, dropout and a linear layer trained by Adam; rows of length one and a"
        " linear layer trained by SGD with LARC; or a linear layer for each of several labels, trained by SGD.",
    )
    rows: Literal["random", "mean"] = option(
        "random", "Of a clip's rows, an epoch has one, drawn at random; or their mean.  [sgd]"
    )
    normalize: Normalize = option(  # noqa: RUF009 - frozen
        "none",
        "Bring each row to length one first; or each number to -1, 0 or 1, as RepLAI's code does by mistake.  [sgd]",
    )
    loss: Literal["mean", "sum"] = option("mean", "Of several labels: the mean of their losses, or the sum.  [sgd]")
    dropout: float = option(0.5, "Share of features that are dropped in training.  [bn-dropout, sgd]")
    epochs: int = option(100, "Epochs; with bn-dropout, one has one row of each clip.  [bn-dropout, normalized, sgd]")
    batch_size: int = option(32, "Clips, or rows, of a batch.  [bn-dropout, normalized, sgd]")
    learning_rate: float = option(1e-3, "At the beginning.  [bn-dropout, normalized, sgd]")
    weight_decay: float = option(1e-3, "Added to the gradient.  [bn-dropout, normalized, sgd]")
    nesterov: bool = option(False, "Nesterov's momentum.  [sgd]")
    decay: Literal["step", "cosine"] = option(
        "step",
        "How the learning rate falls: to a tenth at epochs of --schedule, or in each step, along a cosine to 0.  [sgd]",
    )
    warmup: int = option(0, "Steps in which the learning rate rises from 0.  [--decay cosine]")
    cosine_epochs: int | None = option(
        None, "Epochs in which the learning rate falls to 0 by half a cosine; by default all.  [normalized]"
    )
    schedule: tuple[int, ...] = option(
        (60, 80), "Epochs at which the learning rate drops to a tenth.  [bn-dropout, sgd]"
    )
    true_schedule: bool = option(
        False,
        "Drop at each of them; as published the last has no effect, and a drop comes an epoch late.  [bn-dropout]",
    )

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "learning_rate", "cosine_epochs")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout must be 0 or more and below 1, not {self.dropout}")
        if self.batch_size < 1 or (self.batch_size < 2 and self.head not in ("normalized", "sgd")):
            raise ValueError(f"--batch-size must be 2 or more, as the batch norm compares clips, not {self.batch_size}")
        for name in ("weight_decay", "warmup"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be 0 or above, not {getattr(self, name)}")
        if self.warmup and self.decay == "step":
            raise ValueError("--warmup is for --decay cosine")
        if not all(low < high for low, high in zip((0, *self.schedule), self.schedule, strict=False)):
            raise ValueError(f"--schedule must be rising epochs from 1 on, not {self.schedule}")

    @property
    def is_trained(self) -> bool:
        """Whether it is one that is trained by epochs."""
        return self.head != "linear"

    @property
    def arguments(self) -> dict[str, Any]:
        """For reports and the identity of runs; those of the linear head, as before there was another. JSON values."""
        of_sgd = ("rows", "normalize", "loss", "nesterov", "decay", "warmup")
        own = {
            "normalized": ("dropout", "schedule", "true_schedule", *of_sgd),
            "bn-dropout": ("cosine_epochs", *of_sgd),
            "sgd": ("cosine_epochs", "true_schedule"),
        }
        others = own.get(self.head, tuple(options_of(self)))
        return {name: value for name, value in options_of(self).items() if name not in others}

    def rate_at(self, step: int, per_epoch: int) -> float:
        """What the learning rate of a step, from 0, is multiplied by.  [sgd]"""
        from egotools.training.optimizers import milestones
        from egotools.training.schedules import warmup_cosine

        if self.decay == "cosine":
            return warmup_cosine(step, self.warmup, self.epochs * per_epoch)
        return milestones(step // per_epoch, places=self.schedule)

    def rate(self, epoch: int) -> float:
        """What the learning rate of an epoch, from 0, is multiplied by.  [bn-dropout, normalized]"""
        from egotools.training.optimizers import cosine, milestones_of_epochs

        if self.head == "normalized":
            return cosine(epoch, total=self.cosine_epochs or self.epochs)
        return milestones_of_epochs(epoch, places=self.schedule, is_true=self.true_schedule)


LINEAR = Head()


def views_of(task: Task, views: Sequence[Table]) -> Views:
    """The rows of further views, by clip.

    Raises:
        TableError: they have another width than the task's.
    """
    for view in views:
        if view.values.shape[1] != task.table.values.shape[1]:
            raise TableError(
                f"the rows of {view.parts[0][0] if view.parts else 'a view'} have {view.values.shape[1]} features,"
                f" those of --features {task.table.values.shape[1]}: views are of the same extractors"
            )
    return [(view.ids, view.values) for view in views]


def fit_head(
    task: Task, head: Head, views: Views, train: Mask, device: str | device, generator: np.random.Generator
) -> tuple[Fit, Classifier]:
    """Batch norm, dropout and a linear layer on the train rows [N] and those of the views of their clips."""
    compute_alone_if_forked()
    import torch

    from egotools.linear.bn_dropout import Training, fit_bn_dropout
    from egotools.methods.probe.classifier import Classifier

    ids = task.table.ids[train]
    firsts, numbers = np.unique(ids.astype(str), return_index=True)[1], _numbers(ids, ids)
    rows, owners = [task.table.values[train]], [numbers]
    for view_ids, values in views:
        found = _numbers(view_ids, ids)
        rows.append(values[found >= 0])
        owners.append(found[found >= 0])
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    known, labels = np.unique(task.labels[train][firsts], return_inverse=True)
    how = Training(head.epochs, head.batch_size, head.learning_rate, head.weight_decay, head.dropout, head.rate)
    fit, standardization = fit_bn_dropout(
        torch.from_numpy(np.concatenate(rows)[order]).to(device),
        torch.from_numpy(labels).to(device),
        torch.from_numpy(np.concatenate([[0], np.cumsum(np.bincount(owner))])),
        len(known),
        how,
        torch.Generator().manual_seed(int(generator.integers(2**31))),
    )
    classes = tuple(task.classes[number] for number in known)
    return fit, Classifier(classes, fit.weight, fit.bias, standardization)


def predicted_clips(classifier: Classifier, task: Task, test: Mask) -> Predictions:
    """One prediction for each clip of the rows [N] of a mask."""
    table = task.table.only(test)
    firsts, predicted, scores = predict_clips(classifier, table)
    known = np.searchsorted(np.array(task.classes), np.array(classifier.classes))
    labels = task.labels[test][firsts]
    return Predictions(task.classes, table.without_values().only(firsts), labels, known[predicted], scores)


def predict_clips(classifier: Classifier, table: Table) -> tuple[Mask, IntArray, FloatArray]:
    """The class of each clip by the mean of its rows' probabilities.

    Returns:
        The first row of each clip, as a mask [N]; the classifier's number of the class [C] and its probability [C], in
        the order of these rows.
    """
    found, numbers = np.unique(table.ids.astype(str), return_index=True, return_inverse=True)[1:]
    sums = np.zeros((len(found), len(classifier.classes)))
    for at in range(0, len(table), ROWS):
        rows = slice(at, at + ROWS)
        np.add.at(sums, numbers[rows], classifier.probabilities(table.values[rows]))
    means = (sums / np.bincount(numbers)[:, np.newaxis])[np.argsort(found)]
    firsts = np.zeros(len(table), bool)
    firsts[found] = True
    return firsts, means.argmax(axis=1), means.max(axis=1)


def _numbers(ids: Texts, among: Texts) -> IntArray:
    """The place [N] of each id among the sorted unique ids of others; -1 where it is none."""
    place = {id: number for number, id in enumerate(np.unique(among.astype(str)).tolist())}
    return np.fromiter((place.get(str(id), -1) for id in ids.tolist()), np.int64, len(ids))
