"""A network that recognizes clips, evaluated on a manifest: from a run to a report.

Axes: N clips, K windows of a clip, C classes of a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from egotools.config import finite
from egotools.errors import RunError, TableError
from egotools.evaluate.leakage import shared_remarks, unlearned
from egotools.evaluate.several_labels import Evaluated, SeveralLabels
from egotools.evaluate.splits import to_evaluate
from egotools.loading.items import why_unread
from egotools.loading.kept_files import files_of
from egotools.loading.loader import loader
from egotools.loading.order import Order
from egotools.machine import choose_device, reading_processes
from egotools.manifests.table import read_manifest
from egotools.methods.labels import labeled
from egotools.methods.recognition.clips import EvaluatedExamples, clips_of, times_of
from egotools.methods.recognition.network import Recognition
from egotools.methods.recognition.options import RecognitionOptions
from egotools.methods.recognition.run import ANY, BEST, CLASSES, METHOD, NETWORK, ClassesShape
from egotools.methods.usable import NAMED, usable
from egotools.progress import Progress, no_progress
from egotools.tables.table import Table, table_of_clips
from egotools.texts import counted, named
from egotools.training import learned_from
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run, provenance_of
from egotools.types import Clip, FloatArray
from egotools.weights.tensors import read_tensors

CLIPS = 10  # windows of a clip, unless told otherwise
AT_ONCE = 8  # windows that the network sees at a time

Content = dict[str, Any]  # a report; Any: JSON values


@dataclass(frozen=True, eq=False)
class Recognizer:
    """The run of a training that is done, its network in eval mode."""

    network: Recognition
    options: RecognitionOptions
    classes: ClassesShape
    weights: str
    learned: LearnedFrom | None


def is_of_windows(folder: Path) -> bool:
    """Whether a folder holds a run of `train_recognition`.

    Raises:
        RunError: it holds no run.
    """
    identity = Run.open(folder).recipe.identity
    return identity.get("method") == METHOD and str(identity.get("net")).startswith("r2plus1d")


def evaluate_recognition(
    folder: Path,
    manifest: Path,
    *,
    clips: Sequence[int] = (),
    test_split: str | None = None,
    all_rows: bool = False,
    weights: str = "best",
    batch_size: int = AT_ONCE,
    workers: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = no_progress,
) -> Evaluated:
    """What the network of a run says of clips that it was not trained on.

    Args:
        folder: the run.
        manifest: which clips.
        clips: for each number, the class probabilities of so many evenly spaced windows are averaged; 1: of one drawn
            at random by `seed`, as published. Empty: 10.
        test_split: which split; None: test, else val, or all if there is neither.
        all_rows: also evaluate the clips that it was trained on.
        weights: those of the `best` epoch, if the run was validated, or the `last` ones.
        batch_size: windows that the network sees at a time; it changes nothing else.
        workers: processes that read; None: as many as the machine has cores for.
        seed: of the single windows.
        device: to compute on.
        progress: is told the clips.

    Raises:
        RunError: no such run, or a damaged one.
        TableError: no clip can be evaluated.
    """
    trained, chosen = open_run(folder, weights=weights), choose_device(device)
    trained.network.to(chosen)
    readers = reading_processes() if workers is None else workers
    protocol, wanted, remarks = _wanted(trained, manifest, test_split, all_rows=all_rows)
    there = usable(wanted, files_of(wanted, workers=readers, progress=progress), ANY)
    counts = tuple(dict.fromkeys(clips)) or (CLIPS,)
    if not there.found:
        raise TableError(f"no clip is left to evaluate: {'; '.join(there.remarks)}")
    examples = EvaluatedExamples(there.found, trained.options, counts, seed)
    found = _probabilities(trained, examples, batch_size, readers, progress)
    remarks += [*there.remarks, *found.remarks]
    entries = []
    for count in counts:
        predictions = SeveralLabels.of(found.table, trained.classes["labels"], found.means[count])
        entries.append({"clips": count, "is_random": count == 1, **predictions.figures()})
    remarks += predictions.remarks
    arguments = {"run": str(folder), "clips": list(counts), "weights": trained.weights, "seed": seed}
    arguments |= {"test_split": test_split, "all_rows": all_rows}
    content = {
        "command": "eval action",
        "protocol": f"the {trained.weights} weights{protocol}",
        "labels": list(trained.classes["labels"]),
        "rows": len(found.table),
        "clips": entries,
        "constant": SeveralLabels.constant(found.table, trained.classes["labels"], trained.classes["clips"]).figures(),
        "remarks": remarks,
        **provenance_of(arguments, manifest),
    }
    return Evaluated(finite(content), predictions)


def open_run(folder: Path, *, weights: str = "best") -> Recognizer:
    """The network of a run, in eval mode.

    Raises:
        RunError: there is none, of another method, not done, or damaged.
        WeightsError: its weights cannot be used.
    """
    run = Run.of_method(folder, METHOD, dict[str, Any])
    run.report()  # says so if it is not done
    classes: ClassesShape = run.read(CLASSES, ClassesShape)
    options = run.options(RecognitionOptions)
    is_best = weights == "best" and (folder / BEST).is_file()
    path = folder / (BEST if is_best else NETWORK)
    with torch.device("meta"):
        network = Recognition(options, {label: len(names) for label, names in classes["labels"].items()})
    try:
        network.load_state_dict(read_tensors(path), assign=True)
    except RuntimeError as error:
        raise RunError(f"{path} does not fit {CLASSES} and config.json: {' '.join(str(error).split())}") from error
    learned = learned_from.read(run)
    known = None if learned is None else learned[""]
    return Recognizer(network.eval(), options, classes, "best" if is_best else "last", known)


@dataclass(frozen=True, eq=False)
class _Found:
    """Clips, by number of windows and by label their mean probabilities [N, C], and remarks."""

    table: Table
    means: Mapping[int, Mapping[str, FloatArray]]
    remarks: list[str]


def _wanted(
    trained: Recognizer, manifest: Path, test_split: str | None, *, all_rows: bool
) -> tuple[str, list[Clip], list[str]]:
    """On which split, the clips, and remarks on those that are left out."""
    clips = read_manifest(manifest)
    there, labels = clips, list(trained.classes["labels"])
    for label in labels:
        there = labeled(there, label, str(manifest), TableError)
    table = table_of_clips(there)
    split, rows = to_evaluate(table, test_split, all_rows=all_rows)
    kept, remarks = unlearned(table, trained.learned, rows, all_rows=all_rows)
    if trained.learned is not None:
        remarks += shared_remarks(table, labels[0], trained.learned.has(table), kept)
    has = {clip.id for clip in there}
    if left := [clip.id for clip in clips if clip.id not in has]:
        remarks.append(f"{counted(len(left), 'clip')} without a label left out: {named(left, NAMED)}")
    if split == "val" and trained.weights == "best":
        remarks.append("the best epoch was chosen by clips of the split val: that flatters it; --weights last does not")
    on = f", on {split}" if split else ""
    return on, [clip for clip, is_kept in zip(there, kept, strict=True) if is_kept], remarks


def _probabilities(
    trained: Recognizer, examples: EvaluatedExamples, batch_size: int, workers: int, progress: Progress
) -> _Found:
    order = Order(len(examples), 1, seed=0, epochs=1, shuffle=False)
    device = next(trained.network.parameters()).device
    batches = loader(examples, order, seed=0, workers=workers, device=device, finish=lambda batch: batch)
    found: dict[int, dict[int, list[FloatArray]]] = {}  # by number of the clip
    failed: dict[int, str] = {}
    progress("evaluating", 0, len(examples))
    for done, batch in enumerate(batches(0), 1):
        number = int(batch["clip"])
        if (why := why_unread(batch)) is not None:
            failed[number] = why
        else:
            found[number] = _means(trained, examples, batch["frames"][0], batch_size, device)
        progress("evaluating", done, len(examples))
    remarks = []
    if failed:
        why = named([*failed.values()], NAMED, between="; ")
        remarks.append(f"{counted(len(failed), 'clip')} left out: unreadable: {why}")
    if not found:
        raise TableError(f"no clip is left to evaluate: {'; '.join(remarks)}")
    kept = [examples.stretches[number] for number in found]
    table = table_of_clips([each.clip for each in kept], times=[times_of(each) for each in kept])
    means = {
        count: {
            label: np.stack([each[count][head] for each in found.values()])
            for head, label in enumerate(trained.classes["labels"])
        }
        for count in examples.counts
    }
    return _Found(table, means, remarks)


@torch.no_grad()
def _means(
    trained: Recognizer, examples: EvaluatedExamples, frames: Tensor, batch_size: int, device: torch.device
) -> dict[int, list[FloatArray]]:
    """By number of windows, mean probabilities float64 [C] of each label, of a clip's windows [K, T, S, S, 3]."""
    some = torch.split(frames, batch_size)
    parts = [trained.network.logits(clips_of(each, trained.options, device)) for each in some]
    whole = [torch.cat(of_label).double().softmax(1).cpu().numpy() for of_label in zip(*parts, strict=True)]
    return {count: [each[examples.windows_of(count)].mean(0) for each in whole] for count in examples.counts}
