"""Reading processes: they receive clips and send back pieces; one that crashes is replaced.

Each worker has its own pipe, so that one that dies cannot leave a lock behind; a full pipe makes a worker wait for the
networks.
"""

from __future__ import annotations

import signal
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from egotools.errors import ExtractorError
from egotools.extraction.digesting import Digesting
from egotools.extraction.messages import Failure, FileDigest, FileIndex, Message, ReadingTask
from egotools.extraction.reading import Reader
from egotools.media.video import VideoIndex
from egotools.processes import ENDED, ENDED_EARLY, start
from egotools.types import AudioExtractor, ClipExtractor, Extractor

ATTEMPTS = 2
TRACEBACK = "the traceback is above"


@dataclass(frozen=True)
class _Begun:
    number: int


@dataclass(frozen=True)
class _Mistake:
    text: str


@dataclass(frozen=True)
class _Done:
    seconds: Mapping[str, float]


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection[Any, Any]
    tasks: list[ReadingTask] = field(default_factory=list)  # given to it and not started
    current: ReadingTask | None = None
    mistake: str = ""  # the Python error that ends it
    owed: ReadingTask | None = None  # whose file's digest it has not sent yet
    indexing: Path | None = None  # the file that it is indexing

    @property
    def is_busy(self) -> bool:
        return bool(self.tasks) or self.current is not None


class Readers:
    """`count` processes that read clips for a list of extractors. A context manager; leaving it ends them."""

    def __init__(
        self,
        extractors: Sequence[Extractor],
        *,
        count: int,
        piece_rows: int,
        sources: Sequence[Path] = (),
        sample: int | None = None,
    ) -> None:
        """`sources` are users' Python files that define extractors; a worker imports them before unpickling these.

        `sample` is as in `Reader`.
        """
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._is_stopped = False
        self._extractors = list(extractors)
        self._setup = (list(sources), self._extractors, piece_rows, sample)
        self._count = count
        self._jobs: deque[list[ReadingTask]] = deque()
        self._awaited: Counter[Path] = Counter()  # how many pending jobs there are for each file
        self._crashes: Counter[int] = Counter()  # by task number
        self._workers: list[_Worker] = []
        self._indexes: dict[Path, VideoIndex | None] = {}  # of files with pending jobs; None: not a video

    def give(self, tasks: Sequence[ReadingTask]) -> None:
        """Adds tasks, and starts as many workers as they can use; must not be called while `messages` runs.

        Raises:
            EgotoolsError: this process cannot start processes.
        """
        for job in _jobs(tasks, self._count):
            self._add(job)
        while len(self._workers) < min(self._count, len(self._jobs)):
            self._workers.append(self._start())

    def messages(self) -> Iterator[Message]:
        """Yields the workers' messages as they arrive, until all given tasks are read.

        Raises:
            ExtractorError: an extractor failed; the worker has printed the traceback.
        """
        self._give_all()
        while busy := [worker for worker in self._workers if worker.is_busy]:
            for ready in wait([worker.connection for worker in busy]):
                worker = next(worker for worker in busy if worker.connection is ready)
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    if self._is_stopped:
                        return
                    yield from self._replace(worker)
                    self._give_all()
                    continue
                if isinstance(message, _Begun):
                    worker.current = worker.tasks.pop(0)
                    worker.owed = worker.current if worker.current.digest else worker.owed
                elif isinstance(message, _Mistake):
                    worker.mistake = message.text
                elif isinstance(message, _Done):
                    worker.current = None
                    for stage, seconds in message.seconds.items():
                        self.seconds[stage] += seconds
                    worker.indexing = None  # a file that could not be opened
                    self._give_all()
                elif isinstance(message, FileIndex):
                    worker.indexing = None
                    if self._awaited[message.path]:
                        self._indexes[message.path] = message.index
                    self._give_all()
                else:
                    if isinstance(message, FileDigest):
                        worker.owed = None
                    yield message

    def stop(self) -> None:
        """Ends all workers, immediately; `messages` then ends, too. May be called from another thread."""
        self._is_stopped = True
        for worker in list(self._workers):
            worker.process.terminate()

    def close(self) -> None:
        """Ends all workers and closes their pipes."""
        self.stop()
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join()
        self._workers = []

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self) -> _Worker:
        worker = _Worker(*start(_work))
        for part in self._setup:
            _send(worker, part)
        return worker

    def _give_all(self) -> None:
        """Gives jobs to idle workers, except for a file that another worker is indexing: it will send the index."""
        for worker in self._workers:
            if worker.is_busy:
                continue
            indexing = {other.indexing for other in self._workers}
            place = next((at for at, job in enumerate(self._jobs) if job[0].clip.path not in indexing), None)
            if place is None:
                return
            worker.tasks = self._jobs[place]
            del self._jobs[place]
            path = worker.tasks[0].clip.path
            self._awaited[path] -= 1
            is_awaited = self._awaited[path] > 0
            if is_awaited and path not in self._indexes and self._has_frames(worker.tasks[0]):
                worker.indexing = path
            index = self._indexes.get(path) or worker.tasks[0].index
            if not is_awaited:
                del self._awaited[path]
                self._indexes.pop(path, None)
            _send(worker, [replace(worker.tasks[0], index=index), *worker.tasks[1:]])

    def _add(self, job: list[ReadingTask], *, first: bool = False) -> None:
        """Adds a job at the end, or at the `first` place."""
        (self._jobs.appendleft if first else self._jobs.append)(job)
        self._awaited[job[0].clip.path] += 1

    def _has_frames(self, task: ReadingTask) -> bool:
        """Whether a task is read as frames."""
        extractors = [self._extractors[position] for position in task.positions]
        return any(not isinstance(extractor, (AudioExtractor, ClipExtractor)) for extractor in extractors)

    def _replace(self, worker: _Worker) -> Iterator[Failure]:
        """Starts another worker for one that died; the clip it died on is tried once more, alone."""
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        task, status = worker.current, worker.process.exitcode
        if worker.owed is not None and worker.owed is not task:
            self._add([replace(worker.owed, positions=(), attempt=worker.owed.attempt + 1)])
        if status == -signal.SIGTERM:  # sent from outside; not the clip's fault: read it again
            again = [replace(task, attempt=task.attempt + 1)] if task else []
            if left := [*again, *worker.tasks]:
                self._add(left, first=True)
            self._start_another()
            return
        if task is None:
            raise ExtractorError(ENDED_EARLY)
        if status == 1:  # a Python error, not a crash
            raise ExtractorError(f"an extractor failed on clip {task.clip.id!r} ({worker.mistake}); {TRACEBACK}")
        if worker.tasks:
            self._add(worker.tasks, first=True)
        self._crashes[task.number] += 1
        if self._crashes[task.number] < ATTEMPTS:
            self._add([replace(task, attempt=task.attempt + 1)])
        else:
            reason = f"{task.clip.path}: the decoder crashed twice (exit code {status})"
            yield from (Failure(task.number, task.attempt, position, reason) for position in task.positions)
        self._start_another()

    def _start_another(self) -> None:
        if self._jobs:
            self._workers.append(self._start())


def _send(worker: _Worker, message: object) -> None:
    try:
        worker.connection.send(message)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ExtractorError(ENDED_EARLY) from error


def _jobs(tasks: Sequence[ReadingTask], workers: int) -> list[list[ReadingTask]]:
    """Groups tasks by file and start, into runs that keep a file with one worker without idling the others."""
    ordered = sorted(tasks, key=lambda task: (str(task.clip.path), task.clip.start))
    longest = max(1, min(64, len(tasks) // (4 * workers)))
    jobs: list[list[ReadingTask]] = []
    for task in ordered:
        if jobs and jobs[-1][-1].clip.path == task.clip.path and len(jobs[-1]) < longest:
            jobs[-1].append(task)
        else:
            jobs.append([task])
    return jobs


def _work(connection: Connection[Any, Any]) -> None:
    """A worker: reads what it is told to through the pipe, until the engine closes it or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the engine
    with suppress(*ENDED):
        _read_jobs(connection)


def _read_jobs(connection: Connection[Any, Any]) -> None:
    import torch

    from egotools.extractors.own_code import load_source
    from egotools.machine import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()  # 1.4 times the decoding rate: each frame is a large block
    for source in connection.recv():
        load_source(source)
    extractors, piece_rows, sample = (connection.recv() for _ in range(3))
    reader, digesting = Reader(extractors, piece_rows, connection.send, sample), Digesting()
    try:
        while True:
            tasks = connection.recv()
            for task in tasks:
                connection.send(_Begun(task.number))
                messages = reader.read(
                    task.clip,
                    task.positions,
                    task.number,
                    task.attempt,
                    strict=task.strict,
                    index=task.index,
                    done=task.done,
                )
                for message in digesting.with_digest(task, messages, is_last=task is tasks[-1]):
                    connection.send(message)
                connection.send(_Done(dict(reader.seconds)))
                reader.seconds.clear()
    except ENDED:
        raise
    except Exception as error:
        connection.send(_Mistake(f"{type(error).__name__}: {error}"))
        raise
