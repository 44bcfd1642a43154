"""Trainings of MemDPC's networks from videos to runs, whatever they learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import torch
from safetensors.torch import save
from torch import nn

from egotools.config import omitted_options, recorded_options
from egotools.extractors.backbone import DEFAULT, View, write_backbone
from egotools.loading.files import Files
from egotools.loading.spans import SpanExamples
from egotools.methods.from_video import Content, Course, Task
from egotools.methods.initial import initial_weights
from egotools.methods.memdpc.options import Sampling, Training
from egotools.methods.usable import Usable
from egotools.training import learned_from
from egotools.training.curves import Panels
from egotools.training.learned_from import LearnedFrom
from egotools.training.learning import Trained
from egotools.training.runs import Run
from egotools.types import Clip
from egotools.weights.run_files import RUN
from egotools.weights.tensors import plain_tensors

NETWORK, BEST = "memdpc.safetensors", "memdpc.best.safetensors"
METHODS = ("memdpc", "action")  # whose runs have a network to begin with

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


def task_of(
    method: str,
    options: Training,
    prepare: Callable[[Sequence[Clip], Files], Prepared],
    network: Callable[[Prepared, torch.device, int], Network],
    train: Callable[[Network, Prepared, Course], Trained],
    panels: Panels,
    init: str | None,
    arguments: Mapping[str, Any] | None = None,  # Any: JSON values
) -> Task[Network, Prepared]:
    """What is learned, whose run keeps a network of MemDPC; arguments as those of `Task`.

    Raises:
        TrainingError, RunError: there are no such weights to begin with.
    """

    def written(run: Run, model: nn.Module, prepared: Prepared, trained: Trained) -> None:
        for name, content in prepared.files.items():
            run.write(name, content)
        write_run(run, model, trained, options, prepared.train.ids)

    def report(run: Run, model: nn.Module, prepared: Prepared, trained: Trained) -> Content:
        found = _report(run, prepared, trained, model)
        return {**found, "remarks": [*found["remarks"], *init_remarks(init, options)]}

    begun = None if init is None else (init, init_file(init))
    return Task(
        method, options, prepare, network, train, written, report, panels, arguments or {}, init=begun, shape=Shown
    )


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


def _report(run: Run, prepared: Prepared, trained: Trained, model: nn.Module) -> Content:
    train, val = prepared.train, prepared.val
    lines = [line for line in run.metrics() if "loss" in line]
    return {
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
