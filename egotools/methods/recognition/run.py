"""Recognition by R(2+1)D, trained from videos to a run: the last layers, or all of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from egotools.config import to_json
from egotools.errors import TrainingError
from egotools.extractors.backbone import DEFAULT, View, write_backbone
from egotools.loading.files import Files
from egotools.loading.loader import loader
from egotools.loading.order import Order
from egotools.loading.spans import Spans
from egotools.methods.from_video import Content, Course, Running, Task, train_task
from egotools.methods.initial import initial_weights
from egotools.methods.labels import learnable, numbers_of
from egotools.methods.recognition.clips import WindowExamples, labeled_clips_of
from egotools.methods.recognition.network import BACKBONE, Recognition
from egotools.methods.recognition.options import RecognitionOptions, Watching
from egotools.methods.usable import Usable, found_clips
from egotools.training import learned_from
from egotools.training.fit import autocast
from egotools.training.learned_from import LearnedFrom
from egotools.training.learning import Figures, Trained, learn
from egotools.training.optimizers import milestones_of_epochs, optimizer_of
from egotools.training.precise_bn import recompute_statistics
from egotools.training.runs import Run
from egotools.training.schedules import warmup_cosine, warmup_remarks
from egotools.training.seeding import seeded
from egotools.training.validation import Validation
from egotools.types import Clip
from egotools.weights.replai import load_video, read_replai
from egotools.weights.run_files import BACKBONE as BACKBONE_FILE
from egotools.weights.tensors import plain_tensors

if TYPE_CHECKING:
    from typing_extensions import Unpack

METHOD = "action"
METHODS = ("replai", METHOD)  # whose runs have a network to begin with
NETWORK, BEST, CLASSES = "recognition.safetensors", "recognition.best.safetensors", "classes.json"
ANY = Spans(1, 1, "pad")  # a clip of one frame is enough
PRECISE = 1 << 16  # added to the seed of the batches that statistics are computed from


class ClassesShape(TypedDict):
    """`classes.json`: by label, the classes in the order of their numbers, and how many clips each was learned from."""

    labels: dict[str, list[str]]
    clips: dict[str, list[int]]


class Shown(TypedDict):
    """`report.json`, as far as it is shown. Any: JSON values."""

    remarks: list[str]
    clips: int
    val_clips: int
    steps: int
    labels: list[str]
    last: dict[str, Any]
    val: dict[str, Any]
    best: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Clips to learn from and to validate on, the same as examples, and what is to be said of them."""

    train: Usable
    val: Usable
    remarks: Sequence[str]
    examples: WindowExamples
    val_examples: WindowExamples
    classes: Mapping[str, list[str]]  # by label

    @property
    def counts(self) -> dict[str, int]:
        """How many classes each label has."""
        return {label: len(names) for label, names in self.classes.items()}


def train_recognition(
    folder: Path,
    manifest: Path,
    options: RecognitionOptions,
    *,
    labels: Sequence[str],
    init: str | None = None,
    **running: Unpack[Running],
) -> tuple[Content, bool]:
    """Trains a network to tell the classes of a manifest's clips, kept as a run in `folder`.

    Args:
        folder: of the run.
        manifest: of the split `train` if there is one; `val` is validated on.
        options: what is learned, and how.
        labels: columns of the manifest; their values of the clips to learn from are the classes. The epoch that is
            best at the last one is kept.
        init: begin with the video network of a checkpoint of RepLAI or AVID, or of `run:DIR`; last layers are new.
        running: how and where, the keywords of `train_task`, which says what is returned.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TrainingError: no such column, fewer than two classes, no clip can be used, or too few for a batch.
        WeightsError: `init` has no such network, or one of another depth.
    """
    if repeated := {label for label in labels if list(labels).count(label) > 1}:
        raise TrainingError(f"--label {min(repeated)} is given twice")

    begun = None if init is None else (init, initial_weights(init, BACKBONE_FILE, METHODS))

    def prepare(clips: Sequence[Clip], files: Files) -> Prepared:
        return prepared_clips(clips, files, options, labels, str(manifest))

    def network(prepared: Prepared, on: torch.device, seed: int) -> Recognition:
        return new_network(options, prepared.counts, None if begun is None else begun[1], seed).to(on)

    def train(model: Recognition, prepared: Prepared, course: Course) -> Trained:
        return train_network(model, prepared.examples, prepared.val_examples, options, course)

    def write(run: Run, model: Recognition, prepared: Prepared, trained: Trained) -> None:
        write_run(run, model, prepared, trained, options)

    def report(run: Run, model: Recognition, prepared: Prepared, trained: Trained) -> Content:
        found = _report(run, model, prepared, trained)
        return {**found, "remarks": [*found["remarks"], *warmup_remarks(options.warmup, trained.steps)]}

    arguments = {"labels": list(labels)}
    task = Task(
        METHOD, options, prepare, network, train, write, report, panels_of(labels), arguments, begun, shape=Shown
    )
    return train_task(folder, manifest, task, **running)


def panels_of(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What the picture of a run shows."""
    names = [f"top1_{label}" for label in labels] if len(labels) > 1 else ["top1", "top5"]
    return {
        "loss": ("loss", "val_loss"),
        "share of clips that are right": tuple(f"{of}{name}" for name in names for of in ("", "val_")),
    }


def prepared_clips(
    clips: Sequence[Clip], files: Files, options: Watching, labels: Sequence[str], where: str
) -> Prepared:
    """Labeled clips as examples with the numbers of their classes, which are those of all clips to learn from.

    Raises:
        TrainingError: no such column, fewer than two classes, or no clip is left.
    """
    there = learnable(clips, labels, where)
    train, val, remarks = found_clips(there.clips, files, ANY)
    if not train.found:
        raise TrainingError(f"{where}: no clip is left to learn from: {'; '.join(remarks)}")
    remarks += there.remarks_on(train)
    learned = WindowExamples(train.found, options, _numbers(train, there.classes))
    held = WindowExamples(val.found, options, _numbers(val, there.classes), is_learned=False)
    return Prepared(train, val, remarks, learned, held, there.classes)


def new_network(options: RecognitionOptions, classes: Mapping[str, int], init: Path | None, seed: int) -> Recognition:
    """The network before its first step; its last layers are drawn by the seed, the others, too, without `init`.

    Raises:
        WeightsError: `init` has no video network, or one of another depth.
    """
    with seeded(seed):
        model = Recognition(options, classes)
    if init is not None:
        load_video(model.backbone, read_replai(init))
    return model


def train_network(
    model: Recognition, train: WindowExamples, val: WindowExamples, options: RecognitionOptions, course: Course
) -> Trained:
    """Trains a network, changed in place; without clips of `val` there is no best epoch. Raises as `learn`."""
    finish = partial(labeled_clips_of, watching=options, device=next(model.parameters()).device)
    validation = None
    if len(val):
        size = options.batch_size
        validation = Validation(val, size, course.world, course.how, finish, course.workers, is_whole=True)
    precise = partial(_make_precise, train=train, options=options, course=course)

    def measured(network: Recognition) -> Figures:
        precise(network)
        assert validation is not None
        return validation(network)

    trained = learn(
        model,
        train,
        None if validation is None else measured,
        options,
        optimizer_for(model, options),
        finish=finish,
        rate=partial(rate_at, options=options),
        validate_every=options.validate_every,
        **vars(course),
    )
    if validation is None:
        precise(model)
    return trained


def optimizer_for(model: Recognition, options: RecognitionOptions) -> torch.optim.Optimizer:
    """SGD of what learns; parameters whose name has "bn" may be without weight decay, as in Ego4D's code."""
    learning = {name: value for name, value in model.named_parameters() if value.requires_grad}
    spared = [] if options.bn_decay else [name for name in learning if "bn" in name]
    groups: list[dict[str, Any]] = [{"params": [value for name, value in learning.items() if name not in spared]}]
    if spared:
        groups.append({"params": [learning[name] for name in spared], "weight_decay": 0.0})
    fixed = {"lr": options.learning_rate, "momentum": 0.9, "weight_decay": options.weight_decay}
    return optimizer_of(model, "sgd", groups=groups, nesterov=options.nesterov, **fixed)


def rate_at(step: int, *, options: RecognitionOptions, epoch: float) -> float:
    """The factor of the learning rate in a step; epochs of so many steps."""
    if options.decay == "step":
        return milestones_of_epochs(int(step / epoch), places=options.schedule, is_true=True)
    return warmup_cosine(step, options.warmup, options.steps or round(options.epochs * epoch))


def write_run(run: Run, model: Recognition, prepared: Prepared, trained: Trained, options: RecognitionOptions) -> None:
    """The classes, the network after the last step, that of the best epoch, and what extractors need of the former."""
    state = model.state_dict()
    columns = prepared.examples.labels.T
    clips = {
        label: np.bincount(column, minlength=len(names)).tolist()
        for column, (label, names) in zip(columns, prepared.classes.items(), strict=True)
    }
    run.write(CLASSES, to_json(ClassesShape(labels=dict(prepared.classes), clips=clips)) + "\n")
    run.write(NETWORK, save(plain_tensors(state)))
    if trained.weights:
        run.write(BEST, save(plain_tensors(trained.weights)))
    kept = {name.removeprefix(BACKBONE): value for name, value in state.items() if name.startswith(BACKBONE)}
    write_backbone(run.path, {DEFAULT: View("avid-video", view_of(options))}, kept)
    learned_from.keep(run, {"": LearnedFrom(tuple(prepared.train.ids))})


def view_of(options: Watching) -> Content:
    """The options of the extractor that show its network what it was trained on."""
    is_plain = options.eval_interpolation == "bilinear" and options.resizing == "plain"
    return {
        "frames": options.frames,
        "duration": options.video_duration,
        "size": options.size,
        "pool": options.pool,
        "interpolation": "bilinear-aliased" if is_plain else options.eval_interpolation,
        "normalize": options.statistics,
    }


def _make_precise(model: Recognition, *, train: WindowExamples, options: RecognitionOptions, course: Course) -> None:
    """Computes the statistics of batch norm anew, if that is asked for; from the same batches each time."""
    if not options.precise_bn:
        return
    device = next(model.parameters()).device
    seed = course.seed + PRECISE
    order = Order(len(train), options.batch_size, seed=seed, rank=course.world.rank, size=course.world.size)
    finish = partial(labeled_clips_of, watching=options, device=device)
    read = loader(train, order, seed=seed, workers=course.workers, device=device, finish=finish)

    def clips() -> Iterator[Tensor]:
        for number, batch in enumerate(read(0)):
            if number == options.precise_bn:
                return
            yield batch["clips"]

    with autocast(course.how, device):
        recompute_statistics(model.backbone, clips(), course.world)


def _numbers(clips: Usable, classes: Mapping[str, list[str]]) -> Any:  # Any: int64 [clips, heads]
    return np.stack([numbers_of(clips, names, label) for label, names in classes.items()], axis=1)


def _report(run: Run, model: Recognition, prepared: Prepared, trained: Trained) -> Content:
    train, val = prepared.train, prepared.val
    lines = [line for line in run.metrics() if "loss" in line]
    return {
        "labels": list(prepared.classes),
        "classes": prepared.counts,
        "clips": len(train.found),
        "val_clips": len(val.found),
        "left_out": {"unreadable": {**train.failed, **val.failed}},
        "steps": trained.steps,
        "parameters": sum(each.numel() for each in model.parameters()),
        "learning": sum(each.numel() for each in model.parameters() if each.requires_grad),
        "last": {name: value for name, value in lines[-1].items() if not name.startswith("val_")},
        "val": trained.last,
        "best": trained.best,
        "best_top1": trained.best.get("top1"),
        "remarks": list(prepared.remarks),
    }
