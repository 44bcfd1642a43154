"""Annotations read without any video: what they say of which name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from egotools.annotations.events import Annotations, Reading
from egotools.annotations.reading import read_annotations
from egotools.annotations.videos import Videos
from egotools.types import Clip

Said = tuple[str, float, "float | None", str]  # video, start, end, a label


def videos(*names: str) -> Videos:
    """Videos of these names, none of which is opened."""
    clips = [Clip(name.rpartition(".")[0], Path("/films") / name, labels={"video": name}) for name in names]
    return Videos(clips, Path("/films"))


def read(path: Path, content: str | bytes, *names: str, around: float | None = None, **options: Any) -> Annotations:
    """Writes a file of annotations and reads it."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_annotations([path], Reading(**options), videos(*names), around=around)


def said(found: Annotations, label: str) -> list[Said]:
    """The events in short."""
    times = [(round(each.start, 6), None if each.end is None else round(each.end, 6)) for each in found.events]
    return [(each.video, *time, each.labels.get(label, "")) for each, time in zip(found.events, times, strict=True)]
