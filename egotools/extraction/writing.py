"""Writes rows to caches in one background thread, which commits at intervals."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from egotools.errors import StoreError
from egotools.stores import Recipe, Source, Writer, open_writer
from egotools.stores.unfinished import Begun, Unfinished
from egotools.types import FloatArray, Rows

COMMIT_SECONDS = 0.5
COMMIT_BYTES = 64 << 20
MOST_COMMITTING = 0.05  # of the time, for the rows of unfinished clips
MOST_PENDING = 64  # queued appends; more would only fill memory when a disk is slow


class Writing:
    """Writers of several caches behind one thread, because a transaction belongs to the thread that started it.

    Clips that have been open for as long as the interval between commits are kept unfinished, too, so that a kill loses
    little of a long one. A context manager: leaving it commits what is there, even after an error.
    """

    def __init__(self, recipes: Mapping[Path, Recipe]) -> None:
        """Opens all caches.

        Raises:
            RecipeError: a cache was made with another recipe.
            StoreError: another process is writing one, or the path is not a cache.
        """
        self.seconds = 0.0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writing")
        self._pending: deque[Future[None]] = deque()
        self._bytes = 0
        self._committed = time.monotonic()
        self._seconds_a_commit = 0.0
        self._open: list[dict[str, tuple[float, Begun]]] = [{} for _ in recipes]  # when their first rows came, by cache
        self._writers: list[Writer] = []
        try:
            for path, recipe in recipes.items():
                self._writers.append(self._thread.submit(open_writer, path, recipe).result())
        except BaseException:
            self._close()
            raise

    def holds(self, cache: int, id: str) -> bool:
        """Whether a clip is finished in the cache at that position."""
        return id in self._writers[cache]

    def unfinished(self, cache: int) -> Mapping[str, Unfinished]:
        """The clips of which an interrupted run has left rows in the cache at that position."""
        return self._writers[cache].unfinished

    def resume(self, cache: int, id: str) -> FloatArray:
        """Takes up such a clip: the times of its rows; none if they are damaged."""
        return self._thread.submit(self._writers[cache].resume, id).result()

    def append(self, cache: int, id: str, rows: Rows, begun: Begun | None = None) -> None:
        """Appends rows to a clip, which is kept unfinished if `begun` is given; commits if a commit is due."""
        self._bytes += rows.values.nbytes
        self._later(self._writers[cache].append, id, rows)
        if begun is not None:
            self._open[cache].setdefault(id, (time.monotonic(), begun))
            self._commit_if_due(max(COMMIT_SECONDS, self._seconds_a_commit / MOST_COMMITTING))

    def finish(self, cache: int, id: str, source: Source) -> None:
        """Marks a clip as complete; commits if a commit is due."""
        self._open[cache].pop(id, None)
        self._later(self._writers[cache].finish, id, source)
        self._commit_if_due(COMMIT_SECONDS)

    def drop(self, cache: int, id: str) -> None:
        """Discards a clip that is not finished."""
        self._open[cache].pop(id, None)
        self._later(self._writers[cache].drop, id)

    def _commit_if_due(self, seconds: float) -> None:
        if self._bytes > COMMIT_BYTES or time.monotonic() - self._committed > seconds:
            self._bytes, self._committed = 0, time.monotonic()
            self._commit(self._committed - COMMIT_SECONDS)

    def _commit(self, before: float) -> None:
        """Commits finished clips, and what there is of those that were begun `before` a moment."""
        for writer, clips in zip(self._writers, self._open, strict=True):
            self._later(self._timed_commit, writer, {id: it for id, (began, it) in clips.items() if began <= before})

    def _timed_commit(self, writer: Writer, unfinished: Mapping[str, Begun]) -> None:
        before = time.perf_counter()
        writer.commit(unfinished)
        self._seconds_a_commit = len(self._writers) * (time.perf_counter() - before)

    def seal(self) -> None:
        """Commits everything and publishes sealed caches."""
        self._commit(time.monotonic())
        self._open = [{} for _ in self._writers]
        for writer in self._writers:
            self._later(writer.seal)
        self._wait(0)

    def __enter__(self) -> "Writing":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if kind is None or not issubclass(kind, StoreError):  # a full disk accepts no more
                self._commit(time.monotonic())
                self._wait(0)
        finally:
            self._close()

    def _later(self, call: Callable[..., None], *arguments: Any) -> None:  # Any: passed on to `call`
        def timed() -> None:
            before = time.perf_counter()
            call(*arguments)
            self.seconds += time.perf_counter() - before

        self._pending.append(self._thread.submit(timed))
        self._wait(MOST_PENDING)

    def _wait(self, most: int) -> None:
        """Raises errors of the thread here, and waits until at most `most` calls are queued."""
        while self._pending and (len(self._pending) > most or self._pending[0].done()):
            self._pending.popleft().result()

    def _close(self) -> None:
        for call in self._pending:
            call.cancel()
        for writer in self._writers:
            self._thread.submit(writer.close).result()
        self._thread.shutdown()
