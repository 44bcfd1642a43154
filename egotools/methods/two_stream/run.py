"""View-invariance pre-training from files to a run."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict

import torch

from egotools.config import file_digest
from egotools.errors import TableError
from egotools.machine import choose_device
from egotools.methods.records import write_records
from egotools.methods.two_stream.options import TwoStream
from egotools.methods.two_stream.pairs import Pairs, pooled_views, read_pairs
from egotools.methods.two_stream.refiner import RefinerFacts, write_refiner
from egotools.methods.two_stream.training import Pretrained, TwoStreams, pretrain
from egotools.nn.view_invariance import SIZES
from egotools.plots import curves_picture
from egotools.progress import Progress, no_progress
from egotools.stores.store import Recipe
from egotools.tables.matching import numbered_inputs
from egotools.training import learned_from
from egotools.training.epochs import steps_of
from egotools.training.how import How, how_for
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run, once, provenance_of, run_recipe
from egotools.training.seeding import seeded

METHOD = "two-stream"
PICTURE = "training.png"
DRAWN = {  # figures of the epochs, by the plot that they are in
    "losses": ("val_reconstruction", "val_invariance", "val_distillation"),
    "distance of the views, 1: as two slots at random": ("val_relative_distance", "val_raw_relative_distance"),
    "variance of the features": ("val_variance", "val_raw_variance"),
}

Content = dict[str, Any]  # a report; Any: JSON values


class Shown(TypedDict):
    """`report.json`, as far as it is shown. Any: JSON values."""

    remarks: list[str]
    recordings: int
    items: int
    val_items: int
    before: dict[str, Any]
    last: dict[str, Any]
    best: dict[str, Any]


def train_two_stream(
    folder: Path,
    manifest: Path,
    caches: Sequence[Path],
    config: TwoStream,
    *,
    segments: Path | None = None,
    how: How = How(),  # noqa: B008 - frozen
    seed: int = 0,
    device: str = "auto",
    preset: str | None = None,
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Learns a refiner from synchronised views, kept as a run in `folder`; its origin names the `preset` if any.

    Args:
        folder: of the run.
        manifest: clips with the columns `recording` and `view`.
        caches: their features are concatenated.
        config: what is learned, and how.
        segments: annotated stretches to learn from, without their labels; None: whole recordings.
        how: precision, gradients, logging.
        seed: of the networks, orders, zooms and dropout.
        device: where it is trained.
        preset: reported only.
        progress: is told the epochs.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is, one that was
        interrupted is resumed.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TableError: views that cannot be paired, or features of a width that the networks cannot have.
    """
    chosen = choose_device(device)
    how, told = how_for(how, chosen)
    pairs = read_pairs(manifest, caches, segments, config)
    _check(pairs, config, how)
    arguments = {**config.as_done(), **how.identity, "seed": seed}
    recipe = _recipe(arguments, manifest, caches, segments, preset)

    def make(run: Run) -> Content:
        trained, model = _trained(run, pairs, config, seed=seed, how=how, device=chosen, progress=progress)
        write_records(run, caches)
        learned_from.keep(run, {"": LearnedFrom(tuple(pairs.ids), "recording", tuple(sorted(pairs.recordings)))})
        run.write(PICTURE, _picture(run, config))
        _write_refiner(run, model, trained, pairs.width, config)
        report = {**_report(pairs, trained, model, config), "precision_used": how.precision}
        report["remarks"] += told
        return {**report, **provenance_of(arguments, manifest, caches)}

    return once(folder, recipe, make, Shown)


def _trained(
    run: Run, pairs: Pairs, config: TwoStream, *, seed: int, how: How, device: torch.device, progress: Progress
) -> tuple[Pretrained, TwoStreams]:
    with ExitStack() as stack, seeded(seed, device):
        train = val = stack.enter_context(pooled_views(pairs.train, pairs.caches, run.path / "pooled"))
        if pairs.val is not pairs.train:
            val = stack.enter_context(pooled_views(pairs.val, pairs.caches, run.path / "pooled-val"))
        model = TwoStreams(pairs.width, config).to(device)
        return pretrain(model, train, val, config, seed=seed, run=run, how=how, progress=progress), model


def _check(pairs: Pairs, config: TwoStream, how: How) -> None:
    """Refuses what could not be trained, before anything is written."""
    steps_of(len(pairs.train), config.batch_size, how)
    sizes = SIZES[config.size]
    widths = {"gate": 2 * pairs.width, "simple_gate": 2 * pairs.width, "volume": sizes.expansion * pairs.width}
    for name in ("refiner", "gate", "simple_gate", "volume", "out"):
        heads = getattr(sizes, name).heads
        if widths.get(name, pairs.width) % heads:
            raise TableError(
                f"features of width {pairs.width} cannot be shared among the {heads} attention heads of --size"
                f" {config.size}; take {'--size small or ' if config.size == 'paper' else ''}features of a width that"
                f" {heads} divides"
            )


def _recipe(
    arguments: Content, manifest: Path, caches: Sequence[Path], segments: Path | None, preset: str | None
) -> Recipe:
    places = {} if segments is None else {"segments": str(segments.absolute())}
    identity = {**arguments, "segments": None if segments is None else file_digest(segments)}
    return run_recipe(METHOD, identity, manifest, caches, numbered_inputs(caches), preset=preset, **places)


def _write_refiner(run: Run, model: TwoStreams, trained: Pretrained, width: int, config: TwoStream) -> None:
    sizes = SIZES[config.size]
    stack = (sizes.refiner.layers, sizes.refiner.heads, sizes.feedforward, config.dropout)
    views = (config.student, config.teacher, config.third or "")
    facts = RefinerFacts(width, *stack, config.attention_axis, config.objective, *views)
    write_refiner(run, model.refiner, facts, trained.weights)


def _report(pairs: Pairs, trained: Pretrained, model: TwoStreams, config: TwoStream) -> Content:
    counts = {name: sum(each.numel() for each in part.parameters()) for name, part in model.named_children()}
    return {
        "command": "train two-stream",
        "objective": config.objective,
        "views": list(config.views),
        "recordings": len(pairs.recordings),
        "items": len(pairs.train),
        "val_items": len(pairs.val),
        "rows": sum(len(views[0]) for views in pairs.train),
        "width": pairs.width,
        "parameters": counts,
        "before": trained.before,
        "last": trained.last,
        "best": trained.best,
        "remarks": list(pairs.remarks),
    }


def _picture(run: Run, config: TwoStream) -> bytes:
    """Losses, distance of the views and variance by epoch."""
    lines = [line for line in run.metrics() if "epoch" in line]
    epochs = [line["epoch"] for line in lines]
    panels = {
        title: {name.removeprefix("val_"): [line[name] for line in lines] for name in names if name in lines[0]}
        for title, names in DRAWN.items()
    }
    return curves_picture(epochs, panels, across="epoch", title=f"train two-stream, {config.objective}")
