"""The file beside a cache with its int8 network (`extraction.int8` makes it) is copied where the cache is copied."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from egotools.config import file_digest
from egotools.errors import StoreError
from egotools.files.disk import new_file, open_file
from egotools.stores.store import Store

CALIBRATION = "calibration"  # in an identity: the digest of the file


def int8_file(cache: Path) -> Path:
    """Where the int8 network of a cache is kept."""
    return cache.with_name(f"{cache.name}.int8.npz")


def take_int8_file(stores: Iterable[Store], out: Path) -> None:
    """Copies the int8 network of caches of one recipe beside `out`, from the first of them that has it still.

    Raises:
        StoreError: it cannot be written.
    """
    for store in stores:
        digest, source = store.recipe.identity.get(CALIBRATION), int8_file(store.path)
        if digest is None:
            return
        if _digest(source) != digest or source == int8_file(out):
            continue
        try:
            with open_file(source) as old, new_file(int8_file(out)) as new:
                shutil.copyfileobj(old, new)
        except OSError as error:
            raise StoreError(f"{int8_file(out)}: the int8 network cannot be written: {error.strerror}") from error
        return


def _digest(path: Path) -> str | None:
    try:
        return file_digest(path)
    except OSError:
        return None
