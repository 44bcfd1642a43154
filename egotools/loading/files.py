"""The files that a training reads: frames and sound are looked up once, before its first step, by several processes."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from egotools.errors import ClipError, NoSound
from egotools.media.audio import Sound, open_sound
from egotools.media.limits import reading
from egotools.media.sound.known_sound import KnownSound
from egotools.media.video import Frames, Video, VideoIndex, open_frames
from egotools.processes import Crash, apart
from egotools.progress import Progress, no_progress
from egotools.types import VideoInfo

Wanted = tuple[Path, float | None]  # a file, and the frame rate that a folder or a stack needs
OPEN = 4  # files that a worker keeps open


class _Closes(Protocol):
    def close(self) -> None: ...


Opened = TypeVar("Opened", bound=_Closes)


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
    sound: KnownSound | None = None  # None: it has none, or that was not looked up

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
        self._check_unchanged()
        return open_frames(self.path, self.fps, self.index)

    def open_sound(self) -> Sound:
        """Its sound, as `open`.

        Raises:
            NoSound: it has none.
            ClipError: it has changed since, or cannot be read any more.
        """
        self._check_unchanged()
        return open_sound(self.path, known=self.sound)

    def _check_unchanged(self) -> None:
        if not self.is_unchanged():
            raise ClipError(f"{self.path}: the file has changed, or gone, since the training began")


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
        self._sounds: OrderedDict[Path, Sound] = OrderedDict()

    def __reduce__(self) -> tuple[type["OpenFiles"], tuple[int]]:
        return OpenFiles, (self._limit,)

    def frames(self, source: Source) -> Frames:
        """The frames of a file, opened now or before; the one not used for longest is closed."""
        return self._used(self._open, source.path, source.open)

    def sound(self, source: Source) -> Sound:
        """The sound of a file, as `frames`."""
        return self._used(self._sounds, source.path, source.open_sound)

    def _used(self, opened: OrderedDict[Path, Opened], path: Path, open: Callable[[], Opened]) -> Opened:
        found = opened.pop(path, None) or open()
        opened[path] = found
        while len(opened) > self._limit:
            opened.popitem(last=False)[1].close()
        return found


def looked_up(
    wanted: Iterable[Wanted], *, sound: bool = False, workers: int = 0, progress: Progress = no_progress
) -> Files:
    """The frames of files, and if asked for their sound, in the order of their paths, by several processes."""
    items = sorted(dict(wanted).items())
    found: dict[Path, Source | str] = {}
    for (path, _), result in _results(items, workers, sound=sound):
        found[path] = f"{path}: reading it crashed" if isinstance(result, Crash) else result
        progress("looking up", len(found), len(items))
    results = [(path, found[path]) for path, _ in items]
    return Files(
        {path: result for path, result in results if isinstance(result, Source)},
        {path: result for path, result in results if isinstance(result, str)},
    )


def look_up(wanted: Wanted, *, sound: bool = False) -> Source | str:
    """The frames of one file, and if asked for its sound, or why they cannot be read."""
    path, fps = wanted
    try:
        with reading(path):
            status = os.stat(path)
        with closing(open_frames(path, fps)) as frames:
            index = frames.index if isinstance(frames, Video) else None
            odd = tuple(frames.remarks)
            heard = known_sound(path) if sound else None
            return Source(path, fps, status.st_size, status.st_mtime_ns, frames.info, index, odd, heard)
    except ClipError as error:
        return str(error)


def known_sound(path: Path) -> KnownSound | None:
    """What is to be known of a file's sound; None if it has none.

    Raises:
        ClipError: it cannot be read.
    """
    try:
        with closing(open_sound(path)) as sound:
            return sound.known
    except NoSound:
        return None


def _results(items: list[Wanted], workers: int, *, sound: bool) -> Iterator[tuple[Wanted, Source | str | Crash]]:
    if workers and len(items) > 1:
        yield from apart(partial(look_up, sound=sound), items, count=min(workers, len(items)))
    else:
        yield from ((item, look_up(item, sound=sound)) for item in items)
