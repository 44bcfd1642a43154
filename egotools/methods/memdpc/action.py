"""Classifiers of clips, trained from videos to a run: the last layers, or all of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch

from egotools.config import to_json
from egotools.errors import EgotoolsError, TrainingError
from egotools.evaluate.classification import class_remark
from egotools.loading.files import Files
from egotools.loading.spans import SpanExamples
from egotools.methods.from_video import Content, Course, of_splits, train_task
from egotools.methods.memdpc.clips import (
    CLASSIFYING,
    NAMED,
    VALIDATING,
    Usable,
    examples_of,
    labeled_clips_of,
)
from egotools.methods.memdpc.network import Classification
from egotools.methods.memdpc.options import ActionOptions, Training
from egotools.methods.memdpc.run import found_clips
from egotools.methods.memdpc.tasks import Prepared, init_file, task_of
from egotools.methods.memdpc.training import Validation
from egotools.nn.memdpc import HEADS
from egotools.progress import Progress, no_progress
from egotools.texts import counted, named, tidy
from egotools.training.how import How
from egotools.training.learning import Trained, learn
from egotools.training.optimizers import milestones_of_epochs, optimizer_of
from egotools.training.seeding import seeded
from egotools.training.world import ALONE, World
from egotools.types import Clip
from egotools.weights.memdpc import load_memdpc, read_memdpc

METHOD = "action"
CLASSES = "classes.json"
PANELS = {
    "loss": ("loss", "val_loss"),
    "share of clips that are right": ("top1", "val_top1", "top5", "val_top5"),
}


class ClassesShape(TypedDict):
    """`classes.json`."""

    label: str
    classes: list[str]


def train_action(
    folder: Path,
    manifest: Path,
    options: ActionOptions,
    *,
    label: str,
    init: str | None = None,
    workers: int | None = None,
    how: How = How(),  # noqa: B008 - frozen
    seed: int = 0,
    device: str = "auto",
    preset: str | None = None,
    world: World = ALONE,
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Trains a classifier of a manifest's clips, kept as a run in `folder`; see `train_memdpc`.

    Args:
        folder: of the run.
        manifest: of the split `train` if there is one; `val` is validated on.
        options: what is learned, and how.
        label: the manifest's column; its values of the clips to learn from are the classes.
        init: begin with the weights of a checkpoint, of pre-training or of a classifier; last layers are not taken.
        workers: see `train_memdpc`, as for the others.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TrainingError: no such column, fewer than two classes, no clip can be used, or too few for a batch.
        WeightsError: `init` is of another depth.
    """

    def prepare(clips: Sequence[Clip], files: Files) -> Prepared:
        return prepared_clips(clips, files, options, label, str(manifest))

    def network(prepared: Prepared, on: torch.device) -> Classification:
        return new_network(options, len(prepared.classes), init, seed, on)

    def trained(model: Classification, prepared: Prepared, course: Course) -> Trained:
        return train_classifier(model, prepared.examples, prepared.val_examples, options, course)

    task = task_of(METHOD, options, prepare, network, trained, PANELS, init, {"label": label})
    return train_task(
        folder,
        manifest,
        task,
        workers=workers,
        how=how,
        seed=seed,
        device=device,
        preset=preset,
        world=world,
        progress=progress,
    )


def prepared_clips(clips: Sequence[Clip], files: Files, options: ActionOptions, label: str, where: str) -> Prepared:
    """Labeled clips as examples with the numbers of their classes, which are those of all clips to learn from.

    Raises:
        TrainingError: no such column, fewer than two classes, or no clip is left.
    """
    there = labeled(clips, label, where)
    learned, held, _ = of_splits(there)
    classes = sorted({label_of(clip, label) for clip in learned})
    if len(classes) < 2:
        has = f"is {classes[0]!r} for" if classes else "has no label of"
        raise TrainingError(f"{where}: the column {label!r} {has} all clips to learn from: nothing to tell apart")
    known = set(classes)
    strange = [clip for clip in held if label_of(clip, label) not in known]
    out = {clip.id for clip in strange}
    train, val, remarks = found_clips([clip for clip in there if clip.id not in out], files, options, where)
    remarks += _class_remarks(clips, there, label, strange, known - _labels(train, label))
    examples = [
        examples_of(each.found, options, augmentation, {"labels": numbers_of(each, classes, label)})
        for each, augmentation in ((train, CLASSIFYING), (val, VALIDATING))
    ]
    kept = {CLASSES: to_json(ClassesShape(label=label, classes=classes)) + "\n"}
    return Prepared(train, val, remarks, examples[0], examples[1] if val.found else None, tuple(classes), kept)


def labeled(clips: Sequence[Clip], label: str, where: str, error: type[EgotoolsError] = TrainingError) -> list[Clip]:
    """The clips whose label in a column is not empty.

    Raises:
        EgotoolsError: the manifest has no such column, or no clip a label there; `error` is its kind.
    """
    if not any(label in clip.labels for clip in clips):
        columns = ", ".join(sorted({name for clip in clips for name in clip.labels})) or "none"
        raise error(f"{where}: no column {label!r}; its label columns are: {columns}")
    found = [clip for clip in clips if label_of(clip, label)]
    if not found:
        raise error(f"{where}: no clip has a label in the column {label!r}")
    return found


def label_of(clip: Clip, label: str) -> str:
    """A clip's label in a column, tidy; empty without."""
    return tidy(clip.labels.get(label, ""))


def numbers_of(clips: Usable, classes: Sequence[str], label: str) -> npt.NDArray[np.int64]:
    """The number of each clip's class, [clips]."""
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[label_of(each.clip, label)] for each in clips.found], np.int64)


def new_network(
    options: ActionOptions, classes: int, init: str | None, seed: int, device: torch.device
) -> Classification:
    """The network before its first step; its last layers are drawn by the seed, the others, too, without `init`."""
    with seeded(seed):
        model = Classification(options.depth, classes=classes, dropout=options.dropped, is_frozen=not options.finetune)
    if init is not None:
        read = read_memdpc(init_file(init))
        kept = {name: value for name, value in read.tensors.items() if not name.startswith(HEADS)}
        load_memdpc(model, replace(read, tensors=kept, classes=None))
    return model.to(device)


def train_classifier(
    model: Classification, train: SpanExamples, val: SpanExamples | None, options: ActionOptions, course: Course
) -> Trained:
    """Trains a classifier, changed in place; examples have `labels`. Raises as `pretrain`."""
    finish = partial(labeled_clips_of, sampling=options, device=next(model.parameters()).device)
    measured = None
    if val is not None:
        held = Validation(val, options, course.world, course.how, finish, course.workers, is_whole=True)
        measured = held.means
    optimizer = optimizer_for(model, options)
    every = options.validate_every
    rate = partial(rate_at, options=options)
    return learn(
        model, train, measured, options, optimizer, finish=finish, rate=rate, validate_every=every, **vars(course)
    )


def optimizer_for(model: Classification, options: ActionOptions) -> torch.optim.Optimizer:
    """Adam of what learns; with a rate of its own for what is below the last layers, if that is asked for."""
    fixed = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
    learning = {name: value for name, value in model.named_parameters() if value.requires_grad}
    if options.backbone_lr_mult == 1:
        return optimizer_of(model, "adam", groups=[{"params": [*learning.values()]}], **fixed)
    heads = [value for name, value in learning.items() if name.startswith(HEADS)]
    below = [value for name, value in learning.items() if not name.startswith(HEADS)]
    slower = {"params": below, "lr": options.learning_rate * options.backbone_lr_mult}
    return optimizer_of(model, "adam", groups=[{"params": heads}, slower], **fixed)


def rate_at(step: int, *, options: Training, epoch: float) -> float:
    """The factor of the learning rate in a step, the same in a whole epoch of so many steps."""
    return milestones_of_epochs(int(step / epoch), places=options.schedule, is_true=options.true_schedule)


def _labels(clips: Usable, label: str) -> set[str]:
    return {label_of(each.clip, label) for each in clips.found}


def _class_remarks(
    clips: Sequence[Clip], there: Sequence[Clip], label: str, strange: Sequence[Clip], empty: set[str]
) -> list[str]:
    """On clips without a label, clips of val whose class is not learned, and classes that no clip is left of."""
    has = {clip.id for clip in there}
    said = [
        ([clip.id for clip in clips if clip.id not in has], f"with an empty {label!r} left out"),
        ([clip.id for clip in strange], "of the split val left out, of classes that are not learned"),
    ]
    found = [f"{counted(len(ids), 'clip')} {why}: {named(ids, NAMED)}" for ids, why in said if ids]
    return [*found, *([class_remark(sorted(empty), "without a clip that could be learned from")] if empty else [])]
