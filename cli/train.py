"""`egotools train`: train on cached features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from egotools.evaluate.splits import Partition
from egotools.methods.memorability.options import Data, Normalizing, Training
from egotools.methods.pca import Components
from egotools.methods.probe.probe import Probe

from . import display, memorability, options
from .evaluate import REDUCE, device, reduce, show
from .groups import Group
from .progress import Progress


@click.group(cls=Group)
def train() -> None:
    """Train on cached features.

    \b
    egotools train probe --features caches/mine/csn.lmdb --manifest m.csv --label action --out runs/p
    """


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
@options.telling
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
    from egotools.methods.probe.run import train_probe

    asked["reduce"] = REDUCE[asked["reduce"]]
    with Progress(stage="reading and fitting"):
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
@options.telling
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
    from egotools.methods.pca import train_pca

    with Progress(stage="reading and fitting"):
        content, is_new = train_pca(out, manifest, features, config, split=split, seed=seed)
    if not is_new:
        display.note(f"{out} is done with these options: nothing to do")
    if not display.show_report(content, as_json=as_json):
        return
    names = ("components", "width", "rows", "clips", "explained_in_all")
    display.show_mapping({name.replace("_", " "): content[name] for name in names}, title=f"train pca: {out}")


@train.command("memorability")
@options.manifest
@options.features
@options.from_fields(Data, "data")
@options.from_fields(Training)
@options.from_fields(Normalizing, "normalizing")
@options.seed
@device
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The run's directory.")
@options.telling
@options.as_json
def memorability_command(
    config: Training,
    data: Data,
    normalizing: Normalizing,
    manifest: Path,
    features: tuple[Path, ...],
    seed: int,
    device: str,
    out: Path,
    as_json: bool,
) -> None:
    """M3-S: how well videos are remembered, a score from 0 to 1, kept as a run.

    The features are taken in the order m3s, hrnet, csn, similarity, then as given.

    \b
    egotools train memorability --manifest m.csv --features caches/m/m3s.lmdb --features caches/m/csn.lmdb --out runs/m
    egotools train memorability --manifest t.csv --features caches/t/c3d.lmdb --target short_term \\
            --folds folds.json:random_eval_ids --standardize c3d --seeds 3 --out runs/t
    """
    from egotools.methods.memorability.run import train_memorability

    with Progress("networks", "reading") as progress:
        content, is_new = train_memorability(
            out, manifest, features, data, config, normalizing, seed=seed, device=device, progress=progress
        )
    if not is_new:
        display.note(f"{out} is done with these options: nothing to do")
    memorability.show(content, out, as_json=as_json)
