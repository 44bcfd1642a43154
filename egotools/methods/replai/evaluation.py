"""A run of RepLAI evaluated on moments of a manifest's clips: from a run to a report. Axes: N moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import default_collate

from egotools.config import finite, to_json
from egotools.errors import ClipError, TableError
from egotools.evaluate.leakage import GROUP_COLUMNS, unlearned
from egotools.evaluate.splits import to_evaluate
from egotools.files.disk import write_whole
from egotools.loading.items import unread, why_unread
from egotools.loading.kept_files import files_of
from egotools.loading.loader import Tensors, loader
from egotools.loading.order import Order
from egotools.machine import choose_device, reading_processes
from egotools.manifests.table import read_manifest
from egotools.methods.replai.examples import Audible, MomentExamples, Usable, finish, usable
from egotools.methods.replai.figures import figures_of
from egotools.methods.replai.moments import most_prominent
from egotools.methods.replai.network import Changes, Matched, Pretraining
from egotools.methods.replai.options import ReplaiOptions, Sampling
from egotools.methods.replai.run import METHOD, new_network
from egotools.methods.usable import NAMED, unreadable
from egotools.progress import Progress, no_progress
from egotools.tables.table import numbers_of, table_of_clips
from egotools.texts import counted, named, tidy
from egotools.training import learned_from
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run, provenance_of
from egotools.types import Clip
from egotools.weights.replai import TENSORS
from egotools.weights.tensors import check_fit, read_tensors

AT_ONCE = 8  # moments that the networks see at a time; it changes nothing else
Content = dict[str, Any]  # a report; Any: JSON values


@dataclass(frozen=True, eq=False)
class Trained:
    """A run that is done: the module in eval mode, and how it was trained."""

    model: Pretraining
    options: ReplaiOptions
    seed: int
    learned: LearnedFrom | None


@dataclass(frozen=True, eq=False)
class Seen:
    """What a module says of moments: [N, D] each, on the CPU, and the numbers of their clips; why others failed."""

    matched: Matched
    changes: Changes
    clips: list[int]
    failed: dict[str, str]


def evaluate_replai(
    run: Path,
    manifest: Path,
    moments: Path,
    *,
    per_clip: int = 1,
    untrained: bool = False,
    direction: str | None = None,
    test_split: str | None = None,
    all_rows: bool = False,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
) -> Content:
    """How well the networks of a run tell sounds apart, and the order of changes, on clips not learned from.

    Where the run was trained on all clips, these are evaluated, and a remark says so.

    Args:
        run: of `train_replai`.
        manifest: which clips.
        moments: a cache of the extractor `moments`.
        per_clip: so many of each clip's moments, the most prominent ones.
        untrained: evaluate the same module with weights drawn by the run's seed, too.
        direction: the manifest's column that says in which direction the change of a clip goes.
        test_split: which split; None: `test`, else `val`, or all if there is neither.
        all_rows: also evaluate the clips that it was trained on.
        workers: processes that read; None: as many as the machine has cores for.
        device: to compute on.
        progress: is told the moments.

    Returns:
        The report.

    Raises:
        RunError: there is no such run, or it is damaged.
        TableError: no clip can be evaluated, no such column, or `moments` is of other clips.
    """
    chosen, trained = choose_device(device), open_replai(run)
    readers = reading_processes() if workers is None else workers
    split, clips = clips_to_evaluate(manifest, direction, test_split, all_rows=all_rows)
    sampling = shown_by(trained.options)
    files = files_of(clips, sound=True, workers=readers, progress=progress)
    there = usable(clips, files, sampling, moments)
    kept, remarks = not_learned(there, trained, all_rows=all_rows)
    chances = most_prominent(moments, {each.clip.id: _times(each) for each in kept}, per_clip)
    audible = [replace(each, moments=np.array([time])) for each in kept for time in chances[each.clip.id]]
    models = {"": trained.model, **({"untrained": new_model(trained)} if untrained else {})}
    seen = seen_by([each.to(chosen) for each in models.values()], audible, sampling, readers, progress)
    content = {name: _figures(each, audible, trained, direction) for name, each in zip(models, seen, strict=True)}
    failed = {**there.failed, **seen[0].failed}
    remarks = [*remarks, *there.remarks, *unreadable(seen[0].failed)]
    arguments = {"run": str(run), "per_clip": per_clip, "direction": direction, "test_split": test_split}
    return {
        "command": "eval replai",
        "protocol": f"{counted(per_clip, 'moment')} a clip{f', on {split}' if split else ''}",
        "clips": len({audible[number].clip.id for number in seen[0].clips}),
        "moments": len(seen[0].clips),
        **finite(content.pop("")),
        **finite(content),
        "left_out": {"silent": there.silent, "without_moment": there.empty, "unreadable": failed},
        "remarks": remarks,
        **provenance_of({**arguments, "all_rows": all_rows, "untrained": untrained}, manifest, [moments]),
    }


def open_replai(folder: Path) -> Trained:
    """The module of a run, in eval mode.

    Raises:
        RunError: there is none, of another method, not done, or damaged.
        WeightsError: its weights cannot be used.
    """
    run = Run.of_method(folder, METHOD, dict[str, Any])
    run.report()  # says so if it is not done
    options = run.options(ReplaiOptions)
    seed = run.recipe.identity.get("seed", 0)
    model = new_network(options, None, 0, torch.device("cpu"))
    tensors = read_tensors(folder / TENSORS)
    check_fit(model.state_dict(), tensors, heads=(), source=str(folder / TENSORS))
    model.load_state_dict(tensors)
    learned = learned_from.read(run)
    return Trained(model.eval(), options, int(seed), None if learned is None else learned[""])


def new_model(trained: Trained) -> Pretraining:
    """The same module before any training, drawn by the run's seed."""
    return new_network(trained.options, None, trained.seed, torch.device("cpu")).eval()


def shown_by(options: ReplaiOptions) -> Sampling:
    """What a run's networks are shown in an evaluation: moments of the sound, and nothing by chance."""
    shown = {field.name: getattr(options, field.name) for field in fields(Sampling)}
    return Sampling(**{**shown, "moi": "audio", "frame_windows": "exact", "sound_windows": "exact"})


def clips_to_evaluate(
    manifest: Path, direction: str | None, test_split: str | None, *, all_rows: bool
) -> tuple[str, list[Clip]]:
    """On which split, and its clips.

    Raises:
        TableError: there are none, or no such column.
    """
    clips = read_manifest(manifest)
    if direction is not None and not any(direction in clip.labels for clip in clips):
        columns = ", ".join(sorted({name for clip in clips for name in clip.labels})) or "none"
        raise TableError(f"{manifest}: no column {direction!r}; its label columns are: {columns}")
    split, rows = to_evaluate(table_of_clips(clips), test_split, all_rows=all_rows)
    return split, [clip for clip, is_kept in zip(clips, rows, strict=True) if is_kept]


def not_learned(there: Usable, trained: Trained, *, all_rows: bool) -> tuple[list[Audible], list[str]]:
    """The clips that a run was not trained on, or all if it was trained on all of them; and a remark on that.

    Raises:
        TableError: there are no clips.
    """
    if not there.found:
        raise TableError(f"no clip is left to evaluate: {'; '.join(there.remarks)}")
    table = table_of_clips([each.clip for each in there.found])
    is_known = trained.learned is not None and bool(trained.learned.has(table).all())
    every = np.ones(len(table), bool)
    kept, remarks = unlearned(table, trained.learned, every, all_rows=all_rows or is_known)
    return [each for each, is_kept in zip(there.found, kept, strict=True) if is_kept], remarks


def seen_by(
    models: Sequence[Pretraining],
    audible: Sequence[Audible],
    sampling: Sampling,
    workers: int = 0,
    progress: Progress = no_progress,
) -> list[Seen]:
    """What modules in eval mode say of moments, one of each `Audible`, on the device where they are.

    Raises:
        TableError: none can be read.
        TrainingError: a reading process was killed.
    """
    examples = Tried(MomentExamples(audible, sampling, augment=False))
    order = Order(len(examples), 1, seed=0, epochs=1, shuffle=False)
    device = next(models[0].parameters()).device
    read = loader(examples, order, seed=0, workers=workers, device=device, finish=lambda batch: batch)
    numbers: list[int] = []
    failed: dict[str, str] = {}
    found: list[list[tuple[Tensor, ...]]] = [[] for _ in models]
    for batch, those, why in _batches(read(0), audible, progress):
        failed |= why
        numbers += those
        if batch is not None:
            for kept, model in zip(found, models, strict=True):
                kept.append(said_of(model, batch, sampling, device))
    if not numbers:
        raise TableError(f"no clip is left to evaluate: {named(list(failed.values()), NAMED, between='; ')}")
    whole = [[torch.cat(parts) for parts in zip(*kept, strict=True)] for kept in found]
    return [Seen(Matched(*each[:3]), Changes(*each[3:]), numbers, failed) for each in whole]


@torch.no_grad()
def said_of(model: Pretraining, batch: Tensors, sampling: Sampling, device: torch.device) -> tuple[Tensor, ...]:
    """What is compared of a batch, in float32 on the CPU."""
    features = model.features(finish(batch, sampling=sampling, device=device))
    return tuple(each.cpu() for each in (*model.matched(features), *model.changes(features)))


@dataclass(frozen=True, eq=False)
class Tried:
    """Examples, and for those that cannot be read `failed` uint8 [bytes], why, and their number `clip`."""

    examples: MomentExamples

    def __len__(self) -> int:
        return len(self.examples)

    def example(self, index: int, random: np.random.Generator) -> dict[str, npt.NDArray[Any]]:  # Any: as `Examples`
        """As `Examples.example`, but that nothing is raised."""
        try:
            return dict(self.examples.example(index, random))
        except ClipError as error:
            return unread(error, index)


def _batches(
    read: Iterator[Tensors], audible: Sequence[Audible], progress: Progress
) -> Iterator[tuple[Tensors | None, list[int], dict[str, str]]]:
    """Batches of several examples, the numbers of their clips, and why others cannot be read."""
    waiting: list[Tensors] = []
    failed: dict[str, str] = {}
    for done, one in enumerate(read, 1):
        progress("evaluating", done, len(audible))
        number = int(one["clip"])
        if (why := why_unread(one)) is not None:
            failed[audible[number].clip.id] = why
        else:
            waiting.append({name: value[0] for name, value in one.items()})
        if waiting and (len(waiting) == AT_ONCE or done == len(audible)):
            yield default_collate(waiting), [int(each["clip"]) for each in waiting], failed
            waiting, failed = [], {}
    yield None, [], failed


def _figures(seen: Seen, audible: Sequence[Audible], trained: Trained, direction: str | None) -> Content:
    clips = [audible[number].clip for number in seen.clips]
    directions = None if direction is None else [tidy(clip.labels.get(direction, "")) for clip in clips]
    return figures_of(
        seen.matched,
        seen.changes,
        groups=groups_of(clips),
        directions=directions,
        batch_size=trained.options.batch_size,
        temperature=trained.options.temperature,
    )


def groups_of(clips: Sequence[Clip]) -> npt.NDArray[np.int64]:
    """Numbers of the recordings that clips are of: the manifest's column for it, or else the file."""
    column = next((name for name in GROUP_COLUMNS if any(clip.labels.get(name) for clip in clips)), None)
    names = [(clip.labels.get(column, "") if column else "") or str(clip.path) for clip in clips]
    return numbers_of(np.array(names, dtype=object))[1]


def _times(audible: Audible) -> npt.NDArray[np.float64]:
    assert audible.moments is not None  # of a cache
    return audible.moments


def save_report(folder: Path, content: Content) -> None:
    """Writes `report.json`."""
    write_whole(folder / "report.json", to_json(content))
