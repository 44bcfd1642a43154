"""The list of clips that failed: `<cache>.failed.csv`, which is itself a manifest.

Its column `error` is the reason; `file_size` and `file_mtime` identify the file, so that a later run can tell whether
the clip should be tried again.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from egotools.manifests.table import read_manifest, write_manifest
from egotools.stores.source import Source, SourceFiles
from egotools.types import Clip


@dataclass(frozen=True)
class FailedClip:
    """A clip that failed, the reason, and the file at that time."""

    reason: str
    source: Source

    def should_retry(self, clip: Clip, files: SourceFiles) -> bool:
        """Whether the clip or its file has changed, or the file exists again."""
        has_come_back = self.source.size is None and files.status(clip.path) is not None
        return has_come_back or bool(files.change(self.source, clip))


def failures_path(cache: Path) -> Path:
    """Where the failures of a cache are listed."""
    return cache.with_name(f"{cache.name}.failed.csv")


def read_failures(cache: Path) -> dict[str, FailedClip]:
    """The failures of a cache, by clip id.

    Raises:
        ManifestError: the list was edited and is no longer a manifest.
    """
    path = failures_path(cache)
    return {clip.id: _failure(clip) for clip in read_manifest(path)} if path.is_file() else {}


def _failure(clip: Clip) -> FailedClip:
    size, mtime = clip.labels.get("file_size", ""), clip.labels.get("file_mtime", "")
    try:
        source = Source(str(clip.path), clip.start, clip.end, int(size), float(mtime), clip.fps)
    except ValueError:  # the file did not exist
        source = Source(str(clip.path), clip.start, clip.end, fps=clip.fps)
    return FailedClip(clip.labels.get("error", ""), source)


def write_failures(cache: Path, tried: Sequence[Clip], failed: Sequence[tuple[Clip, str]]) -> None:
    """Updates the failures of a cache: those of the clips tried now replace their earlier ones."""
    path = failures_path(cache)
    ids = {clip.id for clip in tried}
    earlier = [clip for clip in read_manifest(path) if clip.id not in ids] if path.is_file() else []
    now = [dataclasses.replace(clip, labels={**clip.labels, **_labels(clip, reason)}) for clip, reason in failed]
    list_failures(cache, [*earlier, *now])


def listed_failures(caches: Sequence[Path]) -> dict[str, Clip]:
    """The clips in the failure lists of several caches, by id, as `list_failures` writes them again.

    Raises:
        ManifestError: a list was edited and is no longer a manifest.
    """
    lists = [path for path in map(failures_path, caches) if path.is_file()]
    return {clip.id: clip for path in lists for clip in read_manifest(path)}


def list_failures(cache: Path, failed: Sequence[Clip]) -> None:
    """Replaces the failure list of a cache by clips of other lists; without any, there is none."""
    path = failures_path(cache)
    if failed:
        write_manifest(path, failed)
    else:
        path.unlink(missing_ok=True)


def _labels(clip: Clip, reason: str) -> dict[str, str]:
    try:
        source = Source.of(clip) if clip.path != Path() else Source("")
    except OSError:
        source = Source("")
    size, mtime = ("" if value is None else repr(value) for value in (source.size, source.mtime))
    return {"error": reason, "file_size": size, "file_mtime": mtime}
