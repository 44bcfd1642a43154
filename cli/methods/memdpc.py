"""`egotools train memdpc`."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from egotools.methods.memdpc.options import MemDPCOptions
from egotools.texts import counted
from egotools.training.how import How

from .. import display, options
from ..configuration import MethodCommand
from ..log import output
from ..progress import Progress

init = click.option("--init", help="Begin with these weights: a checkpoint (.pth.tar, .safetensors, ...), or run:DIR.")
workers = click.option(
    "--workers", type=click.IntRange(0), help="Reading processes; by default what suits the machine. 0: none."
)


@click.command("memdpc", cls=MethodCommand)
@options.manifest
@init
@options.from_fields(MemDPCOptions)
@options.from_fields(How, "how")
@workers
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: MemDPCOptions,
    manifest: Path,
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: init, how, workers, seed, device, preset
) -> None:
    """MemDPC: predicts a clip's last blocks from its first ones, and the other way round, without labels.

    Learned from is the split 'train' if the manifest has it, or else every clip; the split 'val' is validated on.
    Videos and folders of frames are read as they are. 'egotools extract ... run:DIR' extracts features of the run.
    Under torchrun several processes train together, each with --batch-size clips a step.

    \b
    egotools train memdpc --manifest m.csv --size 64 --blocks 5 --predict 2 --batch-size 6 --steps 400 --out runs/m
    torchrun --nproc-per-node 2 -m egotools train memdpc --preset reference --manifest u.csv --out runs/ucf
    """
    from egotools.methods.memdpc.run import train_memdpc

    train_together(train_memdpc, show, out, manifest, config, as_json=as_json, **asked)


def train_together(
    method: Callable[..., tuple[Mapping[str, Any], bool]],
    show_report: Callable[..., None],
    out: Path,
    manifest: Path,
    config: object,
    *,
    as_json: bool,
    **asked: Any,  # Any: keywords of the method
) -> None:
    """Trains, under torchrun with the other processes, and shows the report, which the first of them says alone."""
    from egotools.training.world import joined

    with joined(os.environ, asked["device"]) as world:
        if not world.is_first:
            output().quiet = True
        try:
            with Progress("steps", "reading") as progress:
                content, is_new = method(out, manifest, config, world=world, progress=progress, **asked)
        except KeyboardInterrupt:
            if (out / "checkpoint.pt").exists():
                display.note("rerun the command to resume from the last checkpoint")
            raise
    if world.is_first:
        display.say_done(out, is_new)
        show_report(content, out, as_json=as_json)


def show(content: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    """The report as JSON, or as a table of its figures."""
    kept = f"report, metrics, picture and weights are in {folder}"
    if not display.show_report(content, kept, as_json=as_json):
        return
    shown = {name: content[name] for name in ("last", "val", "best") if content[name]}
    titles = {"last": "last batches", "val": "val, last", "best": "val, best"}
    rows = [
        [label, *(_figure(each, names) for each in shown.values())]
        for label, names in {
            "loss": ("loss",),
            "of position alone": ("position_plateau",),
            **{name: (f"{name}_forward", f"{name}_backward") for name in ("top1", "top3", "top5", "clip")},
            "step": ("step",),
            "epoch": ("epoch",),
        }.items()
    ]
    rows = [row for row in rows if any(cell != "" for cell in row[1:])]
    display.show_table(["", *(titles[name] for name in shown)], rows, title=titled("memdpc", content))


def titled(method: str, content: Mapping[str, Any]) -> str:
    """What a run was trained and validated on, above its figures."""
    did = f"{counted(content['clips'], 'clip')}, {counted(content['steps'], 'step')}"
    return f"train {method}: {did}, validated on {content['val_clips'] or 'none'}"


def _figure(figures: Mapping[str, Any], names: tuple[str, ...]) -> object:
    """The mean of some figures, nothing where there is none. Any: numbers."""
    values = [figures[name] for name in names if figures.get(name) is not None]
    return sum(values) / len(values) if values else ""
