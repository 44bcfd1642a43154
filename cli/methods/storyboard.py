"""`egotools train storyboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from egotools.methods.storyboard.options import StoryboardOptions
from egotools.texts import counted
from egotools.training.how import How

from .. import display, options
from ..configuration import MethodCommand
from ..progress import Progress


class LabeledSets(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """FILE:LABEL, a manifest and the column of its labels."""

    name = "file:label"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[Path, str]:
        if isinstance(value, tuple):
            return value
        file, _, label = str(value).rpartition(":")
        if not file or not label:
            self.fail(f"{value!r} is not FILE:LABEL, such as images.csv:label", param, context)
        return Path(file), label


@click.command("storyboard", cls=MethodCommand)
@options.manifest
@click.option("--segments", type=options.PATH, help="With --memory iid, a segments CSV whose labels are the classes.")
@click.option("--init", help="Begin with these weights: a checkpoint (step_*.pth, .safetensors, ...), or run:DIR.")
@options.from_fields(StoryboardOptions)
@click.option(
    "--eval-manifest",
    "evaluate",
    type=LabeledSets(),
    multiple=True,
    help="Labeled images with the splits train and test (or val), on which kNN and an SVM are evaluated; repeatable.",
)
@click.option("--eval-every", type=click.IntRange(1), help="Steps between two evaluations; by default at the end only.")
@click.option("--skip-unreadable", is_flag=True, help="Leave out what cannot be read, instead of ending.")
@options.from_fields(How, "how")
@click.option("--workers", type=click.IntRange(0, 1), default=1, help="Reading processes; 0: none.", show_default=True)
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: StoryboardOptions,
    manifest: Path,
    out: Path,
    evaluate: tuple[tuple[Path, str], ...],
    as_json: bool,
    **asked: Any,  # Any: what click parsed, the other keywords of `train_storyboard`
) -> None:
    """Memory Storyboard: learns from one long stream of video, seen once.

    The clips of the manifest, in its order, are the stream. Two memories keep frames of it, and segments of time are
    classes. 'egotools extract ... run:DIR' extracts features of the run.

    \b
    egotools train storyboard --manifest rc.csv --preset small --class-length 200 --out runs/rc
    egotools train storyboard --manifest kcam.csv --preset krishnacam --eval-manifest s.csv:label --out runs/kcam
    """
    from egotools.methods.storyboard.evaluation import EvalSet
    from egotools.methods.storyboard.run import train_storyboard

    if asked["segments"] is not None and config.memory != "iid":
        raise click.UsageError("--segments is for --memory iid; other memories find segments themselves")
    sets = [EvalSet(path, label) for path, label in evaluate]
    with Progress("steps", "reading") as progress:
        content, is_new = train_storyboard(out, manifest, config, evaluate=sets, progress=progress, **asked)
    display.say_done(out, is_new)
    show(content, out, as_json=as_json)


def show(content: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    """The report as JSON, or as a table of its figures."""
    kept = f"report, metrics, picture and weights are in {folder}"
    if not display.show_report(content, kept, as_json=as_json):
        return
    names = ("loss", "curr_loss", "tc_loss", "cross_loss", "replay_loss", "classes", "merged_classes")
    shown = {name: content["last"][name] for name in names if name in content["last"]}
    names_of = (counted(content[f"{each}s"], each) for each in ("frame", "clip", "step"))
    title = "train storyboard: {} of {}, {}".format(*names_of)
    display.show_mapping({**shown, **content["evaluation"]}, title=title)
