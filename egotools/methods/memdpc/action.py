"""Classifiers of clips, trained from videos to a run: the last layers, or all of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import torch

from egotools.config import to_json
from egotools.loading.files import Files
from egotools.loading.spans import SpanExamples
from egotools.methods.from_video import Content, Course, Running, train_task
from egotools.methods.labels import learnable, numbers_of
from egotools.methods.memdpc.clips import CLASSIFYING, VALIDATING, examples_of, labeled_clips_of
from egotools.methods.memdpc.network import Classification
from egotools.methods.memdpc.options import ActionOptions, Training
from egotools.methods.memdpc.run import clips_of_run
from egotools.methods.memdpc.tasks import Prepared, init_file, task_of
from egotools.nn.memdpc import HEADS
from egotools.training.learning import Trained, learn
from egotools.training.optimizers import milestones_of_epochs, optimizer_of
from egotools.training.seeding import seeded
from egotools.training.validation import Validation
from egotools.types import Clip
from egotools.weights.memdpc import load_memdpc, read_memdpc

if TYPE_CHECKING:
    from typing_extensions import Unpack

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
    **running: Unpack[Running],
) -> tuple[Content, bool]:
    """Trains a classifier of a manifest's clips, kept as a run in `folder`.

    Args:
        folder: of the run.
        manifest: of the split `train` if there is one; `val` is validated on.
        options: what is learned, and how.
        label: the manifest's column; its values of the clips to learn from are the classes.
        init: begin with the weights of a checkpoint, of pre-training or of a classifier; last layers are not taken.
        running: how and where, the keywords of `train_task`, which says what is returned.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TrainingError: no such column, fewer than two classes, no clip can be used, or too few for a batch.
        WeightsError: `init` is of another depth.
    """

    def prepare(clips: Sequence[Clip], files: Files) -> Prepared:
        return prepared_clips(clips, files, options, label, str(manifest))

    def network(prepared: Prepared, on: torch.device, seed: int) -> Classification:
        return new_network(options, len(prepared.classes), init, seed, on)

    def trained(model: Classification, prepared: Prepared, course: Course) -> Trained:
        return train_classifier(model, prepared.examples, prepared.val_examples, options, course)

    task = task_of(METHOD, options, prepare, network, trained, PANELS, init, {"label": label})
    return train_task(folder, manifest, task, **running)


def prepared_clips(clips: Sequence[Clip], files: Files, options: ActionOptions, label: str, where: str) -> Prepared:
    """Labeled clips as examples with the numbers of their classes, which are those of all clips to learn from.

    Raises:
        TrainingError: no such column, fewer than two classes, or no clip is left.
    """
    there = learnable(clips, [label], where)
    train, val, remarks = clips_of_run(there.clips, files, options, where)
    remarks += there.remarks_on(train)
    classes = there.classes[label]
    examples = [
        examples_of(each.found, options, augmentation, {"labels": numbers_of(each, classes, label)})
        for each, augmentation in ((train, CLASSIFYING), (val, VALIDATING))
    ]
    kept = {CLASSES: to_json(ClassesShape(label=label, classes=classes)) + "\n"}
    return Prepared(train, val, remarks, examples[0], examples[1] if val.found else None, tuple(classes), kept)


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
        size = options.batch_size
        measured = Validation(val, size, course.world, course.how, finish, course.workers, is_whole=True)
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
