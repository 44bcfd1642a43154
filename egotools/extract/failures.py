"""Clips that could not be read: `<cache>.failed.csv`, itself a manifest.

Its column `error` is the reason; `file_size` and `file_mtime` say which file it was, to tell later whether a clip is
worth another try.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from egotools.manifests.table import read_manifest, write_manifest
from egotools.stores.source import Source, SourceFiles
from egotools.types import Clip


@dataclass(frozen=True)
class FailedClip:
    """A clip that failed, why, and the file that it failed with."""

    reason: str
    source: Source

    def is_worth_a_try(self, clip: Clip, files: SourceFiles) -> bool:
        """Whether the clip or its file is another one now, or has come back."""
        has_come_back = self.source.size is None and files.status(clip.path) is not None
        return has_come_back or bool(files.change(self.source, clip))


def failures_path(cache: Path) -> Path:
    """Where the failures of a cache stand."""
    return cache.with_name(f"{cache.name}.failed.csv")


def read_failures(cache: Path) -> dict[str, FailedClip]:
    """The failures of a cache, by clip id.

    Raises:
        ManifestError: the list was edited and is no manifest any more.
    """
    path = failures_path(cache)
    return {clip.id: _failure(clip) for clip in read_manifest(path)} if path.is_file() else {}


def _failure(clip: Clip) -> FailedClip:
    size, mtime = clip.labels.get("file_size", ""), clip.labels.get("file_mtime", "")
    try:
        source = Source(str(clip.path), clip.start, clip.end, int(size), float(mtime), clip.fps)
    except ValueError:  # there was no file
        source = Source(str(clip.path), clip.start, clip.end, fps=clip.fps)
    return FailedClip(clip.labels.get("error", ""), source)


def write_failures(cache: Path, tried: Sequence[Clip], failed: Sequence[tuple[Clip, str]]) -> None:
    """Brings the failures of a cache up to date: those of the clips that were tried now replace their earlier ones."""
    path = failures_path(cache)
    ids = {clip.id for clip in tried}
    earlier = [clip for clip in read_manifest(path) if clip.id not in ids] if path.is_file() else []
    now = [dataclasses.replace(clip, labels={**clip.labels, **_labels(clip, reason)}) for clip, reason in failed]
    if earlier or now:
        write_manifest(path, [*earlier, *now])
    else:
        path.unlink(missing_ok=True)


def _labels(clip: Clip, reason: str) -> dict[str, str]:
    try:
        source = Source.of(clip) if clip.path != Path() else Source("")
    except OSError:
        source = Source("")
    size, mtime = ("" if value is None else repr(value) for value in (source.size, source.mtime))
    return {"error": reason, "file_size": size, "file_mtime": mtime}
