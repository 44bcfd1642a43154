"""Pre-training of MemDPC from videos to a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from egotools.loading.files import Files
from egotools.methods.from_video import Content, Course, Running, train_task
from egotools.methods.memdpc.clips import PRETRAINING, check_any, examples_of
from egotools.methods.memdpc.network import WAYS, Pretraining
from egotools.methods.memdpc.options import MemDPCOptions, Sampling
from egotools.methods.memdpc.tasks import Prepared, init_file, task_of
from egotools.methods.memdpc.training import pretrain
from egotools.methods.usable import Usable, found_clips
from egotools.training.learning import Trained
from egotools.training.seeding import seeded
from egotools.types import Clip
from egotools.weights.memdpc import load_memdpc, read_memdpc

if TYPE_CHECKING:
    from typing_extensions import Unpack

METHOD = "memdpc"
PANELS = {
    "loss": ("loss", "val_loss", "position_plateau"),
    "share of predictions that are right": (*(f"top1_{way}" for way in WAYS), "val_top1"),
    "share whose clip is right": (*(f"clip_{way}" for way in WAYS), "val_clip"),
}


def train_memdpc(
    folder: Path,
    manifest: Path,
    options: MemDPCOptions,
    *,
    init: str | None = None,
    **running: Unpack[Running],
) -> tuple[Content, bool]:
    """Pre-trains a network on the clips of a manifest, kept as a run in `folder`.

    Args:
        folder: of the run.
        manifest: of the split `train` if there is one; `val` is validated on.
        options: what is learned, and how.
        init: begin with the weights of a checkpoint, a file or `run:DIR`.
        running: how and where, the keywords of `train_task`.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is, one that was
        interrupted is resumed.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TrainingError: no clip has enough frames, or there are too few for a batch.
        WeightsError: `init` is of another depth or memory.
    """

    def prepare(clips: Sequence[Clip], files: Files) -> Prepared:
        train, val, remarks = clips_of_run(clips, files, options, str(manifest))
        examples = [examples_of(each.found, options, PRETRAINING) for each in (train, val)]
        return Prepared(train, val, remarks, examples[0], examples[1] if val.found else None)

    def trained(model: Pretraining, prepared: Prepared, course: Course) -> Trained:
        return pretrain(model, prepared.examples, prepared.val_examples, options, **vars(course))

    def network(_: Prepared, on: torch.device, seed: int) -> Pretraining:
        return new_network(options, init, seed, on)

    task = task_of(METHOD, options, prepare, network, trained, PANELS, init)
    return train_task(folder, manifest, task, **running)


def clips_of_run(
    clips: Sequence[Clip], files: Files, options: Sampling, where: str
) -> tuple[Usable, Usable, list[str]]:
    """Clips to learn from, clips to validate on, and remarks.

    Raises:
        TrainingError: none is left to learn from.
    """
    train, val, remarks = found_clips(clips, files, options.spans)
    check_any(train, options, where)
    if isinstance(options, MemDPCOptions) and options.gather_negatives and not torch.distributed.is_initialized():
        remarks.append("--gather-negatives changes nothing: there is one process")
    return train, val, remarks


def new_network(options: MemDPCOptions, init: str | None, seed: int, device: torch.device) -> Pretraining:
    """The network before its first step: drawn by the seed, or with the weights of a checkpoint."""
    with seeded(seed):
        model = Pretraining(
            options.depth,
            predicted=options.predict,
            slots=options.slots,
            gathers_negatives=options.gather_negatives and torch.distributed.is_initialized(),
        )
    if init is not None:
        load_memdpc(model, read_memdpc(init_file(init)))
    return model.to(device)
