"""`egotools weights`: what files of weights hold, and runs in published layouts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from egotools.texts import counted

from . import display, options
from .groups import Command, Group

if TYPE_CHECKING:
    from egotools.weights.description import TensorAbout

LAYOUTS = {name: f"egotools.methods.{name}.export" for name in ("memdpc", "storyboard", "replai")}
SHOWN = 30  # tensors that the screen shows without --all


@click.group(cls=Group)
def weights() -> None:
    """Say what a file of weights holds; export runs in published layouts.

    \b
    egotools weights info k400-rgb-224_resnet34_memdpc.pth.tar
    egotools weights export runs/memdpc --to memdpc --out memdpc.pth.tar
    """


@weights.command(cls=Command)
@click.argument("file", type=options.PATH)
@click.option("--all", "shows_all", is_flag=True, help=f"Show all tensors, not only the first {SHOWN}.")
@options.as_json
def info(file: Path, shows_all: bool, as_json: bool) -> None:
    """Show the format, network, tensors and sizes of a checkpoint (.safetensors, .npz, .pth, .pth.tar, .ckpt).

    Nothing in the file is run: objects of other classes are named, and passed over.

    \b
    egotools weights info k400-rgb-224_resnet34_memdpc.pth.tar
    """
    from egotools.weights.description import describe

    found = describe(file)
    if as_json:
        display.show_json(
            {**vars(found), "tensors": [{**vars(each), "shape": list(each.shape)} for each in found.tensors]}
        )
        return
    facts = {
        "file": found.path,
        "format": found.format,
        "size": display.size(found.bytes),
        "network": found.network or "not known here",
        "tensors": f"{len(found.tensors)}, {found.parameters:,} numbers",
    }
    display.show_mapping({**facts, **{name: str(value) for name, value in found.beside.items()}})
    _show_tensors(found.tensors if shows_all else found.tensors[:SHOWN])
    if not shows_all and len(found.tensors) > SHOWN:
        display.note(f"and {counted(len(found.tensors) - SHOWN, 'more tensor')}: --all shows them")


@weights.command(cls=Command)
@click.argument("run", type=options.PATH)
@click.option(
    "--to", required=True, type=click.Choice([*LAYOUTS]), help="Layout: of *.pth.tar, step_*.pth, checkpoint_*.pth."
)
@click.option("--out", required=True, type=options.FILE, help="File to write.")
@options.as_json
def export(run: Path, to: str, out: Path, as_json: bool) -> None:
    """Write the network of a run in a published checkpoint's layout, for the reference's own programs.

    \b
    egotools weights export runs/memdpc --to memdpc --out memdpc.pth.tar
    egotools weights export runs/kcam --to storyboard --out step_39062.pth
    egotools weights export runs/r --to replai --out checkpoint_0100.pth
    """
    exports = import_module(LAYOUTS[to])  # here, and one only: it loads torch
    done = exports.export_run(run, out)
    if as_json:
        display.show_json(done)
    else:
        display.note(f"{out}: {exports.in_words(done)}, in the layout {to}")


def _show_tensors(tensors: Sequence[TensorAbout]) -> None:
    rows = [[each.name, "x".join(map(str, each.shape)) or "scalar", each.dtype] for each in tensors]
    display.show_table(["tensor", "shape", "type"], rows, first_to_go=("type",))
