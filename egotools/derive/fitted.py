"""What a derivation learned from its inputs: arrays in a file next to the cache, needed for new clips.

The file's name has its digest in it, and the cache's recipe names the file. So a cache and its file are replaced at
once: the new file is there before the new cache takes its name, and the old one goes when nothing names it any more.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.config import file_digest
from egotools.errors import StoreError
from egotools.files.disk import new_file
from egotools.files.numpy_files import open_npz
from egotools.stores.copying import sync_folder
from egotools.stores.opening import open_store
from egotools.stores.publish import replace
from egotools.stores.source import Source
from egotools.stores.store import LEARNED, Recipe
from egotools.types import Rows

Arrays = Mapping[str, npt.NDArray[Any]]
INFIX = ".fitted-"


@dataclass(frozen=True)
class Learned:
    """What inputs teach, and the rows of every clip that follow from it. Any: JSON values."""

    rows: Iterable[tuple[str, Rows]]
    arrays: Arrays = field(default_factory=dict)  # what `rows` of new clips need; with none, no file is kept
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the recipe's origin, which only reports
    remarks: tuple[str, ...] = ()  # for the person who derives
    sources: Mapping[str, Source] | None = None  # of every clip in `rows`; None: those that the inputs have by its id
    failed: Mapping[str, str] = field(default_factory=dict)  # clips that have no place in `rows` -> why


def keep(learned: Learned, cache: Path, recipe: Recipe) -> Recipe:
    """Writes the arrays next to a cache that is being written; returns the recipe that names them.

    Raises:
        StoreError: the file cannot be written.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **learned.arrays)  # type: ignore[arg-type]  # the stubs take every keyword for allow_pickle
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()[:16]  # as `file_digest` has it
    name = f"{cache.name}{INFIX}{digest}.npz"
    try:
        with new_file(cache.with_name(name)) as file:
            file.write(buffer.getbuffer())
    except OSError as error:
        raise StoreError(f"{cache}: what it learned cannot be written: {error.strerror}") from error
    said = {"file": name, "digest": digest, **learned.facts, "remarks": list(learned.remarks)}
    return Recipe(recipe.identity, {**recipe.origin, LEARNED: said})


def file_of(cache: Path, recipe: Recipe) -> Path | None:
    """The file of a cache's arrays, next to it; None if it has none."""
    said = recipe.origin.get(LEARNED)
    name = Path(str(said.get("file", ""))).name if isinstance(said, Mapping) else ""
    return cache.with_name(name.replace("\0", "?")) if name else None


def what_is_lost(cache: Path, recipe: Recipe) -> str:
    """Why the arrays of a cache cannot be used, in words; empty where they can, or where there are none."""
    path = file_of(cache, recipe)
    if path is None:
        return ""
    try:
        is_same = file_digest(path) == recipe.origin[LEARNED].get("digest")
    except OSError:
        return f"{path.name}, which holds what it learned, is gone"
    return "" if is_same else f"{path.name} does not hold what it learned"


def read_learned(cache: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays that a cache learned.

    Raises:
        StoreError: it is no such cache, or its arrays are gone or damaged.
    """
    recipe = open_store(cache).recipe
    path = file_of(cache, recipe)
    if path is None:
        raise StoreError(f"{cache}: this cache holds nothing learned; only similarities do")
    if lost := what_is_lost(cache, recipe):
        raise StoreError(f"{cache}: {lost}; restore it, or run 'egotools rebuild {cache}'")
    return read_arrays(path)


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a `.npz`.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with open_npz(path) as arrays:
            return {name: arrays[name] for name in arrays.names()}
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not readable as what a cache learned (.npz): {error}") from error


def exchange(new: Path, cache: Path) -> None:
    """Renames a complete new cache and its arrays to their final names; the old arrays are removed last."""
    path = file_of(new, open_store(new).recipe)
    if path is not None:
        os.replace(path, cache.with_name(path.name))
        sync_folder(cache.parent)
    replace(new, cache)
    for old in list(cache.parent.iterdir()):
        if old.name.startswith(f"{cache.name}{INFIX}") and (path is None or old.name != path.name):
            old.unlink(missing_ok=True)
