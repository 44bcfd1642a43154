"""Pre-training of RepLAI from videos with sound to a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch

from egotools.errors import TrainingError
from egotools.loading.files import Files
from egotools.loading.order import Order
from egotools.methods.from_video import Content, Course, Running, Task, of_splits, train_task
from egotools.methods.initial import initial_weights
from egotools.methods.replai.examples import MomentExamples, Usable, finish, usable
from egotools.methods.replai.export import Seen, keep_network
from egotools.methods.replai.network import Pretraining
from egotools.methods.replai.options import ReplaiOptions
from egotools.methods.replai.training import optimizer_for, rate_at, schedule_remarks
from egotools.tables.matching import numbered_inputs
from egotools.texts import counted
from egotools.training import learned_from
from egotools.training.how import How
from egotools.training.learned_from import LearnedFrom
from egotools.training.learning import Trained, learn, order_of
from egotools.training.runs import Run
from egotools.training.seeding import seeded
from egotools.training.world import ALONE, World
from egotools.types import Clip
from egotools.weights.replai import TENSORS, ReplaiWeights, load_sound, load_video, read_replai

if TYPE_CHECKING:
    from typing_extensions import Unpack

METHOD = "replai"
PANELS = {"loss": ("loss", "clr_loss", "aot_loss"), "learning rate": ("learning_rate",)}
LEAST = 2  # clips of a batch
SAMPLER_SEED = 93823982  # of the published sampler, in one process; in several it is 0


class Shown(TypedDict):
    """`report.json`, as far as it is shown. Any: JSON values."""

    remarks: list[str]
    clips: int
    steps: int
    last: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Clips to learn from, the same as examples, and what is to be said of them."""

    clips: Usable
    examples: MomentExamples
    remarks: list[str]


def train_replai(
    folder: Path,
    manifest: Path,
    options: ReplaiOptions,
    *,
    moments: Path | None = None,
    init: str | None = None,
    **running: Unpack[Running],
) -> tuple[Content, bool]:
    """Pre-trains both networks on the clips of a manifest, kept as a run in `folder`.

    Args:
        folder: of the run.
        manifest: of the split `train` if there is one, or else all but `val` and `test`.
        options: what is learned, and how.
        moments: a cache of the extractor `moments`; needed unless times are drawn at random.
        init: begin with the weights of a checkpoint of RepLAI or AVID, a file or `run:DIR`.
        running: how and where, the keywords of `train_task`.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is, one that was
        interrupted is resumed.

    Raises:
        ValueError: there are no `moments`.
        RunError: the folder holds a run with other options, or other files.
        TableError: `moments` is of other clips.
        TrainingError: no clip has a moment, or only one.
        WeightsError: `init` is of other networks, or lacks one.
    """
    is_heard = options.moi == "audio"
    if is_heard and moments is None:
        raise ValueError("--moments is needed, a cache of 'egotools extract ... moments'; or --without moments")
    told = [] if is_heard or moments is None else ["--moments is not read: times are drawn at random"]
    caches = [moments] if is_heard and moments is not None else []
    task = _task(options, manifest, caches[0] if caches else None, init, told)
    return train_task(folder, manifest, task, **running)


def _task(
    options: ReplaiOptions, manifest: Path, cache: Path | None, init: str | None, told: list[str]
) -> Task[Pretraining, Prepared]:
    """What is learned; `told` are remarks, to which the network's are added when it is made."""
    begun = None if init is None else (init, init_file(init))

    def prepare(clips: Sequence[Clip], files: Files) -> Prepared:
        return prepared_clips(clips, files, options, cache, str(manifest))

    def network(_: Prepared, on: torch.device, seed: int) -> Pretraining:
        weights = None if begun is None else read_replai(begun[1])
        told.extend([] if weights is None else head_remarks(weights, options))
        return new_network(options, weights, seed, on)

    def trained(model: Pretraining, prepared: Prepared, course: Course) -> Trained:
        order = order_for(len(prepared.examples), options, course.how, seed=course.seed, world=course.world)
        if order.batch_size < options.batch_size:
            told.append(f"batches of {order.batch_size}, not {options.batch_size}: there are no more clips")
        told.extend(schedule_remarks(options, order.per_epoch / course.how.accumulate))
        return pretrain(model, prepared.examples, options, order, course)

    def written(run: Run, model: Pretraining, prepared: Prepared, _: Trained) -> None:
        shown = (options.size, options.frames, options.video_duration, options.audio_duration)
        keep_network(run, model.state_dict(), Seen(*shown, options.min_size, options.eval_interpolation))
        learned_from.keep(run, {"": LearnedFrom(tuple(prepared.clips.ids))})

    def report(run: Run, model: Pretraining, prepared: Prepared, trained: Trained) -> Content:
        return {**figures(run, model, prepared, trained), "remarks": [*prepared.remarks, *told]}

    inputs = None if cache is None else numbered_inputs([cache])
    return Task(
        METHOD,
        options,
        prepare,
        network,
        trained,
        written,
        report,
        PANELS,
        init=begun,
        caches=[] if cache is None else [cache],
        inputs=inputs,
        reads_sound=True,
        order=order_for,
        shape=Shown,
    )


def pretrain(
    model: Pretraining, examples: MomentExamples, options: ReplaiOptions, order: Order, course: Course
) -> Trained:
    """Trains the module, changed in place. Raises as `learn`."""
    return learn(
        model,
        examples,
        None,
        options,
        optimizer_for(model, options),
        finish=partial(finish, sampling=options, device=next(model.parameters()).device),
        rate=partial(rate_at, options=options),
        order=order,
        **vars(course),
    )


def prepared_clips(
    clips: Sequence[Clip], files: Files, options: ReplaiOptions, cache: Path | None, where: str
) -> Prepared:
    """The clips that have a moment, as examples; others are named and counted.

    Raises:
        TrainingError: there are none.
        TableError: as `usable`.
    """
    learned, held, remark = of_splits(clips)
    there = usable(learned, files, options, cache)
    remarks = [*([remark] if remark else []), *there.remarks]
    if not there.found:
        why = "; ".join(there.remarks) or "those of the splits val and test are not learned from"
        raise TrainingError(f"{where}: no clip to learn from is left: {why}")
    if held:
        remarks.append("the split val is not used: 'egotools eval replai' evaluates it")
    return Prepared(there, MomentExamples(there.found, options), remarks)


def order_for(examples: int, options: ReplaiOptions, how: How, *, seed: int, world: World = ALONE) -> Order:
    """The batches of all epochs, in the order of our seed or in the published one.

    With fewer examples than a batch, all of them are one.

    Raises:
        TrainingError: there are not two for each process, so that there is no sound to tell from another.
    """
    together = examples // world.size
    if together < LEAST:
        each = "" if world.size == 1 else f" for each of {world.size} processes"
        raise TrainingError(
            f"{counted(examples, 'clip')} to learn from, but sounds are told apart: at least {LEAST} are needed{each}"
        )
    if together < options.batch_size:
        options = replace(options, batch_size=together)
    if not options.torch_order:
        return order_of(examples, options, how, seed=seed, world=world)
    own = SAMPLER_SEED if world.size == 1 else 0
    return order_of(examples, options, how, seed=own, world=world, draws="torch")


def init_file(init: str) -> Path:
    """The checkpoint that `--init` says: a file, or the networks of a run of `train replai`.

    Raises:
        TrainingError, RunError: as `initial_weights`.
    """
    return initial_weights(init, TENSORS, (METHOD,))


def new_network(options: ReplaiOptions, weights: ReplaiWeights | None, seed: int, device: torch.device) -> Pretraining:
    """The module before its first step: drawn by the seed, or with the weights of a checkpoint.

    Both networks are taken from it, and the heads if it has all of them, as wide as these; otherwise heads are drawn.

    Raises:
        WeightsError: the checkpoint lacks one of the networks, or has another one.
    """
    with seeded(seed):
        model = Pretraining(
            options.depth,
            options.audio_net,
            width=options.out_dim,
            temperature=options.temperature,
            weights=options.weights,
            gathers_gradients=options.gather_grad,
            is_together=torch.distributed.is_initialized(),
        )
    if weights is not None:
        load_video(model.video, weights)
        load_sound(model.audio, weights)
        if has_heads(weights, options):
            model.mlp.load_state_dict(weights.heads)
    return model.to(device)


def has_heads(weights: ReplaiWeights, options: ReplaiOptions) -> bool:
    """Whether a checkpoint has the heads of a training with these options."""
    with torch.device("meta"):
        own = Pretraining(options.depth, options.audio_net, width=options.out_dim).mlp.state_dict()
    return {name: value.shape for name, value in own.items()} == {
        name: value.shape for name, value in weights.heads.items()
    }


def head_remarks(weights: ReplaiWeights, options: ReplaiOptions) -> list[str]:
    """What becomes of the heads where a training begins with a checkpoint."""
    if has_heads(weights, options):
        return ["--init: both networks and the heads are taken"]
    why = "has other heads" if weights.heads else "has none of RepLAI's heads"
    return [f"--init: both networks are taken; the heads are new, as {weights.source} {why}"]


def figures(run: Run, model: Pretraining, prepared: Prepared, trained: Trained) -> Content:
    """The report of a training, but for the remarks."""
    there = prepared.clips
    lines = [line for line in run.metrics() if "loss" in line]
    return {
        "clips": len(there.found),
        "left_out": {"silent": there.silent, "without_moment": there.empty, "unreadable": there.failed},
        "moments": sum(0 if each.moments is None else len(each.moments) for each in there.found) or None,
        "steps": trained.steps,
        "parameters": sum(each.numel() for each in model.parameters()),
        "last": lines[-1],
    }
