"""The commands of M3-S: how well videos are remembered."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from egotools.methods.memorability.options import Data, EvaluationOptions, Normalizing, Sources, Training
from egotools.training.how import How

from .. import display, options
from ..configuration import MethodCommand
from ..progress import Progress

SHOWN = ("spearman", "pearson", "kendall", "mse", "mae", "r2")


@click.command("memorability", cls=MethodCommand)
@options.manifest
@options.features
@options.from_fields(Data, "data")
@options.from_fields(Training)
@options.from_fields(Normalizing, "normalizing")
@options.from_fields(How, "how")
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: Training,
    data: Data,
    normalizing: Normalizing,
    manifest: Path,
    features: tuple[Path, ...],
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: how, seed, device, preset
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
            out, manifest, features, data, config, normalizing, progress=progress, **asked
        )
    display.say_done(out, is_new)
    show(content, out, as_json=as_json)


@click.command("memorability", cls=MethodCommand)
@options.manifest
@click.option(
    "--features",
    multiple=True,
    type=options.PATH,
    help="A cache; repeatable. With --run, by default the caches of the run.",
)
@options.from_fields(EvaluationOptions, "evaluation")
@options.from_fields(Normalizing, "normalizing")
@options.device
@options.out
@options.telling
@options.as_json
def evaluate(
    evaluation: EvaluationOptions,
    normalizing: Normalizing,
    manifest: Path,
    features: tuple[Path, ...],
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare memorability scores with the true ones: of a run, of published weights, or of a baseline.

    Of a run with folds, each clip is scored by the networks that were not trained on it.

    \b
    egotools eval memorability --run runs/m --manifest m.csv --ablation --out reports/m
    egotools eval memorability --run runs/m --manifest m.csv --baseline ridge
    egotools eval memorability --weights m3s_memento10k.tar --features caches/m/m3s.lmdb \\
            --features caches/m/hrnet.lmdb --features caches/m/csn.lmdb --manifest m.csv --zero-similarity
    """
    from egotools.methods.memorability.evaluation import evaluate_memorability, save

    options.keep_for_us(out)
    with Progress("trainings", "reading") as progress:
        content, evaluated = evaluate_memorability(
            manifest, features, evaluation, normalizing, device=device, progress=progress
        )
    if out is not None:
        content["remarks"] += save(out, content, evaluated, manifest)
    show_evaluated(content, out, as_json=as_json)


@click.command("memorability", cls=MethodCommand)
@click.option("--run", type=options.PATH, help="A run of 'egotools train memorability'.")
@click.option("--weights", type=options.PATH, help="A published checkpoint of M3-S, instead of --run.")
@options.from_fields(Sources, "sources")
@options.resources
@options.trust
@click.argument("videos", nargs=-1, required=True, type=options.PATH)
@options.telling
@options.as_json
def predict(
    sources: Sources,
    run: Path | None,
    weights: Path | None,
    videos: tuple[Path, ...],
    as_json: bool,
    **given: Any,  # Any: resources
) -> None:
    """How well each video is remembered, from 0 to 1.

    Computes what the run or the weights were trained on, in one decoding pass, in memory and temporary files only.

    \b
    egotools predict memorability --run runs/m new.mp4 other.mp4
    egotools predict memorability --run runs/m --json new.mp4
    egotools predict memorability --weights m3s_memento10k.tar --pca pca_hog.pickle new.mp4
    """
    from egotools.methods.memorability.prediction import predict_memorability
    from egotools.methods.memorability.released_prediction import predict_released

    if (run is None) == (weights is None):
        raise click.UsageError("give either --run DIR or --weights FILE (published weights)")
    if run is not None and sources != Sources():
        raise click.UsageError("--pca, --hrnet-weights, --csn-weights, --reference and --raw-order are for --weights")
    trusted, resources = options.trusted(given), options.resources_of(given)
    with Progress("videos") as progress:
        if weights is not None:
            found = predict_released(weights, videos, sources, resources=resources, progress=progress)
        elif run is not None:
            found = predict_memorability(run, videos, trusted=trusted, resources=resources, progress=progress)
    columns, title = ["video", "score", "deviation"], f"mean of {found.networks} networks"
    display.show_predictions(found, found.scored, columns, title=title, as_json=as_json)


def show(content: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    """The report of a training as JSON, or as a table of its last and its best epochs."""
    if not display.show_report(content, f"report, metrics and networks are in {folder}", as_json=as_json):
        return
    rows = [[name, content["last"][name], content["best"][name]] for name in SHOWN]
    for what in ("folds", "seeds"):
        name = f"spearman_deviation_over_{what}"
        rows.append([f"deviation of spearman over {what}", content["last"][name], content["best"][name]])
    rows.append(["epoch", content["last"]["epoch"], content["best"]["epoch"]])
    title = f"train memorability, {content['arguments']['target']}: {content['protocol']}"
    display.show_table(["", "last epoch", "best epoch"], rows, title=title)


def show_evaluated(content: Mapping[str, Any], folder: Path | None, *, as_json: bool) -> None:
    """The report of an evaluation as JSON, or as tables."""
    kept = "" if folder is None else f"report, predictions and pictures are in {folder}"
    if not display.show_report(content, kept, as_json=as_json):
        return
    title = f"eval memorability, {content['arguments']['target']}: {content['protocol']}"
    averaged = content["averaged"]
    rows = [[name, content[name], *_interval(averaged.get(name))] for name in SHOWN]
    display.show_table(["", "mean of the networks", "of their mean score", "95 %"], rows, title=title)
    names = ("folds", "seeds")
    display.show_mapping(
        {"clips": content["clips"]}
        | {f"deviation of spearman over {n}": content[f"spearman_deviation_over_{n}"] for n in names if content[n] > 1}
    )
    if "ablation" in content:
        columns = ["features", "D", "spearman", "over seeds", "over folds"]
        keys = ("columns", "spearman", "spearman_deviation_over_seeds", "spearman_deviation_over_folds")
        best = sorted(content["ablation"], key=lambda entry: (entry["spearman"] is None, -(entry["spearman"] or 0)))
        rows = [["+".join(entry["features"]), *(entry[key] for key in keys)] for entry in best]
        display.show_table(columns, rows, title="trained again on subsets of the features")


def _interval(found: Mapping[str, Any] | None) -> list[object]:
    if found is None:
        return [None, None]
    low, high = found["interval"]
    return [found["value"], None if low is None else f"{low:.4g} to {high:.4g}"]
