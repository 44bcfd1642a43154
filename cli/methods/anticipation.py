"""`egotools train anticipation` and `egotools eval anticipation`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from egotools.methods.anticipation.options import Anticipation
from egotools.training.how import How

from .. import display, options
from ..configuration import MethodCommand
from ..progress import Progress

HEADS = ("verb", "noun")


@click.command("anticipation", cls=MethodCommand)
@options.manifest
@options.features
@options.from_fields(Anticipation)
@options.from_fields(How, "how")
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: Anticipation,
    manifest: Path,
    features: tuple[Path, ...],
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: how, seed, device, preset
) -> None:
    """The verbs and nouns of the next 20 actions from cached features of the last 4; kept as a run.

    Trains on the split train. If there is a split val, the epoch with the lowest edit distance of verbs there is kept,
    else the last. Of an action that has several cached rows one is drawn in each epoch. The default network has 180
    million parameters; --preset small has one for a laptop.

    \b
    egotools extract --manifest l.csv --out caches/l avid-video --weights run:runs/r --frames 32 --size 224 \\
            --pool average --clips 5
    egotools train anticipation --manifest l.csv --features caches/l/avid-video.lmdb --out runs/l
    """
    from egotools.methods.anticipation.run import train_anticipation

    with Progress("epochs", "reading") as progress:
        content, is_new = train_anticipation(out, manifest, features, config, progress=progress, **asked)
    display.say_done(out, is_new)
    if not display.show_report(content, f"report, metrics and network are in {out}", as_json=as_json):
        return
    title = f"train anticipation: {content['windows']} windows, {content['verbs']} verbs, {content['nouns']} nouns"
    if content["last"] is None:
        loss = {"loss of the last batches": content["loss"]} if "loss" in content else {}  # older runs have none
        display.show_mapping({"epochs": content["epochs"], **loss}, title=title)
        return
    names = {"verb_ed": "edit distance of verbs", "noun_ed": "edit distance of nouns", "epoch": "epoch"}
    rows = [[label, content["last"][name], content["best"][name]] for name, label in names.items()]
    display.show_table(["", "val, last", "val, best"], rows, title=title)


@click.command("anticipation", cls=MethodCommand)
@click.option("--run", required=True, type=options.FOLDER, help="A run of 'egotools train anticipation'.")
@options.manifest
@options.features
@click.option("--submission", type=options.FILE, help="JSON to write, in the challenge's format.")
@click.option(
    "--test-split",
    help="Split to evaluate on; by default test if it has labels or with --submission, else val.",
)
@click.option("--all-rows", is_flag=True, help="Evaluate also what the run was trained on, and all splits.")
@click.option("--candidates", type=click.IntRange(1), help="Sequences that are drawn; by default as many as the run's.")
@click.option(
    "--seeds", default=3, show_default=True, type=click.IntRange(1), help="How often they are drawn, by further seeds."
)
@options.seed
@options.device
@options.out
@options.telling
@options.as_json
def evaluate(
    run: Path,
    submission: Path | None,
    candidates: int | None,
    seeds: int,
    seed: int,
    out: Path | None,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: manifest, features, test_split, all_rows, device
) -> None:
    """Edit distances of the coming verbs and nouns: the best of 5 drawn sequences, mean and deviation over seeds.

    Beside it: the verb and the noun that were most frequent in training, at every step. Files without labels are
    predicted only, for --submission.

    \b
    egotools eval anticipation --run runs/l --manifest l.csv --features caches/l/avid-video.lmdb --submission lta.json
    """
    from egotools.config import to_json
    from egotools.files.disk import write_whole
    from egotools.methods.anticipation.evaluation import Drawing, evaluate_anticipation

    options.keep_for_us(out)
    drawing = Drawing(seeds, candidates, seed)
    with Progress(stage="reading and evaluating"):
        found = evaluate_anticipation(run, drawing=drawing, submission=submission, **asked)
    if submission is not None:
        write_whole(submission, to_json(found.submission(), indent=None))
        display.note(f"{submission}: {len(found.windows)} predictions")
    if out is not None:
        write_whole(out / "report.json", to_json(found.content))
    show(found.content, out, as_json=as_json)


def show(content: Mapping[str, Any], folder: Path | None, *, as_json: bool) -> None:
    """The report as JSON, or as a table."""
    kept = "" if folder is None else f"the report is in {folder}"
    if not display.show_report(content, kept, as_json=as_json) or not content["labeled"]:
        return
    steps = len(content["verb"]["by_length"])
    rows = []
    for name in HEADS:
        figures, constant = content[name], content[name]["constant"]
        rows.append([f"{name}, ED@{steps}", figures["ed"], figures["ed_deviation"], constant["ed"]])
        rows.append([f"{name}, area", figures["area"], figures["area_deviation"], constant["area"]])
    title = f"eval anticipation: {content['protocol']}, best of {content['candidates']}"
    display.show_table(["", "run", "deviation over seeds", "most frequent"], rows, title=title)
