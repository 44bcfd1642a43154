"""Tasks to shards, the units that a cluster's workers are given; and which tasks are still open. Pure: knows no Ray."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from egotools.errors import ClipError
from egotools.extract.messages import Failure, Piece, ReadingTask
from egotools.media.containers import stated_seconds
from egotools.types import Clip

SHARDS_A_WORKER = 8  # so that a fast worker takes more of them than a slow one
NOMINAL_BYTES = 250_000  # of a second of video, where a file does not state its length
NOMINAL_FPS = 25.0
OPENING_THREADS = 16


def shards_of(tasks: Sequence[ReadingTask], workers: int, seconds: Callable[[Clip], float]) -> list[list[ReadingTask]]:
    """Tasks in shards of about equal duration, longest first; the clips of one file stay together.

    Args:
        tasks: what is to be done.
        workers: how many will share it; each gets about eight shards, if there are so many files.
        seconds: the duration of a clip.
    """
    files: defaultdict[Path, list[ReadingTask]] = defaultdict(list)
    for task in tasks:
        files[task.clip.path].append(task)
    loads = {path: sum(seconds(task.clip) for task in found) for path, found in files.items()}
    shards: list[list[ReadingTask]] = [[] for _ in range(min(SHARDS_A_WORKER * workers, len(files)))]
    filled = [(0.0, number) for number in range(len(shards))]
    for path in sorted(files, key=lambda path: -loads[path]):  # longest first, always to the shard that has least
        load, number = filled[0]
        shards[number] += files[path]
        heapq.heapreplace(filled, (load + loads[path], number))
    return [shards[number] for _, number in sorted(filled, key=lambda entry: -entry[0])]


def durations(clips: Sequence[Clip]) -> dict[str, float]:
    """Seconds by clip id; of clips without an end from the headers of their files, which are opened together."""
    paths = sorted({clip.path for clip in clips if clip.end is None})
    fps = {clip.path: clip.fps for clip in clips}
    with ThreadPoolExecutor(OPENING_THREADS, thread_name_prefix="opening") as threads:
        lengths = dict(zip(paths, threads.map(lambda path: _length(path, fps[path]), paths), strict=True))
    return {clip.id: (lengths[clip.path] if clip.end is None else clip.end) - clip.start for clip in clips}


def _length(path: Path, fps: float | None) -> float:
    """Seconds of a file or frame folder, roughly where nothing says; 0 of what is not there."""
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


class Open:
    """The parts of tasks, one for each extractor, that have neither all their rows nor failed."""

    def __init__(self, tasks: Sequence[ReadingTask]) -> None:
        self._counts = {(task.number, position): _Count(task.attempt) for task in tasks for position in task.wanted}

    def note(self, message: Piece | Failure) -> None:
        """Rows that have come, or a failure."""
        place = (message.clip, message.extractor)
        count = self._counts.get(place)
        if count is None:
            return
        if isinstance(message, Failure):
            del self._counts[place]
            return
        if message.attempt > count.attempt:  # begun anew
            count = self._counts[place] = _Count(message.attempt)
        if message.attempt == count.attempt:
            count.rows += len(message.rows)
            if count.rows >= message.total:
                del self._counts[place]

    def among(self, tasks: Sequence[ReadingTask]) -> Iterator[ReadingTask]:
        """Those of the tasks that are open, with their open parts only."""
        for task in tasks:
            wanted = tuple(position for position in task.wanted if (task.number, position) in self._counts)
            if wanted:
                yield replace(task, wanted=wanted)
