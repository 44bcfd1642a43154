"""The files that a training reads: their frames are looked up once, before its first step, by several processes."""

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from egotools.errors import ClipError
from egotools.media.limits import reading
from egotools.media.video import Frames, Video, VideoIndex, open_frames
from egotools.processes import Crash, apart
from egotools.progress import Progress, no_progress
from egotools.types import VideoInfo

Wanted = tuple[Path, float | None]  # a file, and the frame rate that a folder or a stack needs
OPEN = 4  # files that a worker keeps open


@dataclass(frozen=True, eq=False)
class Source:
    """A file or folder at the time of looking its frames up."""

    path: Path
    fps: float | None
    size: int  # in bytes
    written: int  # in nanoseconds since 1970
    info: VideoInfo
    index: VideoIndex | None  # of a video
    remarks: tuple[str, ...] = ()  # what is odd in it, in sentences

    @property
    def damage(self) -> str:
        """Why frames after the last one are missing; empty if none is known to be."""
        return "" if self.index is None else self.index.frames.damage

    def is_unchanged(self) -> bool:
        """Whether the file is still the one that was looked up."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return (self.size, self.written) == (status.st_size, status.st_mtime_ns)

    def open(self) -> Frames:
        """Its frames; nothing is looked up again.

        Raises:
            ClipError: it has changed since, or cannot be read any more.
        """
        if not self.is_unchanged():
            raise ClipError(f"{self.path}: the file has changed, or gone, since the training began")
        return open_frames(self.path, self.fps, self.index)


@dataclass(frozen=True, eq=False)
class Files:
    """The files of a training, and why others cannot be read."""

    sources: Mapping[Path, Source]
    failed: Mapping[Path, str]


class OpenFiles:
    """The files that a process has open; in another one none is."""

    def __init__(self, limit: int = OPEN) -> None:
        self._limit = limit
        self._open: OrderedDict[Path, Frames] = OrderedDict()

    def __reduce__(self) -> tuple[type["OpenFiles"], tuple[int]]:
        return OpenFiles, (self._limit,)

    def frames(self, source: Source) -> Frames:
        """The frames of a file, opened now or before; the one not used for longest is closed."""
        frames = self._open.pop(source.path, None) or source.open()
        self._open[source.path] = frames
        while len(self._open) > self._limit:
            self._open.popitem(last=False)[1].close()
        return frames


def looked_up(wanted: Iterable[Wanted], *, workers: int = 0, progress: Progress = no_progress) -> Files:
    """The frames of files, in the order of their paths, looked up by several processes."""
    items = sorted(dict(wanted).items())
    found: dict[Path, Source | str] = {}
    for (path, _), result in _results(items, workers):
        found[path] = f"{path}: reading it crashed" if isinstance(result, Crash) else result
        progress("looking up", len(found), len(items))
    results = [(path, found[path]) for path, _ in items]
    return Files(
        {path: result for path, result in results if isinstance(result, Source)},
        {path: result for path, result in results if isinstance(result, str)},
    )


def look_up(wanted: Wanted) -> Source | str:
    """The frames of one file, or why it cannot be read."""
    path, fps = wanted
    try:
        with reading(path):
            status = os.stat(path)
        with closing(open_frames(path, fps)) as frames:
            index = frames.index if isinstance(frames, Video) else None
            odd = tuple(frames.remarks)
            return Source(path, fps, status.st_size, status.st_mtime_ns, frames.info, index, odd)
    except ClipError as error:
        return str(error)


def _results(items: list[Wanted], workers: int) -> Iterator[tuple[Wanted, Source | str | Crash]]:
    if workers and len(items) > 1:
        yield from apart(look_up, items, count=min(workers, len(items)))
    else:
        yield from ((item, look_up(item)) for item in items)
