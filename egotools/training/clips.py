"""The clips of a manifest that a training from video can use: which are learned from, and whose frames are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from egotools.loading.files import Files
from egotools.loading.kept_files import FILES, files_of, write_files
from egotools.loading.spans import Spans, Stretch, stretches
from egotools.progress import Progress, no_progress
from egotools.texts import counted, named, split_name
from egotools.training.world import ALONE, World
from egotools.types import Clip

NAMED = 3
TRAIN, VAL = "train", "val"


@dataclass(frozen=True, eq=False)
class Usable:
    """Clips that have room for what is to be read, and what is to be said of the others."""

    found: list[Stretch]
    short: list[str]  # ids
    failed: dict[str, str]  # why, by id
    remarks: list[str]

    @property
    def ids(self) -> list[str]:
        return [each.clip.id for each in self.found]


def of_splits(clips: Sequence[Clip], *, held_out: Sequence[str] = (VAL, "test")) -> tuple[list[Clip], list[Clip], str]:
    """Those to learn from, those of the split val, and a remark: the split train, or all that are not held out."""
    splits = [split_name(clip.split) for clip in clips]
    val = [clip for clip, split in zip(clips, splits, strict=True) if split == VAL]
    if TRAIN in splits:
        return [clip for clip, split in zip(clips, splits, strict=True) if split == TRAIN], val, ""
    others = [clip for clip, split in zip(clips, splits, strict=True) if split not in held_out]
    out = "" if len(others) == len(clips) else f" that is not of {' or '.join(held_out)}"
    return others, val, f"no clip has the split {TRAIN!r}: learned from every clip{out}"


def usable(clips: Sequence[Clip], files: Files, spans: Spans) -> Usable:
    """The clips that have a span of frames; others are named and counted."""
    found, short, failed = stretches(clips, files, spans)
    remarks = []
    if short:
        ids = named([clip.id for clip in short], NAMED)
        need = counted(spans.width + 1, "frame")
        remarks.append(f"{counted(len(short), 'clip')} left out: too short, {need} are needed: {ids}")
    if failed:
        told = named(list(failed.values()), NAMED, between="; ")
        remarks.append(f"{counted(len(failed), 'clip')} left out: unreadable: {told}")
    odd = {each.source.path: each.source.remarks for each in found if each.source.remarks}
    if odd:
        told = named([f"{path}: {'; '.join(said)}" for path, said in odd.items()], NAMED, between="; ")
        remarks.append(f"{counted(len(odd), 'file')} used as {'it is' if len(odd) == 1 else 'they are'}: {told}")
    return Usable(found, [clip.id for clip in short], failed, remarks)


def found_clips(clips: Sequence[Clip], files: Files, spans: Spans) -> tuple[Usable, Usable, list[str]]:
    """Clips to learn from, clips to validate on, and remarks."""
    learned, held, remark = of_splits(clips)
    train, val = usable(learned, files, spans), usable(held, files, spans)
    remarks = [remark] if remark else []
    remarks += [*train.remarks, *(f"of the split val: {each}" for each in val.remarks)]
    if not val.found:
        remarks.append(f"no clip of the split 'val'{' is left' if held else ''}: not validated, and no best epoch kept")
    return train, val, remarks


def files_for(
    folder: Path,
    clips: Sequence[Clip],
    *,
    workers: int,
    world: World = ALONE,
    progress: Progress = no_progress,
) -> Files:
    """The clips' files, looked up by the first process, or as the run in a folder has kept them.

    What is found is not written yet: `keep_files` does, once it is clear that there is something to train on.

    Raises:
        TrainingError: a file has changed since the run began.
    """
    kept = folder / FILES
    found = None
    if world.is_first and not kept.exists():
        found = files_of(clips, None, workers=workers, progress=progress)
    found = world.of_first(found)
    return files_of(clips, kept) if found is None else found


def keep_files(folder: Path, files: Files) -> None:
    """Writes what was looked up into a run's folder, unless it is there."""
    if not (folder / FILES).exists():
        write_files(folder / FILES, files)
