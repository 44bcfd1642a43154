"""A classifier of clips evaluated on a manifest: from a run to a report. Axes: N clips, V views, C classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import torch

from egotools.config import options_of, to_json
from egotools.errors import TableError
from egotools.evaluate.classification import Predictions, Result, figures
from egotools.evaluate.leakage import shared_remarks, unlearned
from egotools.evaluate.report import report
from egotools.evaluate.splits import to_evaluate
from egotools.extraction.forward import fold_batch_norms
from egotools.files.disk import write_whole
from egotools.files.json_files import read_json
from egotools.loading.kept_files import files_of
from egotools.loading.spans import Stretch
from egotools.loading.views import ViewExamples
from egotools.machine import choose_device, reading_processes
from egotools.manifests.table import read_manifest
from egotools.methods.labels import labeled
from egotools.methods.memdpc.action import CLASSES, METHOD, ClassesShape
from egotools.methods.memdpc.clips import TESTING
from egotools.methods.memdpc.options import ActionOptions, Viewing
from egotools.methods.memdpc.tasks import BEST, NETWORK
from egotools.methods.memdpc.testing import probabilities_of
from egotools.methods.usable import Usable, usable
from egotools.metrics.ranks import own_ranks, top_shares
from egotools.nn.memdpc import MemDPCClassifier
from egotools.progress import Progress, no_progress
from egotools.tables.table import Table, table_of_clips
from egotools.texts import counted, named
from egotools.training import learned_from
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run
from egotools.types import Clip, FloatArray
from egotools.weights.memdpc import load_memdpc, read_memdpc

FILE = "probabilities.json"
NAMED = 3
SETS = {"center": 1, "five": 5, "ten": 10}  # how many views, the first ones
Weights = Literal["best", "last"]
Content = dict[str, Any]  # a report; Any: JSON values


class ProbabilitiesShape(TypedDict):
    """`probabilities.json`: by id, one probability a class."""

    label: str
    classes: list[str]
    crops: str
    probabilities: dict[str, list[float]]


@dataclass(frozen=True, eq=False)
class Classifier:
    """The run of a training that is done."""

    network: MemDPCClassifier
    options: ActionOptions
    label: str
    classes: tuple[str, ...]
    weights: str
    learned: LearnedFrom | None


@dataclass(frozen=True, eq=False)
class Found:
    """Clips with probabilities [N, V, C]."""

    stretches: Sequence[Stretch]
    table: Table
    probabilities: FloatArray


def evaluate_action(
    run: Path,
    manifest: Path,
    viewing: Viewing,
    *,
    label: str | None = None,
    test_split: str | None = None,
    all_rows: bool = False,
    fuse: Sequence[Path] = (),
    weights: Weights = "best",
    workers: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = no_progress,
) -> tuple[Content, Result, str]:
    """What the classifier of a run says of clips that it was not trained on.

    Args:
        run: of `train_action`.
        manifest: which clips.
        viewing: crops and colors.
        label: the column; None: that of the run.
        test_split: which split; None: `test`, else `val`, or all if there is neither.
        all_rows: also evaluate the clips that it was trained on.
        fuse: `probabilities.json` of other runs, or folders with one; the means of all are evaluated.
        weights: those of the best epoch, if the run was validated, or the last ones.
        workers: processes that read; None: as many as the machine has cores for.
        seed: of the jitter.
        device: to compute on.
        progress: is told the clips.

    Returns:
        The report, the same as a result, and `probabilities.json`, of this run alone.

    Raises:
        RunError: there is no such run, or it is damaged.
        TableError: no clip can be evaluated, or probabilities are of other classes.
    """
    chosen = choose_device(device)
    trained = open_action(run, weights=weights)
    others = [read_probabilities(path, trained.classes) for path in fuse]
    trained.network.to(chosen)
    column, readers = label or trained.label, reading_processes() if workers is None else workers
    protocol, clips, remarks = clips_to_evaluate(trained, manifest, column, test_split, all_rows=all_rows)
    files = files_of(clips, workers=readers, progress=progress)
    there = usable(clips, files, trained.options.spans)
    found, more = _tested(trained, there, viewing, readers, seed, progress)
    kept = probabilities_json(found, trained, viewing)
    result = fused_result(found, trained, column, viewing, others)
    remarks = [*remarks, *there.remarks, *more, *result.remarks]
    protocol = (
        f"the {trained.weights} weights, {viewing.crops} crop{'' if viewing.crops == 'center' else 's'}{protocol}"
    )
    result = Result({"protocol": protocol, **result.figures}, result.predictions, tuple(remarks))
    arguments = {"run": str(run), "label": column, **options_of(viewing), "weights": trained.weights, "seed": seed}
    arguments |= {"test_split": test_split, "all_rows": all_rows, "fuse": [str(path) for path in fuse]}
    return report("eval action", arguments, result, manifest=manifest, features=[]), result, kept


def open_action(folder: Path, *, weights: Weights = "best") -> Classifier:
    """The classifier of a run, in eval mode.

    Raises:
        RunError: there is none, of another method, not done, or damaged.
        WeightsError: its weights cannot be used.
    """
    run = Run.of_method(folder, METHOD, dict[str, Any])
    run.report()  # says so if it is not done
    facts: ClassesShape = run.read(CLASSES, ClassesShape)
    options = run.options(ActionOptions)
    is_best = weights == "best" and (folder / BEST).is_file()
    network = MemDPCClassifier(options.depth, classes=len(facts["classes"]))
    load_memdpc(network, read_memdpc(folder / (BEST if is_best else NETWORK)), fresh=())
    fold_batch_norms(network.eval().backbone)
    learned = learned_from.read(run)
    known = None if learned is None else learned[""]
    return Classifier(network, options, facts["label"], tuple(facts["classes"]), "best" if is_best else "last", known)


def clips_to_evaluate(
    trained: Classifier, manifest: Path, label: str, test_split: str | None, *, all_rows: bool
) -> tuple[str, list[Clip], list[str]]:
    """On which split, the clips, and remarks on those that are left out.

    Raises:
        TableError: there are none.
    """
    clips = read_manifest(manifest)
    there = labeled(clips, label, str(manifest), TableError)
    table = table_of_clips(there)
    split, rows = to_evaluate(table, test_split, all_rows=all_rows)
    kept, remarks = unlearned(table, trained.learned, rows, all_rows=all_rows)
    if trained.learned is not None:
        remarks += shared_remarks(table, label, trained.learned.has(table), kept)
    if len(there) < len(clips):
        out = {clip.id for clip in there}
        left = [clip.id for clip in clips if clip.id not in out]
        remarks.append(f"{counted(len(left), 'clip')} with an empty {label!r} left out: {named(left, NAMED)}")
    if split == "val" and trained.weights == "best":
        remarks.append("the best epoch was chosen by clips of the split val: that flatters it; --weights last does not")
    return (
        f", on {split}" if split else "",
        [clip for clip, is_kept in zip(there, kept, strict=True) if is_kept],
        remarks,
    )


def _tested(
    trained: Classifier,
    there: Usable,
    viewing: Viewing,
    workers: int,
    seed: int,
    progress: Progress,
) -> tuple[Found, list[str]]:
    """The probabilities of the clips, and remarks."""
    if not there.found:
        raise TableError(f"no clip is left to evaluate: {'; '.join(there.remarks)}")
    options = trained.options
    jitter = TESTING if viewing.jitter else None
    examples = ViewExamples(
        there.found,
        options.spans,
        viewing.views,
        options.size,
        jitter,
        seed,
        interpolation=options.interpolation,
    )
    found = probabilities_of(
        trained.network, examples, len(trained.classes), options, viewing, workers=workers, progress=progress
    )
    left = [number for number in range(len(there.found)) if number not in found.failed]
    remarks = []
    if found.failed:
        why = named([*found.failed.values()], NAMED, between="; ")
        remarks.append(f"{counted(len(found.failed), 'clip')} left out: unreadable: {why}")
    if not left:
        raise TableError(f"no clip is left to evaluate: {'; '.join(remarks)}")
    kept = [there.found[number] for number in left]
    small = [each.clip.id for each in kept if min(each.source.info.width, each.source.info.height) < examples.crop]
    if small:
        remarks.append(
            f"{counted(len(small), 'clip')} with frames below {examples.crop} pixels at a side, which are enlarged"
            f" before they are cut: {named(small, NAMED)}"
        )
    times = [_times(each) for each in kept]
    return Found(kept, table_of_clips([each.clip for each in kept], times=times), found.values.numpy()[left]), remarks


def _times(stretch: Stretch) -> tuple[float, float]:
    info = stretch.source.info
    return float(info.times[stretch.first]), float(info.ends[stretch.first + stretch.count - 1])


def probabilities_json(found: Found, trained: Classifier, viewing: Viewing) -> str:
    """Means over the views, by id."""
    means = dict(zip(found.table.ids.tolist(), found.probabilities.mean(1).tolist(), strict=True))
    content = ProbabilitiesShape(
        label=trained.label, classes=list(trained.classes), crops=viewing.crops, probabilities=means
    )
    return to_json(content, indent=None) + "\n"


def read_probabilities(path: Path, classes: Sequence[str]) -> dict[str, FloatArray]:
    """By id, the probabilities [C] of a file, or of a folder that has one, in the order of `classes`.

    Raises:
        TableError: it cannot be read, is of other classes, or has no probabilities of a clip for each.
    """
    file = path / FILE if path.is_dir() else path
    try:
        content: ProbabilitiesShape = read_json(file, ProbabilitiesShape)
    except (OSError, ValueError) as error:
        raise TableError(
            f"{file} cannot be read as probabilities ({error}); 'egotools eval action' writes them"
        ) from error
    if sorted(content["classes"]) != sorted(classes):
        strange = sorted({*content["classes"]} ^ {*classes})
        raise TableError(f"{file} is of other classes than the run: {named(strange, NAMED)}")
    places = [content["classes"].index(name) for name in classes]
    found = {id: np.array(values, np.float64) for id, values in content["probabilities"].items()}
    for id, values in found.items():
        if values.shape != (len(classes),) or not np.isfinite(values).all():
            raise TableError(f"{file}: clip {id!r} has no probability for each of {len(classes)} classes")
    return {id: values[places] for id, values in found.items()}


def fused_result(
    found: Found,
    trained: Classifier,
    label: str,
    viewing: Viewing,
    others: Sequence[Mapping[str, FloatArray]],
) -> Result:
    """The figures of the mean over views, and over runs if there are others; then each run's, on the same clips, too.

    Raises:
        TableError: no clip is in all of them.
    """
    ids = found.table.ids.tolist()
    rows = np.array([all(id in each for each in others) for id in ids], bool)
    remarks = []
    if not rows.any():
        raise TableError("none of the evaluated clips is in the probabilities to be fused; are they of one manifest?")
    if not rows.all():
        missing = [id for id, is_there in zip(ids, rows, strict=True) if not is_there]
        told = named(missing, NAMED)
        remarks.append(f"{counted(len(missing), 'clip')} left out that other probabilities do not have: {told}")
    table, own = found.table.only(rows), found.probabilities[rows]
    alone = [own.mean(1), *(np.stack([each[id] for id in table.ids.tolist()]) for each in others)]
    predictions, content = _figures(np.mean(alone, axis=0), table, label, trained.classes)
    if others:
        content["runs"] = [_short(_figures(each, table, label, trained.classes)[1]) for each in alone]
    content["crops"] = {
        name: _short(_figures(own[:, :count].mean(1), table, label, trained.classes)[1])
        for name, count in SETS.items()
        if count <= len(viewing.views)
    }
    return Result(content, predictions, tuple(remarks))


def _figures(
    probabilities: FloatArray, table: Table, label: str, classes: Sequence[str]
) -> tuple[Predictions, Content]:
    """Predictions and figures of probabilities [N, C]; a label that is none of the classes is never right."""
    names = np.union1d(table.labels[label].astype(str), np.array(classes))
    known = np.searchsorted(names, np.array(classes))
    labels = np.searchsorted(names, table.labels[label].astype(str))
    whole = torch.full((len(table), len(names)), -1.0, dtype=torch.float64)
    whole[:, known] = torch.from_numpy(np.ascontiguousarray(probabilities))
    ranks = own_ranks(whole, torch.from_numpy(labels))
    ranks[~np.isin(labels, known)] = len(names)
    predicted = known[probabilities.argmax(1)]
    predictions = Predictions(tuple(names.tolist()), table, labels, predicted, probabilities.max(1))
    content = figures(predictions, known)
    for entry in ("majority", "chance", "train_rows"):  # the clips that it was trained on are not here
        content.pop(entry)
    for of_class in content["classes"]:
        of_class.pop("train_rows")
    return predictions, {"accuracy": content.pop("accuracy"), "top5": top_shares(ranks, (5,))[0].item(), **content}


def _short(content: Content) -> Content:
    return {name: content[name] for name in ("accuracy", "top5", "mean_class_accuracy")}


def save_probabilities(folder: Path, content: str) -> None:
    """Writes `probabilities.json`."""
    write_whole(folder / FILE, content)
