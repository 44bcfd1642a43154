"""Trainings on what is read from files while they learn: from a manifest to a run, whatever the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypedDict, TypeVar

import torch
from torch import nn

from egotools.config import file_digest, recorded_options
from egotools.loading.files import Files
from egotools.loading.items import Examples
from egotools.loading.kept_files import FILES, files_of, write_files
from egotools.loading.order import Order
from egotools.machine import choose_device, reading_processes
from egotools.manifests.table import read_manifest
from egotools.progress import Progress, no_progress
from egotools.texts import split_name
from egotools.training.curves import Panels, run_picture
from egotools.training.how import How, how_for
from egotools.training.learning import Passes, Trained, order_of
from egotools.training.runs import Run, once, provenance_of, run_recipe
from egotools.training.seeding import seeded
from egotools.training.world import ALONE, World
from egotools.types import Clip

PICTURE = "training.png"
TRAIN, VAL, TEST = "train", "val", "test"

Content = dict[str, Any]  # a report; Any: JSON values
Network = TypeVar("Network", bound=nn.Module)
There = TypeVar("There", bound="Prepared")


class Prepared(Protocol):
    """What a training learns from."""

    @property
    def examples(self) -> Examples:
        """Of the clips to learn from."""

    @property
    def remarks(self) -> Sequence[str]:
        """What is to be said of the clips."""


@dataclass(frozen=True, eq=False)
class Course:
    """How a training goes, whatever it learns: arguments of `egotools.training.learning.learn`."""

    seed: int
    run: Run
    workers: int
    how: How
    world: World
    progress: Progress


@dataclass(frozen=True, eq=False)
class Task(Generic[Network, There]):
    """What is learned.

    Args:
        method: as the run's `config.json` names it, and the command.
        options: of the training.
        prepare: the manifest's clips and their files to examples; raises TrainingError if there are none.
        network: the network before its first step, on a device, drawn by a seed.
        train: trains it.
        write: keeps in the run what was learned; its first process calls it.
        report: the figures of the run, with `remarks`.
        panels: of the picture.
        arguments: further ones that make the same training.
        init: weights to begin with, as the command was told, and the file that they are in.
        caches: that are read beside the files.
        inputs: what each holds, by a name; None: there are none.
        reads_sound: the sound of the files is read, too.
        order: the batches of all epochs, as `order_of`.
        shape: of the report of a run that is done. Any: a type as a value.
    """

    method: str
    options: Passes
    prepare: Callable[[Sequence[Clip], Files], There]
    network: Callable[[There, torch.device, int], Network]
    train: Callable[[Network, There, Course], Trained]
    write: Callable[[Run, Network, There, Trained], None]
    report: Callable[[Run, Network, There, Trained], Content]
    panels: Panels
    arguments: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values
    init: tuple[str, Path] | None = None
    caches: Sequence[Path] = ()
    inputs: Mapping[str, Any] | None = None  # Any: JSON values
    reads_sound: bool = False
    order: Callable[..., Order] = order_of
    shape: Any = Content


class Running(TypedDict, total=False):
    """How and where a training runs: the keywords of `train_task`, which the functions that call it pass on."""

    workers: int | None
    how: How
    seed: int
    device: str
    preset: str | None
    world: World
    progress: Progress


def train_task(
    folder: Path,
    manifest: Path,
    task: Task[Any, Any],  # Any: whatever its network and its clips are
    *,
    workers: int | None = None,
    how: How = How(),  # noqa: B008 - frozen
    seed: int = 0,
    device: str = "auto",
    preset: str | None = None,
    world: World = ALONE,
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Trains a network on the clips of a manifest, kept as a run in `folder`.

    Args:
        folder: of the run.
        manifest: of the clips.
        task: what is learned.
        workers: processes that read; None: as many as the machine has cores for. It changes nothing else.
        how: precision, gradients, logging.
        seed: of the network, the order of examples, and all draws.
        device: where it is trained; of a process among others, that of `world`.
        preset: reported only.
        world: the processes that train together, each of which calls this.
        progress: is told the steps.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is, one that was
        interrupted is resumed.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TrainingError: no clip can be used, or there are too few for a batch.
        WeightsError: the weights to begin with are of another network.
    """
    chosen, clips, options = device_of(device, world), read_manifest(manifest), task.options
    how, told = how_for(how, chosen)
    begun = None if task.init is None else task.init[1]
    arguments = {**task.arguments, **arguments_of(options, how, seed, begun, world)}
    origin: Content = {} if task.init is None else {"init": task.init[0]}
    recipe = run_recipe(task.method, arguments, manifest, task.caches, task.inputs, preset=preset, **origin)
    readers = reading_processes(world.size) if workers is None else workers

    def make(run: Run) -> Content:
        files = files_for(run.path, clips, sound=task.reads_sound, workers=readers, world=world, progress=progress)
        prepared = task.prepare(clips, files)
        order = task.order(len(prepared.examples), options, how, seed=seed, world=world)
        model = task.network(prepared, chosen, seed)
        if world.is_first:
            keep_files(run.path, files)
        with seeded(seed + (world.rank << 32), chosen):  # dropout: each process has its own
            trained = task.train(model, prepared, Course(seed, run, readers, how, world, progress))
        if world.is_first:
            task.write(run, model, prepared, trained)
            run.write(PICTURE, run_picture(run, task.panels, f"train {task.method}"))
        report = {"command": f"train {task.method}", **task.report(run, model, prepared, trained)}
        report["epochs"] = trained.steps * how.accumulate // order.per_epoch
        report |= {"precision_used": how.precision, "remarks": [*report["remarks"], *told]}
        return {**report, **provenance_of(arguments, manifest, task.caches or None)}

    return once(folder, recipe, make, task.shape, world)


def device_of(device: str, world: World) -> torch.device:
    """Where to train; of a process among others, that of its world."""
    return choose_device(world.device if world.size > 1 else device)


def arguments_of(options: object, how: How, seed: int, init: Path | None, world: World = ALONE) -> Content:
    """What makes two trainings the same, beside the manifest. The weights to begin with count by their content."""
    begun = None if init is None else file_digest(init)
    together = {"processes": world.size} if world.size > 1 else {}
    return {**recorded_options(options), **how.identity, "seed": seed, "init": begun, **together}


def of_splits(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip], str]:
    """Those to learn from, those of the split val, and a remark.

    Learned from is the split train, or all clips that are not of val or test. A manifest of val or test alone is a
    small one, to try things out: all of its clips are learned from, and nothing is validated.
    """
    splits = [split_name(clip.split) for clip in clips]
    val = [clip for clip, split in zip(clips, splits, strict=True) if split == VAL]
    if TRAIN in splits:
        return [clip for clip, split in zip(clips, splits, strict=True) if split == TRAIN], val, ""
    others = [clip for clip, split in zip(clips, splits, strict=True) if split not in (VAL, TEST)]
    none = f"no clip has the split {TRAIN!r}"
    if not others:
        return list(clips), [], f"{none}: learned from all of {VAL} and {TEST}"
    out = "" if len(others) == len(clips) else f" that is not of {VAL} or {TEST}"
    return others, val, f"{none}: learned from every clip{out}"


def files_for(
    folder: Path,
    clips: Sequence[Clip],
    *,
    sound: bool = False,
    workers: int,
    world: World = ALONE,
    progress: Progress = no_progress,
) -> Files:
    """The clips' files, perhaps with their sound, looked up by the first process, or as a run's folder has kept them.

    What is found is not written yet: `keep_files` does, once it is clear that there is something to train on.

    Raises:
        TrainingError: a file has changed since the run began.
    """
    kept = folder / FILES
    found = None
    if world.is_first and not kept.exists():
        found = files_of(clips, None, sound=sound, workers=workers, progress=progress)
    found = world.of_first(found)
    return files_of(clips, kept) if found is None else found


def keep_files(folder: Path, files: Files) -> None:
    """Writes what was looked up into a run's folder, unless it is there."""
    if not (folder / FILES).exists():
        write_files(folder / FILES, files)
