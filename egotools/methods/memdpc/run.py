"""Pre-training of MemDPC from videos to a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors.torch import save
from torch import Tensor

from egotools.config import file_digest, options_of
from egotools.errors import RunError, TrainingError
from egotools.extractors.backbone import DEFAULT, View, write_backbone
from egotools.loading.files import Files
from egotools.machine import choose_device, usable_cores
from egotools.manifests.table import read_manifest
from egotools.methods.memdpc.clips import (
    PRETRAINING,
    Usable,
    check_any,
    examples_of,
    files_for,
    keep_files,
    of_splits,
    usable,
)
from egotools.methods.memdpc.network import WAYS, Pretraining
from egotools.methods.memdpc.options import MemDPCOptions, Sampling
from egotools.methods.memdpc.training import Trained, order_of, pretrain
from egotools.plots import curves_picture
from egotools.progress import Progress, no_progress
from egotools.provenance import versions
from egotools.stores.store import Recipe
from egotools.tables.table import input_digests, manifest_digest
from egotools.training import learned_from
from egotools.training.how import How
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run, once
from egotools.training.world import ALONE, World
from egotools.types import Clip
from egotools.weights.memdpc import load_memdpc, read_memdpc
from egotools.weights.run_files import RUN

METHOD = "memdpc"
NETWORK, BEST, PICTURE = "memdpc.safetensors", "memdpc.best.safetensors", "training.png"
MOST_WORKERS = 16
PANELS = {
    "loss": ("loss", "val_loss", "position_plateau"),
    "share of predictions that are right": (*(f"top1_{way}" for way in WAYS), "val_top1"),
    "share whose clip is right": (*(f"clip_{way}" for way in WAYS), "val_clip"),
}

Content = dict[str, Any]  # a report; Any: JSON values


class Shown(TypedDict):
    """`report.json`, as far as it is shown. Any: JSON values."""

    remarks: list[str]
    clips: int
    val_clips: int
    steps: int
    last: dict[str, Any]
    val: dict[str, Any]
    best: dict[str, Any]


def train_memdpc(
    folder: Path,
    manifest: Path,
    options: MemDPCOptions,
    *,
    init: str | None = None,
    workers: int | None = None,
    how: How = How(),  # noqa: B008 - frozen
    seed: int = 0,
    device: str = "auto",
    preset: str | None = None,
    world: World = ALONE,
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Pre-trains a network on the clips of a manifest, kept as a run in `folder`.

    Args:
        folder: of the run.
        manifest: of the split `train` if there is one; `val` is validated on.
        options: what is learned, and how.
        init: begin with the weights of a checkpoint, a file or `run:DIR`.
        workers: processes that read; None: as many as the machine has cores for. It changes nothing else.
        how: precision, gradients, logging.
        seed: of the network, the order of clips, and all draws.
        device: where it is trained; of a process among others, that of `world`.
        preset: reported only.
        world: the processes that train together, each of which calls this.
        progress: is told the steps.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is, one that was
        interrupted is resumed.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TrainingError: no clip has enough frames, or there are too few for a batch.
        WeightsError: `init` is of another depth or memory.
    """
    chosen = choose_device(world.device if world.size > 1 else device)
    clips = read_manifest(manifest)
    arguments = arguments_of(options, how, seed, init, world)
    identity = {"method": METHOD, **arguments, "manifest": manifest_digest(manifest)}
    origin: Content = {"manifest": str(manifest.absolute()), "versions": versions()}
    origin |= {name: value for name, value in (("preset", preset), ("init", init)) if value is not None}
    readers = workers_of(world) if workers is None else workers

    def make(run: Run) -> Content:
        files = files_for(run.path, clips, workers=readers, world=world, progress=progress)
        train, val, remarks = found_clips(clips, files, options, str(manifest))
        order_of(examples_of(train.found, options, PRETRAINING), options, how, seed=seed, world=world)
        model = new_network(options, init, seed, chosen)
        if world.is_first:
            keep_files(run.path, files)
        with torch.random.fork_rng(devices=[chosen] if chosen.type == "cuda" else []):
            torch.manual_seed(seed + (world.rank << 32))  # dropout: each process has its own
            trained = pretrain(
                model,
                examples_of(train.found, options, PRETRAINING),
                examples_of(val.found, options, PRETRAINING) if val.found else None,
                options,
                seed=seed,
                run=run,
                workers=readers,
                how=how,
                world=world,
                progress=progress,
            )
        if world.is_first:
            write_run(run, model, trained, options, train.ids)
        report = _report(run, train, val, remarks, trained, model)
        inputs = input_digests(manifest, [])
        return {**report, "arguments": arguments, "inputs": {"manifest": inputs["manifest"]}, "versions": versions()}

    return once(folder, Recipe(identity, origin), make, Shown, world)


def arguments_of(options: Sampling, how: How, seed: int, init: str | None, world: World = ALONE) -> Content:
    """What makes two trainings the same, beside the manifest. The weights to begin with count by their content."""
    begun = None if init is None else file_digest(init_file(init))
    together = {"processes": world.size} if world.size > 1 else {}
    return {**options_of(options), **how.identity, "seed": seed, "init": begun, **together}


def init_file(init: str) -> Path:
    """The checkpoint that `--init` says: a file, or the network of a run of `train memdpc`.

    Raises:
        TrainingError: there is no such file.
        RunError: the run is not done, or of another method.
    """
    if not init.startswith(RUN):
        if not Path(init).is_file():
            raise TrainingError(f"--init {init}: no such file; give a checkpoint, or run:DIR")
        return Path(init)
    folder = Path(init.removeprefix(RUN))
    if not Run.exists(folder):
        raise RunError(f"--init {init}: {folder} is no run: it has no config.json")
    run = Run.of_method(folder, METHOD, Any)
    if not (run.path / NETWORK).is_file():
        raise RunError(f"--init {init}: {folder} is not done: it has no {NETWORK}; rerun its command to resume")
    return run.path / NETWORK


def workers_of(world: World) -> int:
    """Reading processes of each process that trains: the cores that it does not need itself."""
    return max(min(usable_cores() // world.size - 1, MOST_WORKERS), 0)


def found_clips(clips: Sequence[Clip], files: Files, options: Sampling, where: str) -> tuple[Usable, Usable, list[str]]:
    """Clips to learn from, clips to validate on, and remarks.

    Raises:
        TrainingError: none is left to learn from.
    """
    learned, held, remark = of_splits(clips)
    train, val = usable(learned, files, options), usable(held, files, options)
    check_any(train, options, where)
    remarks = [remark] if remark else []
    remarks += [*train.remarks, *(f"of the split val: {each}" for each in val.remarks)]
    if isinstance(options, MemDPCOptions) and options.gather_negatives and not torch.distributed.is_initialized():
        remarks.append("--gather-negatives changes nothing: there is one process")
    if not val.found:
        remarks.append(f"no clip of the split 'val'{' is left' if held else ''}: not validated, and no best epoch kept")
    return train, val, remarks


def new_network(options: MemDPCOptions, init: str | None, seed: int, device: torch.device) -> Pretraining:
    """The network before its first step: drawn by the seed, or with the weights of a checkpoint."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Pretraining(
            options.depth,
            predicted=options.predict,
            slots=options.slots,
            gathers_negatives=options.gather_negatives and torch.distributed.is_initialized(),
        )
    if init is not None:
        load_memdpc(model, read_memdpc(init_file(init)))
    return model.to(device)


def write_run(run: Run, model: Pretraining, trained: Trained, options: MemDPCOptions, ids: Sequence[str]) -> None:
    """The network after the last step, that of the best epoch, what extractors need of the former, and a picture."""
    state = model.state_dict()
    run.write(NETWORK, save(plain_tensors(state)))
    if trained.weights:
        run.write(BEST, save(plain_tensors(trained.weights)))
    kept = {name: value for name, value in state.items() if name.startswith(("backbone.", "agg_f.", "agg_b."))}
    write_backbone(run.path, {DEFAULT: View("memdpc", view_of(options))}, kept)
    learned_from.keep(run, {"": LearnedFrom(tuple(ids))})
    run.write(PICTURE, picture_of(run))


def view_of(options: Sampling) -> Content:
    """The options of the extractor that show its network what it was trained on."""
    return {name: getattr(options, name) for name in ("net", "size", "blocks", "length", "stride")}


def plain_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As safetensors takes them: on the CPU, none sharing memory."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def picture_of(run: Run) -> bytes:
    """Losses and shares by step; where a line has no such figure, the one before it stays."""
    lines: list[Content] = []
    for line in run.metrics():
        lines.append({**(lines[-1] if lines else {}), **line})
    panels = {}
    for title, names in PANELS.items():
        there = [name for name in names if any(line.get(name) is not None for line in lines)]
        panels[title] = {
            name: [float("nan") if line.get(name) is None else line[name] for line in lines] for name in there
        }
    return curves_picture([line["step"] for line in lines], panels, across="step", title="train memdpc")


def _report(run: Run, train: Usable, val: Usable, remarks: list[str], trained: Trained, model: Pretraining) -> Content:
    lines = [line for line in run.metrics() if "loss" in line]
    return {
        "command": "train memdpc",
        "clips": len(train.found),
        "val_clips": len(val.found),
        "left_out": {"short": [*train.short, *val.short], "unreadable": {**train.failed, **val.failed}},
        "steps": trained.steps,
        "parameters": sum(each.numel() for each in model.parameters()),
        "last": {name: value for name, value in lines[-1].items() if not name.startswith("val_")},
        "val": trained.last,
        "best": trained.best,
        "remarks": remarks,
    }
