"""`egotools train replai` and `egotools eval replai`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from egotools.methods.replai.options import ReplaiOptions
from egotools.texts import counted
from egotools.training.how import How

from .. import display, options
from ..configuration import MethodCommand
from ..groups import Command
from ..progress import Progress
from .memdpc import init, train_together, workers

CACHE = "A cache of 'egotools extract ... moments' of this manifest"
TITLES = {
    "auc": "AUC of own and other sounds",
    "auc_within": "AUC within a recording",
    "r1": "R@1 of the own sound",
    "r5": "R@5 of the own sound",
    "r1_seen": "R@1 of the own frames",
    "r5_seen": "R@5 of the own frames",
    "order": "order of the change",
    "order_shuffled": "order, sounds of others",
    "order_opposite": "order, opposite sounds",
    "clr_loss": "loss of correspondence",
    "aot_loss": "loss of the state change",
}


@click.command("replai", cls=MethodCommand)
@options.manifest
@click.option("--moments", type=options.PATH, help=f"{CACHE}; not needed with --without moments.")
@init
@options.from_fields(ReplaiOptions)
@options.from_fields(How, "how")
@workers
@options.seed
@options.device
@options.run_out
@options.telling
@options.as_json
def train(
    config: ReplaiOptions,
    manifest: Path,
    moments: Path | None,
    out: Path,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: init, how, workers, seed, device, preset
) -> None:
    """RepLAI: frames and sound around moments of interaction, without labels.

    A network of frames and one of sound learn which sound belongs to what is seen, and whether the change from before
    a moment to after it fits its sound. Learned from is the split 'train' if the manifest has it, or else every clip
    that is not of 'val' or 'test'. Clips without sound or without a moment are named and left out.

    \b
    egotools extract --manifest m.csv --out caches/m moments
    egotools train replai --manifest m.csv --moments caches/m/moments.lmdb --preset small --out runs/r
    torchrun --nproc-per-node 4 -m egotools train replai --preset reference --init AVID_Audioset_Cross-N1024.pth.tar
    --manifest e.csv --moments caches/e/moments.lmdb --out runs/epic
    """
    from egotools.methods.replai.run import train_replai

    if config.moi == "audio" and moments is None:
        raise click.UsageError("--moments is needed, a cache of 'egotools extract ... moments'; or --without moments")
    train_together(train_replai, show, out, manifest, config, as_json=as_json, moments=moments, **asked)


def show(content: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    """The report as JSON, or as a table of its figures."""
    if not display.show_report(content, f"report, metrics, picture and weights are in {folder}", as_json=as_json):
        return
    names = ("loss", "clr_loss", "aot_loss", "learning_rate", "step")
    shown = {name: content["last"][name] for name in names if name in content["last"]}
    did = f"{counted(content['clips'], 'clip')}, {counted(content['steps'], 'step')}"
    display.show_mapping(shown, title=f"train replai: {did}; last batches")


@click.command("replai", cls=Command)
@click.option("--run", required=True, type=options.FOLDER, help="A run of 'egotools train replai'.")
@options.manifest
@click.option("--moments", required=True, type=options.PATH, help=f"{CACHE}.")
@click.option(
    "--per-clip",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Moments of each clip, the most prominent ones.",
)
@click.option("--untrained", is_flag=True, help="Evaluate the same networks before any training, too.")
@click.option("--direction", help="Manifest column that says in which direction the change of a clip goes.")
@click.option("--test-split", help="Split to evaluate on; by default test, else val.")
@click.option("--all-rows", is_flag=True, help="Evaluate also on the run's training clips, and on all splits.")
@workers
@options.device
@options.out
@options.telling
@options.as_json
def evaluate(
    manifest: Path,
    out: Path | None,
    as_json: bool,
    **asked: Any,  # Any: what click parsed: run, moments, per_clip, untrained, direction, test_split, all_rows, ...
) -> None:
    """What a run of 'egotools train replai' has learned: whose sound it is, and the order of changes.

    Evaluated are clips that it was not trained on: of the split test (else val) if the manifest has splits. If it was
    trained on all of them, all are evaluated, which is said.

    \b
    egotools eval replai --run runs/r --manifest m.csv --moments caches/m/moments.lmdb --untrained
    """
    from egotools.methods.replai.evaluation import evaluate_replai, save_report

    options.keep_for_us(out)
    with Progress("moments", "reading") as progress:
        content = evaluate_replai(manifest=manifest, progress=progress, **asked)
    if out is not None:
        save_report(out, content)
    if not display.show_report(content, f"the report is in {out}" if out else "", as_json=as_json):
        return
    shown = {"": content, **({"untrained": content["untrained"]} if "untrained" in content else {})}
    rows = [[title, *(each[name] for each in shown.values())] for name, title in TITLES.items() if name in content]
    title = f"eval replai: {counted(content['moments'], 'moment')} of {counted(content['clips'], 'clip')}"
    chance = f"chance of R@1 is {content['r1_chance']:.3g}, of R@5 {content['r5_chance']:.3g}; of AUC and order 0.5"
    display.show_table(["", "trained" if len(shown) > 1 else "run", *[*shown][1:]], rows, title=title)
    display.note(chance)
