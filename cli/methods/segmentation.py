"""The commands of temporal segmentation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from egotools.methods.segmentation.options import Applying, Data, Scoring, Training
from egotools.training.how import How

from .. import display, options
from ..configuration import MethodCommand
from ..progress import Progress

FIGURES = {"mof": "MoF", "edit": "edit", "f1@10": "F1@10", "f1@25": "F1@25", "f1@50": "F1@50", "total": "total"}
RARE = {"mof_head": "MoF head", "mof_tail": "MoF tail"}

segments = click.option(
    "--segments", required=True, type=options.FILE, help="CSV of labeled segments: id, start, end, label, sequence."
)


@click.command("segmentation", cls=MethodCommand)
@options.manifest
@segments
@options.features
@options.from_fields(Data, "data")
@options.from_fields(Training)
@options.from_fields(How, "how")
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: Training,
    data: Data,
    manifest: Path,
    segments: Path,
    features: tuple[Path, ...],
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: how, seed, device, preset
) -> None:
    """C2F-TCN on cached features: a class for every moment of a video, kept as a run.

    Trains on the split train. If there is a split val, it is evaluated after every epoch, and the best epoch kept, too.

    \b
    egotools train segmentation --manifest a.csv --segments a.segments.csv --features caches/a/tsm.lmdb --out runs/seg
    egotools train segmentation --manifest a.csv --segments a.segments.csv --features caches/a/tsm.lmdb \\
            --init run:runs/ssl --train-views v3 --preset small --out runs/seg
    """
    from egotools.methods.segmentation.run import train_segmentation

    with Progress("epochs", "reading") as progress:
        content, is_new = train_segmentation(
            out, manifest, segments, features, data, config, progress=progress, **asked
        )
    display.say_done(out, is_new)
    if not display.show_report(content, f"report, metrics and network are in {out}", as_json=as_json):
        return
    title = f"train segmentation: {content['protocol']}, {content['epochs']} epochs"
    if content["last"] is None:
        display.show_mapping({"epochs": content["epochs"]}, title=title)
        return
    rows = [[each, *(content[each].get(name) for name in ("epoch", *FIGURES))] for each in ("last", "best")]
    display.show_table(["", "epoch", *FIGURES.values()], rows, title=title)


@click.command("segmentation", cls=MethodCommand)
@click.option("--manifest", type=options.FILE, help="CSV of clips; with --predictions: those that must be there.")
@segments
@click.option(
    "--features",
    multiple=True,
    type=options.PATH,
    help="A cache; repeatable. With --run, by default the caches of the run.",
)
@click.option(
    "--predictions", multiple=True, type=options.FILE, help="CSV of predicted segments, instead of --run; repeatable."
)
@click.option("--background", multiple=True, help="Class that is no segment for edit and F1; repeatable.")
@options.from_fields(Applying, "applying")
@options.from_fields(Scoring, "scoring")
@options.device
@options.out
@options.telling
@options.as_json
def evaluate(
    applying: Applying,
    scoring: Scoring,
    manifest: Path | None,
    segments: Path,
    features: tuple[Path, ...],
    predictions: tuple[Path, ...],
    background: tuple[str, ...],
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare predicted segments with the true ones: of a run, of a published checkpoint, or in files.

    Figures are in percent. Every view of a sequence is a video of its own. A run is evaluated on recordings that it was
    not trained on.

    \b
    egotools eval segmentation --run runs/seg --manifest a.csv --segments a.segments.csv --out reports/seg
    egotools eval segmentation --predictions reports/seg/predictions.csv --segments a.segments.csv
    egotools eval segmentation --predictions p.csv --segments s.csv --average video --background background
    """
    from egotools.methods.segmentation.evaluation import evaluate_predictions, save

    if sum((applying.run is not None, applying.head is not None, bool(predictions))) != 1:
        raise click.UsageError("give one of --run (a run), --head (a published checkpoint) and --predictions (files)")
    if predictions and (applying != Applying(split=applying.split) or features):
        raise click.UsageError("--predictions only needs --segments; the other options are for --run and --head")
    if manifest is None and (applying.split or not predictions):
        raise click.UsageError("give --manifest: the clips to evaluate")
    options.keep_for_us(out)
    told: dict[str, Any] = {"background": background}  # Any: keywords
    with Progress("passes", "reading") as progress:
        if manifest is None or predictions:
            told |= {"manifest": manifest, "split": applying.split}
            found = evaluate_predictions(predictions, segments, scoring, **told)
        else:
            from egotools.methods.segmentation.application import evaluate_segmentation

            told |= {"device": device, "progress": progress}
            found = evaluate_segmentation(manifest, segments, features, applying, scoring, **told)
    content, comparison, made = found
    if out is not None:
        save(out, content, comparison, made)
    show(content, out, as_json=as_json)
    if content["missing"]:
        names = [f"{sequence} of {id}" for id, sequence in content["missing"]]
        display.name_some("sequences without predictions", names, tell=display.failure)
        click.get_current_context().exit(1)


def show(content: Mapping[str, Any], folder: Path | None, *, as_json: bool) -> None:
    """The report of an evaluation as JSON, or as a table with a line for each view."""
    kept = "" if folder is None else f"report, predictions and picture are in {folder}"
    if not display.show_report(content, kept, as_json=as_json):
        return
    columns = {"videos": "videos", **FIGURES, **{name: text for name, text in RARE.items() if name in content}}
    lines = [*((each["view"] or "(none)", each) for each in content["views"]), ("all", content)]
    rows = [[name, *(each[column] for column in columns)] for name, each in lines]
    title = f"eval segmentation: {content['protocol']}, {content['arguments']['average']} average, percent"
    display.show_table(["view", *columns.values()], rows, title=title)
