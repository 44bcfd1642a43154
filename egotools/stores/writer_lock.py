"""One writer at a time: a lock file beside the cache, whose lock dies with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from egotools.errors import StoreError
from egotools.stores.store import part_of


class WriterLock:
    """Holds `<path>.writer`, locked, until `release`.

    Raises:
        StoreError: another writer holds it (its process is named), or its folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".writer")
        self._file: BinaryIO | None = None
        while self._file is None:
            try:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise StoreError(f"{path} cannot be written: {error.strerror}") from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = os.pread(file, 40, 0).decode(errors="replace").strip()
                os.close(file)
                raise StoreError(
                    f"{path} is being written by another process ({owner or 'just starting'}); wait for it to end"
                ) from error
            if _is_same_file(file, self._path):
                self._file = os.fdopen(file, "r+b", buffering=0)  # closes itself if its writer is forgotten
            else:  # its last holder removed it between our two lines
                os.close(file)
        with contextlib.suppress(OSError):  # on a full disk nobody learns our name, but the lock holds
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()}\n".encode())

    def release(self) -> None:
        """Lets another writer in."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)  # while it is locked, so that nobody's lock is removed
            self._file.close()
            self._file = None


def lock_cache(path: Path) -> WriterLock:
    """The lock that any writer of a cache takes: that of its part, if it is to be sealed.

    Raises:
        StoreError: as `WriterLock`.
    """
    return WriterLock(part_of(path) if path.suffix == ".h5" else path)


def _is_same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
