"""LMDB environments of this process: opened once a file, kept while anything looks into them.

LMDB allows a file to be open once in a process, and closing it under a live view is a segmentation fault. So readers
and writers share one environment a file, and all that looks into its map holds a `Lease`; an environment without a
lease is closed before the next one is opened. (Keeping all of them for ever would exhaust the address space: each
reserves 4 TiB of 128.)
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lmdb

from egotools.errors import StoreError

LARGEST_MAP = 1 << 42  # bytes of address space, not of disk: growing later, beside readers, crashes them
SMALLEST_MAP = 1 << 24
MAGIC = (0xBEEFC0DE).to_bytes(4, "little")  # of LMDB, after the first page's header
LITTLE = 64 << 20  # bytes free, less than a commit may need
READERS = 1024  # transactions at a time, all processes together
LOCK_BYTES = 65664  # of LMDB's lock file, for as many readers


@dataclass(frozen=True, eq=False)
class Lease:
    """The right to look into an environment, which stays open as long as this object lives."""

    environment: lmdb.Environment
    path: Path
    file: tuple[int, int]  # device and inode: another file may take the path later


@dataclass(frozen=True, eq=False)
class _Entry:
    environment: lmdb.Environment
    lease: weakref.ref[Lease]
    process: int


# The one thing here that changes: LMDB's own state belongs to the process as well.
_open: dict[tuple[int, int], _Entry] = {}  # by (device, inode)
_guard = threading.RLock()


def lease(path: Path) -> Lease:
    """The environment of a file, which is created if there is none.

    Raises:
        StoreError: not an LMDB file, cut short, or not readable.
    """
    path = Path(os.path.realpath(path))
    with _guard:
        _close_unused()
        if path.exists():
            entry = _open.get(_file_at(path))
            there = entry.lease() if entry else None
            if there is not None:
                return there
        with explained(path):
            environment, file = _identified(path)
        new = Lease(environment, path, file)
        _open[file] = _Entry(environment, weakref.ref(new), os.getpid())
    try:
        check_length(new)
    except StoreError:
        del new
        raise
    return new


def _file_at(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _identified(path: Path) -> tuple[lmdb.Environment, tuple[int, int]]:
    """The environment of a file, and which file that is, though another may take its place at any moment."""
    while True:
        check_magic(path)
        before = _file_at(path) if path.exists() else None
        environment = _opened(path)
        file = _file_at(path)
        if before in (None, file):
            return environment, file
        environment.close()


def _close_unused() -> None:
    for key, entry in list(_open.items()):
        if entry.process != os.getpid() or entry.lease() is None:  # a forked child opens its own
            entry.environment.close()
            del _open[key]


def check_magic(path: Path) -> None:
    """Refuses a file that is not LMDB before LMDB would leave its lock file beside it."""
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(20)[16:] != MAGIC:
                raise StoreError(f"{path}: not a cache: the file is not LMDB")


def _opened(path: Path) -> lmdb.Environment:
    size = LARGEST_MAP
    readonly = path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    lock = True
    if not readonly:
        reserve_lock_file(path)
    while True:
        try:
            return lmdb.open(
                str(path),
                subdir=False,
                map_size=size,
                readahead=True,  # without it a cold scan is twenty times slower
                max_readers=READERS,
                readonly=readonly,
                lock=lock,
            )
        except lmdb.MemoryError:
            size = _halved(path, size)
        except lmdb.Error as error:
            if "Cannot allocate memory" in str(error):
                size = _halved(path, size)
            elif readonly and lock:
                lock = False  # a cache on a medium that nobody can write
            else:
                raise


def reserve_lock_file(path: Path) -> None:
    """Gives LMDB's lock file its room on the disk: LMDB maps it, and on a full disk the process would be killed."""
    lock_file = path.with_name(path.name + "-lock")
    if lock_file.exists() or sys.platform != "linux":
        return
    file = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(file, 0, LOCK_BYTES)
    except OSError:
        lock_file.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)


def _halved(path: Path, size: int) -> int:
    if size <= SMALLEST_MAP:
        raise StoreError(f"{path}: no address space left to map it; see 'ulimit -v'")
    return size // 2


def check_length(of: Lease) -> None:
    """Refuses a file that is shorter than its own pages: touching what is missing would kill the process.

    Raises:
        StoreError: the file is cut short.
    """
    environment = of.environment
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if _file_at(of.path) != of.file:  # a new cache has taken the place of this one
        return
    there = of.path.stat().st_size
    if there < needed:
        raise StoreError(
            f"{of.path}: cut short: {there} bytes where {needed} were written; restore it from a copy, or delete it and"
            " make it anew"
        )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """LMDB's errors as ours."""
    try:
        yield
    except lmdb.InvalidError as error:
        raise StoreError(f"{path}: not a cache: the file is not LMDB") from error
    except lmdb.VersionMismatchError as error:
        raise StoreError(f"{path}: an LMDB file of another version ({error})") from error
    except (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.PanicError) as error:
        raise StoreError(f"{path}: damaged ({error}); restore it from a copy, or delete it and make it anew") from error
    except lmdb.MapFullError as error:
        raise StoreError(
            f"{path}: address space full; what was committed is kept; raise 'ulimit -v' and run the same line again"
        ) from error
    except lmdb.ReadersFullError as error:
        raise StoreError(f"{path}: more than {READERS} readers at a time") from error
    except (lmdb.Error, OSError) as error:
        # LMDB calls a write that was cut short by a full disk an "Input/output error".
        is_full = "Input/output" in str(error) and shutil.disk_usage(path.parent).free < LITTLE
        if is_full or isinstance(error, lmdb.DiskError) or "No space left" in str(error):
            raise StoreError(
                f"{path}: disk full: {error}; what was committed is kept; free space and run the same line again"
            ) from error
        raise StoreError(f"{path}: {error}; what was committed is kept") from error
