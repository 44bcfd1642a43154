"""Digests of the files that clips lie in, made while their frames decode."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from egotools.extract.messages import FileDigest, Message, Piece
from egotools.stores.source import content_digest

if TYPE_CHECKING:
    from egotools.extract.messages import ReadingTask


class Digesting:
    """Adds the digest of a clip's file to what is found of its clips, not before the first has rows.

    A file of which nothing can be read is not digested.
    """

    def __init__(self) -> None:
        self._owed: ReadingTask | None = None  # the next clip of the same file may have rows
        self._thread: _Thread | None = None

    def with_digest(self, task: ReadingTask, messages: Iterator[Message], *, is_last: bool) -> Iterator[Message]:
        """What is found of a clip, and the digest as soon as it is there, or after its file's last clip."""
        if not task.wanted:
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
        if self._owed is task and self._thread is None:  # lest its clip without rows waits
            yield FileDigest(task.number, None)

    def _found(self) -> Iterator[FileDigest]:
        if self._thread is not None and self._owed is not None:
            self._thread.join()
            yield FileDigest(self._owed.number, self._thread.digest)
            self._thread = self._owed = None


class _Thread(threading.Thread):
    """Digests a file beside the decoder: reading and hashing hold no lock that decoding needs."""

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
