"""Temporary folders next to a file that is being written; a fixed name, so that leftovers of a kill are removed."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from egotools.errors import StoreError
from egotools.files.disk import remove
from egotools.stores.writer_lock import lock_cache


@contextmanager
def aside(path: Path, kind: str = "aside") -> Iterator[Path]:
    """An empty hidden folder next to `path`, holding the writer lock of `path`; both are released afterwards.

    Args:
        path: the file to be written.
        kind: the suffix of the folder's name.

    Raises:
        StoreError: another process writes `path`; or a file in the folder, or `path`, cannot be written.
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
    """Turns system errors while writing `path` into a StoreError of one line."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
        what = ": disk full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else " cannot be written"
        raise StoreError(f"{path}{what}: {error.strerror or error}{where}") from error
