"""Groups tasks into shards, the units given to cluster workers, and tracks open tasks. Pure: does not use Ray."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from egotools.errors import ClipError
from egotools.extraction.messages import BegunAgain, Failure, Piece, ReadingTask
from egotools.manifests.shards import balanced
from egotools.media.containers import stated_seconds
from egotools.types import Clip

SHARDS_A_WORKER = 8  # so that a fast worker processes more of them than a slow one
NOMINAL_BYTES = 250_000  # of a second of video, if a file does not state its length
NOMINAL_FPS = 25.0
OPENING_THREADS = 16


def shards_of(tasks: Sequence[ReadingTask], workers: int, seconds: Callable[[Clip], float]) -> list[list[ReadingTask]]:
    """Tasks in shards of about equal duration, longest first; the clips of one file stay together.

    Args:
        tasks: the tasks to group.
        workers: how many workers will share them; each gets about eight shards, if there are enough files.
        seconds: the duration of a clip.
    """
    files: defaultdict[Path, list[ReadingTask]] = defaultdict(list)
    for task in tasks:
        files[task.clip.path].append(task)
    loads = {path: sum(seconds(task.clip) for task in found) for path, found in files.items()}
    shards = balanced(loads, min(SHARDS_A_WORKER * workers, len(files)))
    shards.sort(key=lambda paths: -sum(loads[path] for path in paths))
    return [[task for path in paths for task in files[path]] for paths in shards]


def durations(clips: Sequence[Clip]) -> dict[str, float]:
    """Seconds by clip id; for clips without an end from the headers of their files, which are opened in parallel."""
    paths = sorted({clip.path for clip in clips if clip.end is None})
    fps = {clip.path: clip.fps for clip in clips}
    with ThreadPoolExecutor(OPENING_THREADS, thread_name_prefix="opening") as threads:
        lengths = dict(zip(paths, threads.map(lambda path: _length(path, fps[path]), paths), strict=True))
    return {clip.id: (lengths[clip.path] if clip.end is None else clip.end) - clip.start for clip in clips}


def _length(path: Path, fps: float | None) -> float:
    """Seconds of a file or frame folder, a rough guess if it does not say; 0 if it does not exist."""
    try:
        if path.is_dir():
            return sum(1 for _ in path.iterdir()) / (fps or NOMINAL_FPS)
        try:
            stated = stated_seconds(path)
        except ClipError:
            stated = None
        return stated or path.stat().st_size / NOMINAL_BYTES
    except OSError:
        return 0.0


@dataclass
class _Count:
    attempt: int
    rows: int = 0
    there: int = 0  # before any came


class Open:
    """The open parts of tasks: for each extractor, those without all their rows that have not failed."""

    def __init__(self, tasks: Sequence[ReadingTask]) -> None:
        self._counts: dict[tuple[int, int], _Count] = {}
        for task in tasks:
            for position in task.positions:
                there = task.done[position].rows if position in task.done else 0
                self._counts[task.number, position] = _Count(task.attempt, there, there)

    def note(self, message: Piece | Failure | BegunAgain) -> None:
        """Records rows that have arrived, or a failure, or that rows which were there do not count."""
        place = (message.clip, message.extractor)
        count = self._counts.get(place)
        if count is None:
            return
        if isinstance(message, Failure):
            del self._counts[place]
            return
        if message.attempt > count.attempt:  # started again
            count = self._counts[place] = _Count(message.attempt, count.there, count.there)
        if isinstance(message, BegunAgain):
            if message.attempt == count.attempt:
                count.rows = 0
            return
        if message.attempt == count.attempt:
            count.rows += len(message.rows)
            if count.rows >= message.total:
                del self._counts[place]

    def among(self, tasks: Sequence[ReadingTask]) -> Iterator[ReadingTask]:
        """Those of the tasks that are open, reduced to their open parts."""
        for task in tasks:
            positions = tuple(position for position in task.positions if (task.number, position) in self._counts)
            if positions:
                yield replace(task, positions=positions)
