"""Writes rows to caches in one background thread, which commits at intervals."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from egotools.errors import StoreError
from egotools.stores import Recipe, Source, Writer, open_writer
from egotools.types import Rows

COMMIT_SECONDS = 0.5
COMMIT_BYTES = 64 << 20
MOST_PENDING = 64  # queued appends; more would only fill memory when a disk is slow


class Writing:
    """Writers of several caches behind one thread, because a transaction belongs to the thread that started it.

    A context manager: leaving it commits the finished clips, even after an error.
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

    def append(self, cache: int, id: str, rows: Rows) -> None:
        """Appends rows to a clip."""
        self._bytes += rows.values.nbytes
        self._later(self._writers[cache].append, id, rows)

    def finish(self, cache: int, id: str, source: Source) -> None:
        """Marks a clip as complete; commits if a commit is due."""
        self._later(self._writers[cache].finish, id, source)
        if self._bytes > COMMIT_BYTES or time.monotonic() - self._committed > COMMIT_SECONDS:
            self._bytes, self._committed = 0, time.monotonic()
            for writer in self._writers:
                self._later(writer.commit)

    def drop(self, cache: int, id: str) -> None:
        """Discards a clip that is not finished."""
        self._later(self._writers[cache].drop, id)

    def seal(self) -> None:
        """Commits everything and publishes sealed caches."""
        for writer in self._writers:
            self._later(writer.seal)
        self._wait(0)

    def __enter__(self) -> "Writing":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if kind is None or not issubclass(kind, StoreError):  # a full disk accepts no more
                for writer in self._writers:
                    self._later(writer.commit)
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
