"""Trainings of MemDPC's networks from videos to runs, whatever they learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar

import torch
from safetensors.torch import save
from torch import nn

from egotools.config import file_digest, omitted_options, recorded_options
from egotools.extractors.backbone import DEFAULT, View, write_backbone
from egotools.loading.files import Files
from egotools.loading.spans import SpanExamples
from egotools.machine import choose_device, reading_processes
from egotools.manifests.table import read_manifest
from egotools.methods.initial import initial_weights
from egotools.methods.memdpc.options import Sampling, Training
from egotools.methods.memdpc.training import Trained, order_of
from egotools.progress import Progress, no_progress
from egotools.training import learned_from
from egotools.training.clips import Usable, files_for, keep_files
from egotools.training.curves import Panels, run_picture
from egotools.training.how import How, how_for
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run, once, provenance_of, run_recipe
from egotools.training.seeding import seeded
from egotools.training.world import ALONE, World
from egotools.types import Clip
from egotools.weights.run_files import RUN
from egotools.weights.tensors import plain_tensors

NETWORK, BEST, PICTURE = "memdpc.safetensors", "memdpc.best.safetensors", "training.png"
METHODS = ("memdpc", "action")  # whose runs have a network to begin with

Content = dict[str, Any]  # a report; Any: JSON values
Network = TypeVar("Network", bound=nn.Module)


class Shown(TypedDict):
    """`report.json`, as far as it is shown. Any: JSON values."""

    remarks: list[str]
    clips: int
    val_clips: int
    steps: int
    last: dict[str, Any]
    val: dict[str, Any]
    best: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Clips to learn from and to validate on, the same as examples, and what is to be said of them."""

    train: Usable
    val: Usable
    remarks: Sequence[str]
    examples: SpanExamples
    val_examples: SpanExamples | None
    classes: tuple[str, ...] = ()  # of a classifier, in alphabetical order
    files: Mapping[str, str] = field(default_factory=dict)  # what else the run keeps, by name


@dataclass(frozen=True, eq=False)
class Course:
    """How a training goes, whatever it learns: arguments of `pretrain`."""

    seed: int
    run: Run
    workers: int
    how: How
    world: World
    progress: Progress


@dataclass(frozen=True, eq=False)
class Task(Generic[Network]):
    """What is learned.

    Args:
        method: as the run's `config.json` names it, and the command.
        options: of the training.
        prepare: the manifest's clips and their files to examples; raises TrainingError if there are none.
        network: the network before its first step, on a device.
        train: trains it.
        panels: of the picture.
        arguments: further ones that make the same training.
    """

    method: str
    options: Training
    prepare: Callable[[Sequence[Clip], Files], Prepared]
    network: Callable[[Prepared, torch.device], Network]
    train: Callable[[Network, Prepared, Course], Trained]
    panels: Panels
    arguments: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values


def train_task(
    folder: Path,
    manifest: Path,
    task: Task[Any],  # Any: whatever its network is
    *,
    init: str | None = None,
    workers: int | None = None,
    how: How = How(),  # noqa: B008 - frozen
    seed: int = 0,
    device: str = "auto",
    preset: str | None = None,
    world: World = ALONE,
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Trains a network on the clips of a manifest, kept as a run in `folder`; arguments and result as `train_memdpc`.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TrainingError: no clip can be used, or there are too few for a batch.
        WeightsError: `init` is of another network.
    """
    chosen, clips, options = device_of(device, world), read_manifest(manifest), task.options
    how, told = how_for(how, chosen)
    arguments = {**task.arguments, **arguments_of(options, how, seed, init, world)}
    begun: Content = {} if init is None else {"init": init}
    recipe = run_recipe(task.method, arguments, manifest, preset=preset, **begun)
    readers = reading_processes(world.size) if workers is None else workers

    def make(run: Run) -> Content:
        files = files_for(run.path, clips, workers=readers, world=world, progress=progress)
        prepared = task.prepare(clips, files)
        order = order_of(prepared.examples, options, how, seed=seed, world=world)
        model = task.network(prepared, chosen)
        if world.is_first:
            keep_files(run.path, files)
        with seeded(seed + (world.rank << 32), chosen):  # dropout: each process has its own
            trained = task.train(model, prepared, Course(seed, run, readers, how, world, progress))
        command = f"train {task.method}"
        if world.is_first:
            for name, content in prepared.files.items():
                run.write(name, content)
            write_run(run, model, trained, options, prepared.train.ids)
            run.write(PICTURE, run_picture(run, task.panels, command))
        report = _report(command, run, prepared, trained, model)
        report["epochs"] = trained.steps * how.accumulate // order.per_epoch
        report |= {
            "precision_used": how.precision,
            "remarks": [*report["remarks"], *init_remarks(init, options), *told],
        }
        return {**report, **provenance_of(arguments, manifest)}

    return once(folder, recipe, make, Shown, world)


def device_of(device: str, world: World) -> torch.device:
    """Where to train; of a process among others, that of its world."""
    return choose_device(world.device if world.size > 1 else device)


def arguments_of(options: Sampling, how: How, seed: int, init: str | None, world: World = ALONE) -> Content:
    """What makes two trainings the same, beside the manifest. The weights to begin with count by their content."""
    begun = None if init is None else file_digest(init_file(init))
    together = {"processes": world.size} if world.size > 1 else {}
    return {**recorded_options(options), **how.identity, "seed": seed, "init": begun, **together}


def init_file(init: str) -> Path:
    """The checkpoint that `--init` says: a file, or the network of a run of `train memdpc` or `train action`.

    Raises:
        TrainingError, RunError: as `initial_weights`.
    """
    return initial_weights(init, NETWORK, METHODS)


def init_remarks(init: str | None, options: Sampling) -> list[str]:
    """Where a run to begin with was shown something else than what is to be shown now."""
    if init is None or not init.startswith(RUN):
        return []
    before = {**omitted_options(Sampling), **Run.open(Path(init.removeprefix(RUN))).recipe.identity}
    names = ("size", "blocks", "length", "stride", "interpolation", "modality")
    now = {name: getattr(options, name) for name in names}
    others = [name for name in names if before.get(name, now[name]) != now[name]]
    was, here = (" ".join(f"--{name} {values[name]}" for name in others) for values in (before, now))
    return [f"the run of --init was trained with {was}, and here it is {here}"] if others else []


def write_run(run: Run, model: nn.Module, trained: Trained, options: Sampling, ids: Sequence[str]) -> None:
    """The network after the last step, that of the best epoch, and what extractors need of the former."""
    state = model.state_dict()
    run.write(NETWORK, save(plain_tensors(state)))
    if trained.weights:
        run.write(BEST, save(plain_tensors(trained.weights)))
    kept = {name: value for name, value in state.items() if name.startswith(("backbone.", "agg_f.", "agg_b."))}
    write_backbone(run.path, {DEFAULT: View("memdpc", view_of(options))}, kept)
    learned_from.keep(run, {"": LearnedFrom(tuple(ids))})


def view_of(options: Sampling) -> Content:
    """The options of the extractor that show its network what it was trained on."""
    shown = ("net", "size", "blocks", "length", "stride", "interpolation")
    return {name: value for name, value in recorded_options(options).items() if name in shown}


def _report(command: str, run: Run, prepared: Prepared, trained: Trained, model: nn.Module) -> Content:
    train, val = prepared.train, prepared.val
    lines = [line for line in run.metrics() if "loss" in line]
    return {
        "command": command,
        "clips": len(train.found),
        "val_clips": len(val.found),
        "left_out": {"short": [*train.short, *val.short], "unreadable": {**train.failed, **val.failed}},
        "steps": trained.steps,
        "parameters": sum(each.numel() for each in model.parameters()),
        "last": {name: value for name, value in lines[-1].items() if not name.startswith("val_")},
        "val": trained.last,
        "best": trained.best,
        "best_top1": trained.best.get("top1"),
        "remarks": list(prepared.remarks),
    }
