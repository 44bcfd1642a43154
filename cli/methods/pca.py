"""`egotools train pca`."""

from pathlib import Path

import click

from egotools.methods.pca import Components

from .. import display, options
from ..configuration import MethodCommand
from ..progress import Progress


@click.command("pca", cls=MethodCommand)
@options.manifest
@options.features
@click.option("--split", help="Split to fit on; by default all clips of the manifest.")
@options.from_fields(Components)
@options.seed
@options.run_out
@options.telling
@options.as_json
def train(
    config: Components,
    manifest: Path,
    features: tuple[Path, ...],
    split: str | None,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Principal components of cached features, on all rows of a split, kept as a run.

    \b
    egotools train pca --features caches/fit/hog.lmdb --manifest m.csv --split train --whiten --out runs/hog
    egotools extract --manifest m.csv --out caches/m m3s --pca run:runs/hog
    """
    from egotools.methods.pca import train_pca

    with Progress(stage="reading and fitting"):
        content, is_new = train_pca(out, manifest, features, config, split=split, seed=seed)
    display.say_done(out, is_new)
    if not display.show_report(content, as_json=as_json):
        return
    names = ("components", "width", "rows", "clips", "explained_in_all")
    display.show_mapping({name.replace("_", " "): content[name] for name in names}, title=f"train pca: {out}")
