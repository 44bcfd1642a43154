"""The commands of the linear probe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from egotools.evaluate.splits import Partition
from egotools.methods.probe.head import Head
from egotools.methods.probe.probe import Probe

from .. import display, options
from ..configuration import MethodCommand
from ..progress import Progress

CLASSES_SHOWN = 40

views = click.option(
    "--view", "views", multiple=True, type=options.PATH, help="Cache of another view to train on.  [bn-dropout]"
)
PROTOCOLS = (
    "Memory Storyboard's probe on ImageNet or iNaturalist (as published, or as its code has it): sets --head normalized"
    " and how it is trained. replai: RepLAI's, --head sgd; without a protocol that is so of several labels, too."
    " Flags and --config win over it."
)
SEVERAL = "replai"  # the protocol of several labels


class ProbeCommand(MethodCommand):
    """Its presets are published protocols."""

    preset = "protocol"
    preset_help = PROTOCOLS

    def _defaults(self, context: click.Context, given: Mapping[str, Any]) -> dict[str, Any]:
        values = super()._defaults(context, given)
        asked = {**values, **given}
        label = asked.get("labels", ())
        is_several = ("rows" in asked or len(label) > 1) and "head" not in asked
        return {**self.presets[SEVERAL], **values} if is_several or asked.get("head") == "sgd" else values


@click.command("probe", cls=ProbeCommand)
@options.manifest
@click.option(
    "--features", multiple=True, type=options.PATH, help="A cache; several are joined by id and concatenated."
)
@click.option("--backbone", help="Instead of --features: run:DIR, whose network is shown the images.  [--protocol]")
@click.option(
    "--label",
    "labels",
    required=True,
    multiple=True,
    help="Manifest column that is the label; several with --head sgd.",
)
@options.reduce
@options.segments
@options.from_fields(Probe)
@options.from_fields(Head, "head")
@views
@options.from_fields(Partition, "partition")
@click.option("--workers", type=click.IntRange(0), help="Reading processes.  [--backbone]")
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: Probe,
    head: Head,
    partition: Partition,
    manifest: Path,
    features: tuple[Path, ...],
    backbone: str | None,
    labels: tuple[str, ...],
    protocol: str | None,
    workers: int | None,
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: reduce, segments, views, seed, device
) -> None:
    """A linear classifier on frozen features, kept as a run.

    --head bn-dropout trains batch norm, dropout and a linear layer by Adam, as MemDPC's linear probe does. --protocol
    trains Memory Storyboard's: with --backbone on images that are cropped and mirrored at random in each epoch, with
    --features on features as they are, which is cheaper and usually a little worse. Several labels, such as verb and
    noun, are learned together, from one row of each clip in each epoch; 'egotools eval action' evaluates them.

    \b
    egotools train probe --features caches/mine/csn.lmdb --manifest m.csv --label action --out runs/p
    egotools train probe --protocol imagenet --backbone run:runs/rc --manifest imagenet.csv --label label --out runs/p
    egotools train probe --features caches/e/avid-video.lmdb --manifest e.csv --label verb_class --label noun_class
    --rows random --out runs/v
    egotools eval probe --run runs/p --features caches/other/csn.lmdb --manifest other.csv
    """
    _check_views(head, asked)
    _check_segments(head, asked)
    if bool(features) == (backbone is not None):
        raise click.UsageError("give --features, caches, or --backbone, a network that is shown the images")
    if workers is not None and backbone is None:
        raise click.UsageError("--workers is for --backbone")
    if head.head == "sgd":
        if backbone is not None:
            raise click.UsageError("--backbone is for --head normalized, not sgd, which takes --features")
        _check_heads(config, labels, asked)
        return _train_heads(config, head, partition, manifest, features, labels, out, as_json=as_json, **asked)
    if len(labels) > 1:
        raise click.UsageError(f"--head {head.head} is of one label; several are for --head sgd")
    asked["label"], asked["reduce"] = labels[0], options.reduce_of(asked["reduce"], asked["segments"])
    if backbone is not None:
        _check_backbone(config, head, protocol, asked)
        from egotools.methods.probe.images import train_on_images

        chosen = {name: asked[name] for name in ("label", "seed", "device")}
        with Progress("images", "reading") as progress:
            content, is_new = train_on_images(
                out, manifest, backbone, config, partition, head=head, workers=workers, progress=progress, **chosen
            )
        display.say_done(out, is_new)
        show(content, out, as_json=as_json)
        return
    from egotools.methods.probe.run import train_probe

    with Progress(stage="reading and fitting"):
        content, is_new = train_probe(out, manifest, features, config, partition, head=head, **asked)
    display.say_done(out, is_new)
    show(content, out, as_json=as_json)


@click.command("probe", cls=ProbeCommand)
@options.manifest
@options.features
@click.option("--label", help="Manifest column that is the label; with --run, by default the label of the run.")
@click.option("--run", type=options.PATH, help="Apply this run of 'egotools train probe' instead of fitting a probe.")
@click.option("--all-rows", is_flag=True, help="With --run: evaluate also on its training clips, and on all splits.")
@options.reduce
@options.segments
@options.from_fields(Probe)
@options.from_fields(Head, "head")
@views
@options.from_fields(Partition, "partition")
@options.seed
@options.device
@options.out
@options.telling
@options.as_json
def evaluate(
    config: Probe,
    head: Head,
    partition: Partition,
    manifest: Path,
    features: tuple[Path, ...],
    run: Path | None,
    all_rows: bool,
    protocol: str | None,
    out: Path | None,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: label, reduce, segments, views, seed, device
) -> None:
    """A linear classifier on frozen features: fitted and evaluated, or a fitted one (--run) applied.

    A run is evaluated on clips that it was not trained on: of the split test (else val) if the manifest has splits.

    \b
    egotools eval probe --features caches/mine/csn.lmdb --manifest m.csv --label action --c 0.01,0.1,1
    egotools eval probe --run runs/p --features caches/other/csn.lmdb --manifest other.csv
    """
    from egotools.evaluate.classification import Result
    from egotools.evaluate.report import save
    from egotools.methods.probe.run import apply_run, fit_probe

    result: Result
    if run is None and asked["label"] is None:
        raise click.UsageError("give --label, the column to learn, or --run, the run to apply")
    if run is None and all_rows:
        raise click.UsageError("--all-rows is for --run")
    if run is not None and protocol is not None:
        raise click.UsageError("--protocol is for a new probe, not for --run")
    if head.head == "sgd":
        raise click.UsageError("--head sgd is for 'egotools train probe'; 'egotools eval action' evaluates its runs")
    _check_views(head, asked)
    _check_segments(head, asked)
    asked["reduce"] = options.reduce_of(asked["reduce"], asked["segments"])
    options.keep_for_us(out)
    with Progress(stage="reading and evaluating"):
        if run is None:
            content, result = fit_probe("eval probe", manifest, features, config, partition, head=head, **asked)
        else:
            chosen = {name: asked[name] for name in ("label", "segments", "device")}
            content, result = apply_run(run, manifest, features, partition, all_rows=all_rows, **chosen)
    if out is not None:
        save(out, content, result)
    show(content, out, as_json=as_json)


@click.command("probe", cls=MethodCommand)
@click.option("--run", required=True, type=options.FOLDER, help="A run of 'egotools train probe'.")
@options.resources
@options.trust
@click.argument("videos", nargs=-1, required=True, type=options.PATH)
@options.telling
@options.as_json
def predict(run: Path, videos: tuple[Path, ...], as_json: bool, **given: Any) -> None:  # Any: resources
    """The class of each video and its probability.

    Computes what the run was fitted on, in one decoding pass, in memory and temporary files only.

    \b
    egotools predict probe --run runs/p new.mp4 other.mp4
    egotools predict probe --run runs/p --json new.mp4
    """
    from egotools.methods.probe.prediction import predict_probe

    trusted, resources = options.trusted(given), options.resources_of(given)
    with Progress("videos") as progress:
        found = predict_probe(run, videos, trusted=trusted, resources=resources, progress=progress)
    columns = ["video", found.label, "probability"]
    display.show_predictions(found, found.classified, columns, title=f"predict probe: {run}", as_json=as_json)


def _check_heads(config: Probe, labels: Sequence[str], asked: Mapping[str, Any]) -> None:
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise click.UsageError(f"--label {twice[0]} is given twice")
    if asked["reduce"] != "mean":
        raise click.UsageError("--reduce is for other heads: of --head sgd, --rows says what is made of a clip's rows")
    if config.seeds != 1:
        raise click.UsageError("--seeds is for other heads: --head sgd is trained once, by --seed")


def _train_heads(
    config: Probe,
    head: Head,
    partition: Partition,
    manifest: Path,
    features: tuple[Path, ...],
    labels: tuple[str, ...],
    out: Path,
    *,
    as_json: bool,
    seed: int,
    device: str,
    **_: Any,  # Any: what is of other heads
) -> None:
    from egotools.methods.probe.heads_run import train_heads

    with Progress("steps", "reading") as progress:
        content, is_new = train_heads(
            out,
            manifest,
            features,
            head,
            partition,
            labels=labels,
            held_out=config.held_out,
            seed=seed,
            device=device,
            progress=progress,
        )
    display.say_done(out, is_new)
    show_heads(content, out, as_json=as_json)


def show_heads(content: Mapping[str, Any], folder: Path | None, *, as_json: bool) -> None:
    """The report of heads of several labels as JSON, or as a table."""
    from egotools.evaluate.several_labels import figures_by_clips

    kept = "" if folder is None else f"report and predictions are in {folder}"
    if display.show_report(content, kept, as_json=as_json):
        columns = ["clips", "subset", "rows", "of", "top-1", "top-5", "mean class"]
        title = f"{content['command']}, {', '.join(content['labels'])}: {content['protocol']}"
        display.show_table(columns, figures_by_clips(content), title=title)


def _check_backbone(config: Probe, head: Head, protocol: str | None, asked: Mapping[str, Any]) -> None:
    if head.head != "normalized":
        raise click.UsageError(
            "--backbone needs --protocol, such as imagenet"
            if protocol is None
            else f"--backbone is for --head normalized, not {head.head}"
        )
    if asked["reduce"] != "mean":
        raise click.UsageError("--reduce is for --features: --backbone has a row a clip")
    if config.seeds != 1:
        raise click.UsageError("--seeds is for --features: --backbone is trained once, by --seed")


def _check_views(head: Head, asked: Mapping[str, Any]) -> None:
    if asked["views"] and head.head != "bn-dropout":
        raise click.UsageError("--view is for --head bn-dropout")


def _check_segments(head: Head, asked: Mapping[str, Any]) -> None:
    if asked["segments"] is not None and head.head != "linear":
        raise click.UsageError(f"--segments is for --head linear: {head.head} predicts whole clips")


def _title(content: Mapping[str, Any], value: str) -> str:
    """Of the figures below those by k or alpha."""
    if value == "alpha" or "oracle" in content:
        return f"oracle: best {value} on test; validation: that of a tenth of train"
    return f"k = {content['k']}" if "k" in content else "the class of the nearest"


def show(content: Mapping[str, Any], folder: Path | None, *, as_json: bool) -> None:
    """A report as JSON, or as tables."""
    kept = "" if folder is None else f"report, predictions and pictures are in {folder}"
    if not display.show_report(content, kept, as_json=as_json):
        return
    arguments = content["arguments"]
    title = f"{content['command']}, {arguments['label']}: {content['protocol']}"
    for value in ("k", "alpha"):
        if f"by_{value}" in content:
            by_value = sorted(content[f"by_{value}"], key=lambda entry: entry[value])
            columns = [name.replace("_", " ") for name in by_value[0]]
            display.show_table(columns, [[*entry.values()] for entry in by_value], title=title)
            title = _title(content, value)
    names = (
        "oracle",
        "oracle_k",
        "oracle_alpha",
        "validation",
        "validation_k",
        "validation_alpha",
        "accuracy",
        "top5",
        "accuracy_deviation",
        "mean_class_accuracy",
        "majority",
        "chance",
        "rows",
        "train_rows",
    )
    display.show_mapping({n.replace("_", " "): content[n] for n in names if n in content}, title=title)
    classes = content["classes"]
    columns = [name for name in ("class", "train_rows", "rows", "recall", "precision") if name in classes[0]]
    shown = [[entry[column] for column in columns] for entry in classes[:CLASSES_SHOWN]]
    pooled = f"by class, {content['seeds']} seeds together" if content.get("seeds", 1) > 1 else "by class"
    display.show_table([column.replace("_", " ") for column in columns], shown, title=pooled)
    if len(classes) > CLASSES_SHOWN:
        display.note(f"and {len(classes) - CLASSES_SHOWN} more classes; --json or --out have them all")
