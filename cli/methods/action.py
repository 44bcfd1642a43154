"""`egotools train action` and `egotools eval action`."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from egotools.methods.memdpc.options import ActionOptions, Viewing
from egotools.methods.recognition.options import RecognitionOptions
from egotools.training.how import How

from .. import display, options
from ..configuration import MethodCommand
from ..families import FamilyCommand, from_one_of
from ..progress import Progress
from .memdpc import init, titled, train_together, workers
from .probe import show as show_figures
from .probe import show_heads

FAMILIES = {"resnet": ActionOptions, "r2plus1d": RecognitionOptions}  # by what the values of --net begin with


@click.command("action", cls=FamilyCommand)
@options.manifest
@click.option(
    "--label",
    "labels",
    required=True,
    multiple=True,
    help="Manifest column that is the label; with r2plus1d several, such as verb and noun.",
)
@init
@from_one_of("net", FAMILIES)
@options.from_fields(How, "how")
@workers
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: ActionOptions | RecognitionOptions,
    manifest: Path,
    labels: tuple[str, ...],
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: init, how, workers, seed, device, preset
) -> None:
    """A classifier of clips, from videos: the last layers only, or all of the network with --finetune.

    Learned from is the split 'train' if the manifest has it, or else every clip that is not of 'val' or 'test'; the
    split 'val' is validated on. The last layers are new; without --init so is the rest.

    --net resnet18, resnet34 and resnet50 are MemDPC's networks, r2plus1d10, r2plus1d18 and r2plus1d34 RepLAI's and
    AVID's, with a layer for each --label. Options of only one of them bear its name.

    \b
    egotools train action --init run:runs/memdpc --finetune --manifest u.csv --label label --out runs/ft
    egotools train action --preset epic --init run:runs/replai --manifest e.csv --label verb_class --label noun_class
    --out runs/e
    torchrun --nproc-per-node 8 -m egotools train action --preset ego4d --init replai.pth --manifest a.csv
    --label verb_label --label noun_label --out runs/a
    """
    if isinstance(config, RecognitionOptions):
        from egotools.methods.recognition.run import train_recognition

        train_together(train_recognition, show, out, manifest, config, as_json=as_json, labels=labels, **asked)
        return
    if len(labels) > 1:
        raise click.UsageError(f"several --label are for --net r2plus1d..., not {config.net}")
    from egotools.methods.memdpc.action import train_action

    train_together(train_action, show, out, manifest, config, as_json=as_json, label=labels[0], **asked)


def show(content: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    """The report as JSON, or as a table of its figures."""
    if not display.show_report(content, f"report, metrics, picture and weights are in {folder}", as_json=as_json):
        return
    titles = {"last": "last batches", "val": "val, last", "best": "val, best"}
    shown = {titles[name]: content[name] for name in titles if content[name]}
    of_each = [f"{top}_{label}" for label in content.get("labels", []) for top in ("top1", "top5")]
    names = [*(("loss", *of_each, "top1_all") if len(of_each) > 2 else ("loss", "top1", "top5")), "step", "epoch"]
    rows = [[name, *(each.get(name, "") for each in shown.values())] for name in names]
    rows = [row for row in rows if any(cell != "" for cell in row[1:])]
    display.show_table(["", *shown], rows, title=titled("action", content))


@click.command("action", cls=MethodCommand)
@click.option("--run", required=True, type=options.FOLDER, help="A run of 'egotools train action', or 'train probe'.")
@options.manifest
@click.option("--features", multiple=True, type=options.PATH, help="Cache that the run was trained on.  [train probe]")
@click.option(
    "--clips",
    multiple=True,
    type=click.IntRange(1),
    help="Windows (or rows) of a clip whose probabilities are averaged; 1: one drawn at random; repeatable."
    "  [r2plus1d, train probe]",
)
@click.option("--label", help="Manifest column that is the label; by default that of the run.")
@options.from_fields(Viewing)
@click.option("--without-normalize", is_flag=True, help="Leave colors as they are, as the published test does.")
@click.option("--test-split", help="Split to evaluate on; by default test, else val.")
@click.option("--all-rows", is_flag=True, help="Evaluate also on the run's training clips, and on all splits.")
@click.option(
    "--fuse",
    multiple=True,
    type=options.PATH,
    help="Average with these: probabilities.json of another run, or its folder.",
)
@click.option(
    "--weights",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Of the best epoch on val, if there was a val, or those after the last step.",
)
@workers
@options.seed
@options.device
@options.out
@options.telling
@options.as_json
def evaluate(
    config: Viewing,
    manifest: Path,
    features: tuple[Path, ...],
    clips: tuple[int, ...],
    without_normalize: bool,
    out: Path | None,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: run, label, test_split, all_rows, fuse, weights, workers, seed, device
) -> None:
    """The classes of clips by a run of 'egotools train action': the mean over overlapping spans and crops.

    Evaluated are clips that it was not trained on: of the split test (else val) if the manifest has splits. --out
    keeps a probability for each class and clip, which --fuse averages with those of another run, such as of flow.

    A run of --net r2plus1d... is evaluated by windows of each clip (--clips, 10 by default). So is one of 'egotools
    train probe' with several labels, such as verb and noun, by rows of cached features.

    \b
    egotools eval action --run runs/ft --manifest u.csv --crops ten --out results/rgb
    egotools eval action --run runs/flow --manifest flow.csv --crops ten --fuse results/rgb
    egotools eval action --run runs/p --features caches/e/avid-video.lmdb --manifest e.csv --clips 1 --clips 10
    """
    from egotools.methods.probe.heads_run import is_of_heads
    from egotools.methods.recognition.evaluation import is_of_windows

    if is_of_heads(asked["run"]):
        return _evaluate_heads(manifest, features, clips, out, as_json=as_json, **asked)
    if features:
        raise click.UsageError("--features is for a run of 'egotools train probe' with several labels")
    if is_of_windows(asked["run"]):
        return _evaluate_windows(manifest, clips, config.batch_size, out, as_json=as_json, **asked)
    if clips:
        raise click.UsageError("--clips is for a run of --net r2plus1d..., or of 'egotools train probe'")
    from egotools.evaluate.report import save
    from egotools.methods.memdpc.evaluation import evaluate_action, save_probabilities

    options.keep_for_us(out)
    config = replace(config, normalize=not without_normalize)
    with Progress("clips", "reading") as progress:
        content, result, probabilities = evaluate_action(manifest=manifest, viewing=config, progress=progress, **asked)
    if out is not None:
        save_probabilities(out, probabilities)
        save(out, content, result)
    crops = content["crops"]
    if not as_json and len(crops) > 1:
        rows = [[name, *each.values()] for name, each in crops.items()]
        display.show_table(["crops", "top-1", "top-5", "mean class"], rows, title="this run alone, by crops")
    show_figures(content, out, as_json=as_json)


OF_HEADS = ("run", "manifest", "features", "clips", "test_split", "all_rows", "seed", "device", "out", "as_json")
OF_WINDOWS = (*(name for name in OF_HEADS if name != "features"), "weights", "workers", "batch_size")


def _refuse_others(names: Collection[str], whose: str) -> None:
    """Says which flag is not among those of a kind of run."""
    context = click.get_current_context()
    given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if others := [name for name in given if name not in names]:
        raise click.UsageError(f"--{others[0].replace('_', '-')} is for {whose}")


def _evaluate_windows(
    manifest: Path, clips: tuple[int, ...], batch_size: int, out: Path | None, *, as_json: bool, **asked: Any
) -> None:
    """Of a run of `train action` with an R(2+1)D network. Any: what click parsed."""
    from egotools.evaluate.several_labels import save
    from egotools.methods.recognition.evaluation import evaluate_recognition

    _refuse_others(OF_WINDOWS, "a run of --net resnet...")
    options.keep_for_us(out)
    names = ("test_split", "all_rows", "weights", "workers", "seed", "device")
    chosen = {name: asked[name] for name in names}
    with Progress("clips", "reading") as progress:
        found = evaluate_recognition(
            asked["run"], manifest, clips=clips, batch_size=batch_size, progress=progress, **chosen
        )
    if out is not None:
        save(out, found)
    show_heads(found.content, out, as_json=as_json)


def _evaluate_heads(
    manifest: Path, features: tuple[Path, ...], clips: tuple[int, ...], out: Path | None, *, as_json: bool, **asked: Any
) -> None:
    """Of a run of `train probe` with several labels. Any: what click parsed."""
    from egotools.evaluate.several_labels import save
    from egotools.methods.probe.heads_run import evaluate_heads

    _refuse_others(OF_HEADS, "a run of 'egotools train action', on videos")
    if not features:
        raise click.UsageError(f"give --features, the caches that {asked['run']} was trained on")
    options.keep_for_us(out)
    with Progress(stage="reading and evaluating"):
        chosen = {name: asked[name] for name in ("test_split", "all_rows", "seed", "device")}
        found = evaluate_heads(asked["run"], manifest, features, clips=clips, **chosen)
    if out is not None:
        save(out, found)
    show_heads(found.content, out, as_json=as_json)
