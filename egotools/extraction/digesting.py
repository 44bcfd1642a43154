"""Computes the digests of source files while their frames are decoded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from egotools.extraction.messages import FileDigest, Message, Piece
from egotools.stores.source import content_digest

if TYPE_CHECKING:
    from egotools.extraction.messages import ReadingTask


class Digesting:
    """Adds the digest of a clip's file to the messages about its clips, after the first one with rows.

    A file that cannot be read at all is not digested.
    """

    def __init__(self) -> None:
        self._owed: ReadingTask | None = None  # the next clip of the same file may still have rows
        self._thread: _Thread | None = None

    def with_digest(self, task: ReadingTask, messages: Iterator[Message], *, is_last: bool) -> Iterator[Message]:
        """The messages about a clip, then the digest as soon as it is ready, or after its file's last clip."""
        if not task.positions:
            yield FileDigest(task.number, _digest(task.clip.path))
            return
        if task.digest:
            self._owed = task
        elif self._owed is not None and self._owed.clip.path != task.clip.path:
            self._owed = None
        for message in messages:
            if self._owed is not None and self._thread is None and isinstance(message, Piece) and message.total:
                self._thread = _Thread(task.clip.path)
            yield message
            if self._thread is not None and not self._thread.is_alive():
                yield from self._found()
        if is_last:
            yield from self._found()
        if self._owed is task and self._thread is None:  # so that a clip without rows does not wait
            yield FileDigest(task.number, None)

    def _found(self) -> Iterator[FileDigest]:
        if self._thread is not None and self._owed is not None:
            self._thread.join()
            yield FileDigest(self._owed.number, self._thread.digest)
            self._thread = self._owed = None


class _Thread(threading.Thread):
    """Digests a file alongside decoding: reading and hashing release the GIL."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="digesting", daemon=True)
        self.digest: str | None = None
        self._path = path
        self.start()

    def run(self) -> None:
        self.digest = _digest(self._path)


def _digest(path: Path) -> str | None:
    try:
        return content_digest(path)
    except OSError:
        return None
