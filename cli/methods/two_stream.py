"""`egotools train two-stream`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from egotools.methods.two_stream.options import TwoStream
from egotools.training.how import How

from .. import display, options
from ..configuration import MethodCommand
from ..progress import Progress

SHOWN = (
    *("reconstruction", "invariance", "distillation", "distance", "relative_distance", "raw_relative_distance"),
    *("cosine", "raw_cosine", "variance", "raw_variance"),
)


@click.command("two-stream", cls=MethodCommand)
@options.manifest
@options.features
@click.option("--segments", type=options.FILE, help="CSV of segments: only annotated stretches are learned from.")
@options.from_fields(TwoStream)
@options.from_fields(How, "how")
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: TwoStream,
    manifest: Path,
    features: tuple[Path, ...],
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: segments, how, seed, device, preset
) -> None:
    """View-invariance pre-training on two synchronised views, without labels, kept as a run.

    Learned is a refiner of features: 'train segmentation --init run:DIR' trains on refined features. Views are paired
    by the manifest's columns 'recording' and 'view' and by time; of the split 'pair' if there is one, or else 'train'.
    The split 'val' is what is validated on.

    \b
    egotools train two-stream --student e4 --teacher v3 --preset small --epochs 3 \\
            --manifest a.csv --features caches/a/tsm.lmdb --out runs/ssl
    egotools train two-stream --objective sync-kd --preset reference --segments a.segments.csv \\
            --manifest a.csv --features caches/a/tsm.lmdb --out runs/kd
    """
    from egotools.methods.two_stream.run import train_two_stream

    with Progress("epochs", "reading") as progress:
        content, is_new = train_two_stream(out, manifest, features, config, progress=progress, **asked)
    display.say_done(out, is_new)
    show(content, out, as_json=as_json)


def show(content: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    """The report as JSON, or as a table of the epochs."""
    if not display.show_report(content, f"report, metrics, picture and refiner are in {folder}", as_json=as_json):
        return
    epochs = [content[name] for name in ("before", "last", "best")]
    rows = [[name.replace("_", " "), *(each[name] for each in epochs)] for name in SHOWN if name in epochs[0]]
    rows.append(["epoch", *(each["epoch"] for each in epochs)])
    title = (
        f"train two-stream: {content['items']} items of {content['recordings']} recordings, validated on"
        f" {content['val_items']} items"
    )
    display.show_table(["", "before", "last epoch", "best epoch"], rows, title=title)
