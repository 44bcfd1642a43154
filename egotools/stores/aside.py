"""A folder beside what is written, for whoever writes it: of one name, so that what a kill leaves there is removed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from egotools.errors import StoreError
from egotools.files.disk import remove
from egotools.stores.writer_lock import lock_cache


@contextmanager
def aside(path: Path, kind: str = "aside") -> Iterator[Path]:
    """An empty hidden folder beside `path`, and the lock of whoever writes `path`; both are gone afterwards.

    Args:
        path: what is written.
        kind: what the folder's name ends in.

    Raises:
        StoreError: another process writes `path`; or a file could not be written, in the folder or beside it.
    """
    folder = path.with_name(f".{path.name}.{kind}")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_cache(path)
        try:
            remove(folder)
            folder.mkdir()
            yield folder
        finally:
            with suppress(OSError):
                remove(folder)
            lock.release()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Whatever the system says against writing `path`, as a StoreError of one line."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
        what = ": disk full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else " cannot be written"
        raise StoreError(f"{path}{what}: {error.strerror or error}{where}") from error
