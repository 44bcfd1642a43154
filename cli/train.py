"""`egotools train`: train on cached features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from egotools.evaluate.pca_run import Components
from egotools.evaluate.probe import Probe
from egotools.evaluate.splits import Partition

from . import display, options
from .evaluate import REDUCE, device, reduce, show


@click.group()
def train() -> None:
    """Train on cached features."""


@train.command("probe")
@options.manifest
@options.features
@options.label
@reduce
@options.from_fields(Probe)
@options.from_fields(Partition, "partition")
@options.seed
@device
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The run's directory.")
@options.as_json
def probe_command(
    config: Probe,
    partition: Partition,
    manifest: Path,
    features: tuple[Path, ...],
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: label, reduce, seed, device
) -> None:
    """A linear classifier on frozen features, kept as a run.

    \b
    egotools train probe --features caches/mine/csn.lmdb --manifest m.csv --label action --out runs/p
    egotools eval probe --run runs/p --features caches/other/csn.lmdb --manifest other.csv
    """
    from egotools.evaluate.probe_run import train_probe

    asked["reduce"] = REDUCE[asked["reduce"]]
    content, is_new = train_probe(out, manifest, features, config, partition, **asked)
    if not is_new:
        display.note(f"{out} is done with these options: nothing to do")
    show(content, out, as_json=as_json)


@train.command("pca")
@options.manifest
@options.features
@click.option("--split", help="Whose clips it is fitted on; by default all of the manifest.")
@options.from_fields(Components)
@options.seed
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The run's directory.")
@options.as_json
def pca_command(
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
    from egotools.evaluate.pca_run import train_pca

    content, is_new = train_pca(out, manifest, features, config, split=split, seed=seed)
    if not is_new:
        display.note(f"{out} is done with these options: nothing to do")
    for remark in content["remarks"]:
        display.note(f"note: {remark}")
    if as_json:
        display.show_json(content)
        return
    names = ("components", "width", "rows", "clips", "explained_in_all")
    display.show_mapping({name.replace("_", " "): content[name] for name in names}, title=f"train pca: {out}")
