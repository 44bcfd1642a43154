"""Caches from arrays that other programs wrote.

Axes: N clips, T rows of one clip, D features.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egotools.config import plain
from egotools.errors import StoreError
from egotools.stores.arrays import Array, array_of, open_arrays, read_array, texts_of
from egotools.stores.copying import Progress, silent
from egotools.stores.opening import open_store, open_writer
from egotools.stores.publish import CLIPS_PER_COMMIT, publish
from egotools.stores.source import Source, content_digest
from egotools.stores.store import Recipe, differences, key_of
from egotools.types import Rows

VERSION = 1
Named = Iterator[tuple[str, Array, Array | None, Path]]  # id, values, times or none, the file they are from


@dataclass(frozen=True)
class Imported:
    """A cache that is there now, and whether it was made or was there already."""

    cache: Path
    clips: int
    rows: int
    width: int
    is_new: bool


@dataclass(frozen=True)
class Keys:
    """Which arrays of a file are what; a folder of `.npy` files has none: the ids are the files' names."""

    id: str | None = None  # [N] texts or numbers
    values: str | None = None  # [N, D], or [N, T, D]
    times: str | None = None  # [N, 2], or [N, T, 2] seconds


def is_imported(recipe: Recipe) -> bool:
    """Whether a cache was made of arrays that another program wrote."""
    return "imported" in recipe.identity


def import_arrays(
    source: Path,
    out: Path,
    keys: Keys,
    *,
    origin: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Imported:
    """Writes the arrays of a file, or a folder of `.npy` files, as a cache of float32 rows.

    A clip's times are those that are given, otherwise 0 to 0 for all its rows: nothing is known of them.

    Args:
        source: a `.npz` or HDF5 file, or a folder with one `.npy` [D] or [T, D] a clip, which is named `<id>.npy`.
        out: `.lmdb` or `.h5`.
        keys: the names of the arrays in a file.
        origin: what the recipe is to say besides: the command.
        overwrite: whether a cache that is there is replaced; one that was imported from the same is left as it is.
        progress: is told of clips.

    Raises:
        StoreError: the source cannot be read, has an id twice, or values that are not finite or of a wrong shape.
    """
    recipe = _recipe(source, keys, origin or {})
    if out.is_file() and not overwrite:
        store = open_store(out)
        if not any(differences(store.recipe.identity, plain(recipe.identity))):
            return Imported(out, len(store), store.rows, store.width, False)
        raise StoreError(f"{out} exists and was made in another way; choose another --out, or --overwrite it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}") from error
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.import", dir=out.parent) as folder:
        gathered = Path(folder, "gathered.lmdb")
        _write(gathered, source, keys, recipe)
        store = open_store(gathered)
        ordered = sorted(((id, store) for id in store), key=lambda item: key_of(item[0]))
        publish(out, recipe, ordered, overwrite=overwrite, progress=progress)
        return Imported(out, len(store), store.rows, store.width, True)


def _recipe(source: Path, keys: Keys, origin: Mapping[str, Any]) -> Recipe:
    if source.is_dir() == any((keys.id, keys.values, keys.times)) or (keys.id is None) != (keys.values is None):
        raise StoreError(
            f"{source}: a file needs the names of two arrays (--id, --values), a folder of .npy files none"
        )
    try:
        content = content_digest(source)
    except OSError as error:
        raise StoreError(f"{source}: cannot be read: {error.strerror}") from error
    identity = {"imported": plain(keys), "version": VERSION, "content": content, "dtype": "float32"}
    return Recipe(identity, {"source": str(source.absolute()), **origin})


def _write(path: Path, source: Path, keys: Keys, recipe: Recipe) -> None:
    clips = _of_folder(source) if source.is_dir() else _of_file(source, keys)
    first: tuple[str, int] | None = None
    with open_writer(path, recipe) as writer:
        for done, (id, values, times, file) in enumerate(clips, 1):
            rows = _rows(values, times, f"{file}: clip {id!r}")
            first = first or (id, rows.values.shape[1])
            if rows.values.shape[1] != first[1]:
                raise StoreError(
                    f"{file}: clip {id!r} has {rows.values.shape[1]} features, clip {first[0]!r} has {first[1]}"
                )
            writer.append(id, rows)
            writer.finish(id, _source(file))
            if done % CLIPS_PER_COMMIT == 0:
                writer.commit()
        if first is None:
            raise StoreError(f"{source}: there are no clips in it")
        writer.seal()


def _of_file(path: Path, keys: Keys) -> Named:
    assert keys.id is not None  # `_recipe` has refused that
    assert keys.values is not None
    with open_arrays(path) as arrays:
        ids = array_of(arrays, keys.id, path)
        if ids.ndim != 1:
            raise StoreError(f"{path}: {keys.id!r} has the shape {list(ids.shape)}, not one id a clip")
        texts = texts_of(ids, keys.id, path)
        if twice := [id for id, count in Counter(texts).items() if count > 1]:
            raise StoreError(f"{path}: {len(twice)} ids come more than once, such as {twice[0]!r}")
        if "" in texts:
            raise StoreError(f"{path}: row {texts.index('')} of {keys.id!r}, counted from 0, has no id")
        values = array_of(arrays, keys.values, path)
        times = None if keys.times is None else array_of(arrays, keys.times, path)
    if values.ndim not in (2, 3) or len(values) != len(texts):
        raise StoreError(
            f"{path}: {keys.values!r} has the shape {list(values.shape)}; {len(texts)} ids need"
            f" [{len(texts)}, features] or [{len(texts)}, rows, features]"
        )
    if times is not None and times.shape != (*values.shape[:-1], 2):
        raise StoreError(f"{path}: {keys.times!r} has the shape {list(times.shape)}, not {[*values.shape[:-1], 2]}")
    for at, id in enumerate(texts):
        yield id, values[at], None if times is None else times[at], path


def _of_folder(folder: Path) -> Named:
    for path in sorted(folder.glob("*.npy")):
        yield path.stem, read_array(path), None, path


def _rows(values: Array, times: Array | None, where: str) -> Rows:
    """The rows of one clip as a cache holds them."""
    if values.dtype.kind not in "fiub":
        raise StoreError(f"{where} has values of the type {values.dtype}, not numbers")
    if values.ndim not in (1, 2) or not values.shape[-1]:
        raise StoreError(f"{where} has the shape {list(values.shape)}, not [features] or [rows, features]")
    if not np.isfinite(values).all():
        raise StoreError(f"{where} has {int((~np.isfinite(values)).sum())} values that are NaN or infinite")
    with np.errstate(over="ignore"):
        found = np.atleast_2d(values).astype(np.float32)
    if not np.isfinite(found).all():
        raise StoreError(f"{where} has values that are too large for float32")
    if times is None:
        return Rows(found, np.zeros((len(found), 2)))
    spans = np.atleast_2d(times).astype(np.float64)
    if not (np.isfinite(spans).all() and (spans[:, 0] <= spans[:, 1]).all()):
        raise StoreError(f"{where} has times that are not [start, end] in seconds")
    return Rows(found, spans)


def _source(file: Path) -> Source:
    status = file.stat()
    return Source(str(file.absolute()), size=status.st_size, mtime=status.st_mtime)
