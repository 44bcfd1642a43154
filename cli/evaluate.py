"""`egotools eval`: judge cached features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from egotools.config import options_of
from egotools.evaluate.knn import KNN
from egotools.evaluate.splits import Partition
from egotools.methods.memorability.options import EvaluationOptions, Normalizing
from egotools.methods.probe.probe import Probe

from . import display, memorability, options
from .groups import Group
from .progress import Progress

REDUCE = {"mean": "mean", "mean+std": "mean+std", "none": None}
CLASSES_SHOWN = 40

reduce = click.option(
    "--reduce",
    type=click.Choice(list(REDUCE)),
    default="mean",
    show_default=True,
    help="What a clip's windows become: one row, or each stays a row.",
)
out = click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for report and plots.")
device = click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")


@click.group(cls=Group)
def evaluate() -> None:
    """Judge cached features.

    \b
    egotools eval knn --features caches/mine/csn.lmdb --manifest m.csv --label action
    """


@evaluate.command("knn")
@options.manifest
@options.features
@options.label
@reduce
@options.from_fields(KNN)
@options.from_fields(Partition, "partition")
@out
@options.telling
@options.as_json
def knn_command(
    config: KNN,
    partition: Partition,
    manifest: Path,
    features: tuple[Path, ...],
    label: str,
    reduce: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """A cosine vote among the nearest clips.

    With splits in the manifest, train votes on test; without, every clip is judged by all others.

    \b
    egotools eval knn --features caches/mine/csn.lmdb --manifest m.csv --label action --k 1,5,20
    egotools eval knn --features caches/mine/csn.lmdb --manifest m.csv --label action --group video
    """
    from egotools.evaluate.knn import knn
    from egotools.evaluate.report import report, save
    from egotools.tables.table import read_table

    _keep_for_us(out)
    with Progress(stage="reading and judging"):
        table = read_table(manifest, features, reduce=REDUCE[reduce], labels=partition.columns(label))  # type: ignore[arg-type]
        result = knn(table, label, config, partition=partition)
    arguments = {"label": label, "reduce": reduce, **options_of(config), **options_of(partition)}
    content = report("eval knn", arguments, result, manifest=manifest, features=features)
    if out is not None:
        save(out, content, result)
    show(content, out, as_json=as_json)


@evaluate.command("probe")
@options.manifest
@options.features
@click.option("--label", help="Manifest column that is the label; of --run, the label it was trained on.")
@click.option(
    "--run", type=click.Path(path_type=Path), help="Apply this run of `train probe`, reduced as it was; fit nothing."
)
@click.option("--all-rows", is_flag=True, help="Of --run: judge also what it learned from, and all splits.")
@reduce
@options.from_fields(Probe)
@options.from_fields(Partition, "partition")
@options.seed
@device
@out
@options.telling
@options.as_json
def probe_command(
    config: Probe,
    partition: Partition,
    manifest: Path,
    features: tuple[Path, ...],
    run: Path | None,
    all_rows: bool,
    out: Path | None,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: label, reduce, seed, device
) -> None:
    """A linear classifier on frozen features: fitted and judged, or a fitted one (--run) applied.

    A run is judged on clips that it did not learn from: of the split test (else val) if the manifest has splits.

    \b
    egotools eval probe --features caches/mine/csn.lmdb --manifest m.csv --label action --c 0.01,0.1,1
    egotools eval probe --run runs/p --features caches/other/csn.lmdb --manifest other.csv
    """
    from egotools.evaluate.classification import Result
    from egotools.evaluate.report import save
    from egotools.methods.probe.run import apply_run, fit_probe

    result: Result
    if run is None and asked["label"] is None:
        raise click.UsageError("--label says what to learn; or --run which run to apply")
    if run is None and all_rows:
        raise click.UsageError("--all-rows is for --run")
    asked["reduce"] = REDUCE[asked["reduce"]]
    _keep_for_us(out)
    with Progress(stage="reading and judging"):
        if run is None:
            content, result = fit_probe("eval probe", manifest, features, config, partition, **asked)
        else:
            chosen = {name: asked[name] for name in ("label", "device")}
            content, result = apply_run(run, manifest, features, partition, all_rows=all_rows, **chosen)
    if out is not None:
        save(out, content, result)
    show(content, out, as_json=as_json)


@evaluate.command("memorability")
@options.manifest
@click.option(
    "--features",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A cache, repeatable; of --run by default its own.",
)
@options.from_fields(EvaluationOptions, "judging")
@options.from_fields(Normalizing, "normalizing")
@device
@out
@options.telling
@options.as_json
def memorability_command(
    judging: EvaluationOptions,
    normalizing: Normalizing,
    manifest: Path,
    features: tuple[Path, ...],
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Memorability scores against the true ones: of a run, of published weights, or of a baseline.

    Of a run with folds, each clip is judged by the networks that did not learn from it.

    \b
    egotools eval memorability --run runs/m --manifest m.csv --ablation --out reports/m
    egotools eval memorability --run runs/m --manifest m.csv --baseline ridge
    egotools eval memorability --weights m3s_memento10k.tar --features caches/m/m3s.lmdb \\
            --features caches/m/hrnet.lmdb --features caches/m/csn.lmdb --manifest m.csv --zero-similarity
    """
    from egotools.methods.memorability.evaluation import evaluate_memorability, save

    _keep_for_us(out)
    with Progress("trainings", "reading") as progress:
        content, judged = evaluate_memorability(
            manifest, features, judging, normalizing, device=device, progress=progress
        )
    if out is not None:
        content["remarks"] += save(out, content, judged, manifest)
    memorability.show_judged(content, out, as_json=as_json)


def _keep_for_us(out: Path | None) -> None:
    """Keeps others from writing into the folder of a result until the command ends."""
    from egotools.training.runs import results_in

    click.get_current_context().with_resource(results_in(out))


def show(content: Mapping[str, Any], folder: Path | None, *, as_json: bool) -> None:
    """A report as JSON, or as tables."""
    kept = "" if folder is None else f"report, predictions and pictures are in {folder}"
    if not display.show_report(content, kept, as_json=as_json):
        return
    arguments = content["arguments"]
    title = f"{content['command']}, {arguments['label']}: {content['protocol']}"
    if "by_k" in content:
        by_k = sorted(content["by_k"], key=lambda entry: entry["k"])
        rows = [[entry["k"], entry["accuracy"], entry["mean_class_accuracy"]] for entry in by_k]
        display.show_table(["k", "accuracy", "mean class accuracy"], rows, title=title)
        title = f"k = {content['k']}"
    names = ("accuracy", "accuracy_deviation", "mean_class_accuracy", "majority", "chance", "rows", "train_rows")
    display.show_mapping({n.replace("_", " "): content[n] for n in names if n in content}, title=title)
    classes = content["classes"]
    columns = [name for name in ("class", "train_rows", "rows", "recall", "precision") if name in classes[0]]
    shown = [[entry[column] for column in columns] for entry in classes[:CLASSES_SHOWN]]
    pooled = f"by class, {content['seeds']} seeds together" if content.get("seeds", 1) > 1 else "by class"
    display.show_table([column.replace("_", " ") for column in columns], shown, title=pooled)
    if len(classes) > CLASSES_SHOWN:
        display.note(f"and {len(classes) - CLASSES_SHOWN} more classes; --json or --out have them all")
