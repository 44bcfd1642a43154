"""The clips of a manifest that a training from video can use: which are learned from, and whose frames are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from egotools.loading.files import Files
from egotools.loading.spans import Spans, Stretch, stretches
from egotools.methods.from_video import of_splits
from egotools.texts import counted, named
from egotools.types import Clip

NAMED = 3


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


def usable(clips: Sequence[Clip], files: Files, spans: Spans) -> Usable:
    """The clips that have a span of frames; others are named and counted."""
    found, short, failed = stretches(clips, files, spans)
    remarks = []
    if short:
        ids = named([clip.id for clip in short], NAMED)
        need = counted(spans.width + 1, "frame")
        remarks.append(f"{counted(len(short), 'clip')} left out: too short, {need} are needed: {ids}")
    remarks += [*unreadable(failed), *odd_files({each.source.path: each.source.remarks for each in found})]
    return Usable(found, [clip.id for clip in short], failed, remarks)


def unreadable(failed: Mapping[str, str]) -> list[str]:
    """A remark on clips that cannot be read, by their ids why; none if there are none."""
    if not failed:
        return []
    return [f"{counted(len(failed), 'clip')} left out: unreadable: {named([*failed.values()], NAMED, between='; ')}"]


def odd_files(remarks: Mapping[Path, Sequence[str]]) -> list[str]:
    """A remark on files that have remarks of their own; none if there are none."""
    told = [f"{path}: {'; '.join(said)}" for path, said in remarks.items() if said]
    if not told:
        return []
    used = "it is" if len(told) == 1 else "they are"
    return [f"{counted(len(told), 'file')} used as {used}: {named(told, NAMED, between='; ')}"]


def found_clips(clips: Sequence[Clip], files: Files, spans: Spans) -> tuple[Usable, Usable, list[str]]:
    """Clips to learn from, clips to validate on, and remarks."""
    learned, held, remark = of_splits(clips)
    train, val = usable(learned, files, spans), usable(held, files, spans)
    remarks = [remark] if remark else []
    remarks += [*train.remarks, *(f"of the split val: {each}" for each in val.remarks)]
    if not val.found:
        none = "no clip of the split 'val' is left" if held else "no clip to validate on"
        remarks.append(f"{none}: not validated, and no best epoch kept")
    return train, val, remarks
