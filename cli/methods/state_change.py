"""`egotools train state-change` and `egotools eval state-change`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from egotools.methods.state_change.options import StateChange
from egotools.training.how import How

from .. import display, options
from ..configuration import MethodCommand
from ..progress import Progress

FIGURES = {"accuracy": "accuracy of the state", "pnr_error": "error of the moment, s"}


@click.command("state-change", cls=MethodCommand)
@options.manifest
@options.features
@options.from_fields(StateChange)
@options.from_fields(How, "how")
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: StateChange,
    manifest: Path,
    features: tuple[Path, ...],
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: how, seed, device, preset
) -> None:
    """Heads that tell from cached features whether an object's state changes in a clip, and when; kept as a run.

    Trains on the split train. If there is a split val, the epoch with most right states there is kept, else the last.
    Each of 16 positions of a clip takes the cached row at its time. Clips are whole in every epoch: the random parts of
    5 to 8 s that Ego4D's baseline trains on are in no cache.

    \b
    egotools extract --manifest c.csv --out caches/c avid-video --weights run:runs/r --clips 16
    egotools train state-change --manifest c.csv --features caches/c/avid-video.lmdb --out runs/c
    """
    from egotools.methods.state_change.run import train_state_change

    with Progress("epochs", "reading") as progress:
        content, is_new = train_state_change(out, manifest, features, config, progress=progress, **asked)
    display.say_done(out, is_new)
    if not display.show_report(content, f"report, metrics and heads are in {out}", as_json=as_json):
        return
    title = f"train state-change: {content['clips']} clips, {content['changed']} with a change"
    if content["last"] is None:
        loss = {"loss of the last batches": content["loss"]} if "loss" in content else {}  # older runs have none
        display.show_mapping({"epochs": content["epochs"], **loss}, title=title)
        return
    rows = [[label, content["last"][name], content["best"][name]] for name, label in FIGURES.items()]
    rows.append(["epoch", content["last"]["epoch"], content["best"]["epoch"]])
    display.show_table(["", "val, last", "val, best"], rows, title=title)


@click.command("state-change", cls=MethodCommand)
@click.option("--run", required=True, type=options.FOLDER, help="A run of 'egotools train state-change'.")
@options.manifest
@options.features
@click.option("--test-split", help="Split to evaluate on; by default test if it has labels, else val.")
@click.option("--all-rows", is_flag=True, help="Evaluate also the clips that the run was trained on, and all splits.")
@options.device
@options.out
@options.telling
@options.as_json
def evaluate(run: Path, out: Path | None, as_json: bool, **asked: Any) -> None:  # Any: what click parsed
    """How many states a run tells right, and how many seconds its moments of change are off, over all clips together.

    Beside it: the more frequent state for every clip, and a change in the middle of every clip.

    \b
    egotools eval state-change --run runs/c --manifest c.csv --features caches/c/avid-video.lmdb --out results/c
    """
    from egotools.config import to_json
    from egotools.files.disk import write_whole
    from egotools.methods.state_change.run import evaluate_state_change

    options.keep_for_us(out)
    with Progress(stage="reading and evaluating"):
        found = evaluate_state_change(run, **asked)
    if out is not None:
        write_whole(out / "predictions.csv", found.to_csv())
        write_whole(out / "report.json", to_json(found.content))
    show(found.content, out, as_json=as_json)


def show(content: Mapping[str, Any], folder: Path | None, *, as_json: bool) -> None:
    """The report as JSON, or as a table."""
    kept = "" if folder is None else f"report and predictions are in {folder}"
    if not display.show_report(content, kept, as_json=as_json):
        return
    rows = [[label, content[name], content["baselines"][name]] for name, label in FIGURES.items()]
    rows.append(["clips", content["clips"], ""])
    rows.append(["with a change", content["changed"], ""])
    display.show_table(["", "run", "constant"], rows, title=f"eval state-change: {content['protocol']}")
