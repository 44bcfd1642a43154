"""`egotools train action` and `egotools eval action`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from egotools.methods.memdpc.options import ActionOptions
from egotools.training.how import How

from .. import display, options
from ..configuration import MethodCommand
from ..log import output
from ..progress import Progress
from .memdpc import init, workers


@click.command("action", cls=MethodCommand)
@options.manifest
@options.label
@init
@options.from_fields(ActionOptions)
@options.from_fields(How, "how")
@workers
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: ActionOptions,
    manifest: Path,
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: label, init, how, workers, seed, device, preset
) -> None:
    """A classifier of clips on top of MemDPC's networks, from videos: the last layers only, or all with --finetune.

    Learned from is the split 'train' if the manifest has it, or else every clip that is not of 'val' or 'test'; the
    split 'val' is validated on. Its last layers are new; without --init, or with one that has no such layers, so is
    the rest.

    \b
    egotools train action --init run:runs/memdpc --finetune --manifest u.csv --label label --out runs/ft
    torchrun --nproc-per-node 2 -m egotools train action --preset reference --init k400-rgb-224_resnet34_memdpc.pth.tar
    --manifest u.csv --label label --out runs/ucf
    """
    from egotools.methods.memdpc.action import train_action
    from egotools.training.world import joined

    with joined(os.environ, asked["device"]) as world:
        if not world.is_first:
            output().quiet = True
        with Progress("steps", "reading") as progress:
            content, is_new = train_action(out, manifest, config, world=world, progress=progress, **asked)
    if world.is_first:
        display.say_done(out, is_new)
        show(content, out, as_json=as_json)


def show(content: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    """The report as JSON, or as a table of its figures."""
    if not display.show_report(content, f"report, metrics, picture and weights are in {folder}", as_json=as_json):
        return
    titles = {"last": "last batches", "val": "val, last", "best": "val, best"}
    shown = {titles[name]: content[name] for name in titles if content[name]}
    rows = [[name, *(each.get(name, "") for each in shown.values())] for name in ("loss", "top1", "top5", "epoch")]
    title = f"train action: {content['clips']} clips, {content['steps']} steps, validated on {content['val_clips']}"
    display.show_table(["", *shown], rows, title=title)
