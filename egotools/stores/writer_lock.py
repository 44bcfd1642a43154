"""Allows one writer at a time: a lock file next to the output, whose lock ends with its process."""

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from egotools.errors import StoreError
from egotools.stores.store import part_of

PATIENCE = 0.3  # seconds: a process that checks for a writer holds the lock briefly
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a link may point to any file; a pipe would block
LONGEST = 200  # bytes of text in a lock file


class WriterLock:
    """Holds a lock on `<path>.writer`, or another lock file, until `release`.

    Raises:
        StoreError: another writer holds it (the message names it), its folder cannot be written, or the lock file
            is not a regular file.
    """

    def __init__(self, path: Path, lock: Path | None = None) -> None:
        self._file: int | None = None
        self._path = lock or lock_file(path)
        until = time.monotonic() + PATIENCE
        while self._file is None:
            file = _opened(self._path, path)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = _text(file)
                os.close(file)
                if time.monotonic() < until:
                    time.sleep(PATIENCE / 10)
                    continue
                raise StoreError(
                    f"{path} is being written by another process ({owner or 'just starting'}); wait for it to finish"
                ) from error
            except OSError as error:
                os.close(file)
                raise StoreError(
                    f"{path} cannot be written: {self._path.name} cannot be locked: {error.strerror}"
                ) from error
            if _is_same_file(file, self._path):
                self._file = file
            else:  # its last holder removed it after we opened it
                os.close(file)
        try:
            os.ftruncate(self._file, 0)  # left by a killed writer
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error
        with suppress(OSError):  # on a full disk our name is not written, but the lock works
            self.say("")

    def say(self, more: str) -> None:
        """Writes text for other processes into the lock file, after the id of this process.

        Raises:
            OSError: the disk is full.
        """
        if self._file is not None:
            os.pwrite(self._file, f"process {os.getpid()}\n{more}\n".encode(), 0)

    def release(self) -> None:
        """Releases the lock."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)  # while it is locked, so that no other lock is removed
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        if self._file is not None:  # its writer was not closed
            os.close(self._file)


def lock_file(path: Path) -> Path:
    """The lock file for writing `path`."""
    return path.with_name(path.name + ".writer")


def writer_of(path: Path) -> str | None:
    """The writer of `path` as it describes itself ("process 123"), or None if nobody is writing; creates nothing."""
    try:
        file = os.open(lock_file(path), os.O_RDONLY | _FLAGS)
    except OSError:  # it does not exist, or we may not read it
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _text(file) or "just starting"
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(file)
    return None


def said_by_writer(path: Path) -> str:
    """The text that the writer of `path` wrote with `WriterLock.say`; empty if there is none."""
    try:
        file = os.open(lock_file(path), os.O_RDONLY | _FLAGS)
    except OSError:
        return ""
    try:
        return os.pread(file, LONGEST, 0).decode(errors="replace").partition("\n")[2].strip()
    except OSError:  # a folder
        return ""
    finally:
        os.close(file)


def lock_cache(path: Path) -> WriterLock:
    """Takes the lock of a cache's writer: that of its part, for HDF5.

    Raises:
        StoreError: as `WriterLock`.
    """
    return WriterLock(part_of(path) if path.suffix == ".h5" else path)


def _opened(lock: Path, path: Path) -> int:
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | _FLAGS, 0o644)
    except OSError as error:
        is_link = f"{lock} is a symbolic link, not a lock file; remove it"
        raise StoreError(
            f"{path} cannot be written: {is_link if error.errno == errno.ELOOP else error.strerror}"
        ) from error
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:  # otherwise we would empty another file
        os.close(file)
        raise StoreError(f"{path} cannot be written: {lock} is a device or a hard link, not a lock file; remove it")
    return file


def _text(file: int) -> str:
    return os.pread(file, LONGEST, 0).decode(errors="replace").partition("\n")[0].strip()


def _is_same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
