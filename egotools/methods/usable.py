"""The clips of a manifest that a training from video can use: which are learned from, and whose frames are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
