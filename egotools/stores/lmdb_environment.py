"""Opens LMDB environments, for writers only: readers read the file themselves (see `lmdb_index.py`).

LMDB keeps a lock file next to the cache. Our writers lock each other out by `WriterLock`; LMDB's file is for other
programs that may read the cache through LMDB at the same time.
"""

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from egotools.errors import StoreError
from egotools.files.disk import create_file

LARGEST_MAP = 1 << 42  # bytes of address space, not of disk: growing it later would crash readers
SMALLEST_MAP = 1 << 24
LITTLE = 64 << 20  # bytes; with less free space a commit may fail
READERS = 1024  # concurrent transactions, over all processes
LOCK_BYTES = 65664  # size of LMDB's lock file, for this many readers


def open_environment(path: Path) -> lmdb.Environment:
    """The environment of a file, which is created if it does not exist; the caller holds its `WriterLock`.

    Raises:
        StoreError: it cannot be written.
    """
    size = LARGEST_MAP
    with explained(path):
        prepare_lock_file(path)
        while True:
            try:
                return lmdb.open(str(path), subdir=False, map_size=size, max_readers=READERS)
            except lmdb.Error as error:
                if not isinstance(error, lmdb.MemoryError) and "Cannot allocate memory" not in str(error):
                    raise
                if size <= SMALLEST_MAP:
                    raise StoreError(f"{path}: not enough address space to map it; see 'ulimit -v'") from error
                size //= 2


def lmdb_lock_file(path: Path) -> Path:
    """LMDB's own lock file, which contains its reader table."""
    return path.with_name(path.name + "-lock")


def prepare_lock_file(path: Path) -> None:
    """Creates LMDB's lock file, unless it exists, with its disk space allocated.

    LMDB maps it, and on a full disk the process would be killed. A link is removed: LMDB would write to its target.

    Raises:
        OSError: it cannot be created.
    """
    lock_file = lmdb_lock_file(path)
    try:
        status = lock_file.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            return
    except FileNotFoundError:
        pass
    with create_file(lock_file) as file:
        if sys.platform != "linux":
            return
        try:
            os.posix_fallocate(file.fileno(), 0, LOCK_BYTES)
        except OSError:
            lock_file.unlink(missing_ok=True)
            raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns LMDB's errors into ours."""
    try:
        yield
    except lmdb.InvalidError as error:
        raise StoreError(f"{path}: not a cache: the file is not LMDB") from error
    except lmdb.VersionMismatchError as error:
        raise StoreError(f"{path}: written by another version of LMDB ({error})") from error
    except (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.PanicError) as error:
        raise StoreError(
            f"{path}: damaged ({error}); restore it from a copy, or delete it and compute it again"
        ) from error
    except lmdb.MapFullError as error:
        raise StoreError(
            f"{path}: address space full; what was committed is kept; raise 'ulimit -v' and run the same command again"
        ) from error
    except (lmdb.Error, OSError) as error:
        # LMDB reports a write that was cut short by a full disk as an "Input/output error".
        is_full = "Input/output" in str(error) and shutil.disk_usage(path.parent).free < LITTLE
        if is_full or isinstance(error, lmdb.DiskError) or "No space left" in str(error):
            raise StoreError(
                f"{path}: disk full: {error}; what was committed is kept; free space and run the same command again"
            ) from error
        raise StoreError(f"{path}: {error}; what was committed is kept") from error
