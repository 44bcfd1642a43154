"""Imports arrays that other programs wrote as caches.

Axes: N clips, T rows of one clip, D features.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from egotools.config import file_digest, plain
from egotools.errors import StoreError
from egotools.files.disk import open_file, walk
from egotools.progress import Progress, no_progress
from egotools.stores.arrays import Array, array_of, ids_of, open_arrays, read_array
from egotools.stores.aside import aside
from egotools.stores.assembly101 import environments_digest
from egotools.stores.export import Exported, exported_rows, is_export, read_export
from egotools.stores.opening import open_store, open_writer
from egotools.stores.publish import CLIPS_PER_COMMIT, check_free, place_gathered
from egotools.stores.source import Source
from egotools.stores.store import Recipe, Store, differences
from egotools.texts import composed
from egotools.types import Rows

VERSION = 1
LAYOUT = "from"  # the entry of what was imported that names a data set's own layout
EGO4D = "ego4d"  # the layout of released features, a file a video
SAMPLES, SAMPLE = 16, 4096  # of each of their files: places, and bytes at each
Named = Iterator[tuple[str, Array, Array | None, Path]]  # id, values, times or none, their file


@dataclass(frozen=True)
class Imported:
    """An imported cache, and whether it was written now or existed already."""

    cache: Path
    clips: int
    rows: int
    width: int
    is_new: bool
    passed_over: tuple[str, ...] = ()  # files of a folder that are not arrays
    refused: tuple[str, ...] = ()  # links that point outside the folder
    left_out: tuple[str, ...] = ()  # clips of a data set's own layout that are incomplete
    remarks: tuple[str, ...] = ()  # what else was odd there


@dataclass(frozen=True)
class Keys:
    """The names of the arrays in a file; a folder has none: its ids are the names of its `.npy` files."""

    id: str | None = None  # [N] texts or numbers
    values: str | None = None  # [N, D], or [N, T, D]
    times: str | None = None  # [N, 2], or [N, T, 2] seconds


@dataclass(frozen=True)
class Frames:
    """That each array of a folder has a row for each frame of a video, or a column."""

    fps: float  # row k has the times k / fps to (k + 1) / fps
    are_columns: bool = False  # [D, T], as usual in temporal segmentation


def is_imported(recipe: Recipe) -> bool:
    """Whether a cache was imported from another program's arrays."""
    return "imported" in recipe.identity


def import_arrays(
    source: Path,
    out: Path,
    keys: Keys,
    *,
    frames: Frames | None = None,
    origin: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Imported:
    """Writes the arrays of a file, or a folder of `.npy` files, as a cache of float32 rows.

    A clip's times are the given ones; without any, all its rows have 0 to 0. A folder that
    `export_npz` wrote becomes the same cache again, including recipe, times and sources.

    Args:
        source: a `.npz` or HDF5 file, an exported folder, or one with a `.npy` [D] or [T, D] per clip, at any depth.
        out: `.lmdb` or `.h5`.
        keys: the names of the arrays in a file.
        frames: of a folder, how frames become rows and times; None: rows with times 0 to 0.
        origin: further provenance for the recipe: the command.
        overwrite: whether to replace an existing cache; one that was imported from the same source is left unchanged.
        progress: reports clips.

    Raises:
        StoreError: the source cannot be read, has an id twice, or values that are not finite or of a wrong shape; or
            the cache cannot be written.
    """
    if os.path.isdir(source) == any((keys.id, keys.values, keys.times)) or (keys.id is None) != (keys.values is None):
        raise StoreError(
            f"{source}: a file needs the names of two arrays (--id, --values), a folder of .npy files must have none"
        )
    folder = list_arrays(source) if os.path.isdir(source) and not is_export(source) else None
    exported = read_export(source) if os.path.isdir(source) and folder is None else None
    recipe = exported.recipe if exported else _recipe(source, keys, frames, origin or {})
    if exported:
        recipe = replace(recipe, origin={**recipe.origin, "exported": str(source.absolute())})
    left = (folder.passed_over, folder.refused) if folder else ((), ())
    if os.path.isfile(out) and not overwrite:
        store = open_store(out)
        is_same = not any(differences(store.recipe.identity, plain(recipe.identity)))
        if is_same and (exported is None or _holds(store, exported)):
            return Imported(out, len(store), store.rows, store.width, False, *left)
        raise StoreError(f"{out} exists and was made differently; choose another --out, or replace it with --overwrite")
    check_free(out, overwrite=overwrite)
    if folder:
        clips, total = _checked(_of_folder(folder, frames)), len(folder.arrays)
    elif exported:
        clips, total = exported_rows(exported), len(exported.clips)
    else:
        texts, values, times = _arrays(source, keys)
        clips, total = _checked(_of_file(source, texts, values, times)), len(texts)
    with aside(out) as temporary:
        check_free(out, overwrite=overwrite)
        gathered = temporary / "gathered.lmdb"
        _gather(gathered, source, clips, recipe, lambda done: progress(f"reading {source.name}", done, total))
        store = open_store(gathered)
        place_gathered(out, gathered, recipe, progress=progress)
        return Imported(out, len(store), store.rows, store.width, True, *left)


def _recipe(source: Path, keys: Keys, frames: Frames | None, origin: Mapping[str, Any]) -> Recipe:
    try:
        content = imported_digest(source)
    except OSError as error:
        raise StoreError(f"{source}: cannot be read: {error.strerror}") from error
    imported = {**plain(keys), **({"frames": plain(frames)} if frames else {})}
    identity = {"imported": imported, "version": VERSION, "content": content, "dtype": "float32"}
    return Recipe(identity, {"source": str(source.absolute()), **origin})


def layout_of(recipe: Recipe) -> str:
    """The data set in whose own layout the source of an import is; "" for arrays."""
    imported = recipe.identity.get("imported")
    return str(imported.get(LAYOUT, "")) if isinstance(imported, Mapping) else ""


def imported_digest(source: Path, layout: str = "") -> str:
    """The digest of an import's source: a file, or a folder with everything in it at any depth.

    Args:
        source: what was imported.
        layout: the data set in whose own layout it is (`layout_of`).

    Raises:
        OSError: it cannot be read.
    """
    if layout and layout != EGO4D:
        return environments_digest(source)
    digest_of = _sampled if layout else file_digest
    if not os.path.isdir(source):
        return digest_of(source)
    files = [folder / name for folder, names in walk(source, []) for name in names]
    relative = sorted((path.relative_to(source).as_posix(), path) for path in files if path.is_file())
    sha = hashlib.sha256()
    for name, path in relative:
        sha.update(f"{name}\0{digest_of(path)}\0".encode(errors="surrogateescape"))
    return sha.hexdigest()[:16]


def _sampled(path: Path) -> str:
    """The digest of a file's size and of samples of it: released features have hundreds of gigabytes."""
    size = path.stat().st_size
    if size <= SAMPLES * SAMPLE:
        return file_digest(path)
    sha = hashlib.sha256(str(size).encode())
    with open_file(path) as file:
        for place in np.linspace(0, size - SAMPLE, SAMPLES).astype(np.int64).tolist():
            sha.update(os.pread(file.fileno(), SAMPLE, place))
    return sha.hexdigest()[:16]


def _holds(store: Store, exported: Exported) -> bool:
    return len(store) == len(exported.clips) and all(
        id in store and store.stored(id).checksum == checksum for id, (_, checksum, _) in exported.clips.items()
    )


@dataclass(frozen=True)
class Folder:
    """The arrays of a folder by id, and what else is in it."""

    arrays: dict[str, Path]
    passed_over: tuple[str, ...]
    refused: tuple[str, ...]


def list_arrays(folder: Path, suffixes: Sequence[str] = (".npy",)) -> Folder:
    """The files of arrays at any depth of a folder; the id of each is its path without suffix.

    Args:
        folder: where they are.
        suffixes: which files are arrays.

    Raises:
        StoreError: it cannot be listed, has none, or has two for one id.
    """
    refused: list[str] = []
    try:
        files = [at / name for at, names in walk(folder, refused) for name in names]
    except OSError as error:
        raise StoreError(f"{error.filename}: cannot be listed: {error.strerror}") from error
    arrays: dict[str, Path] = {}
    names: dict[str, str] = {}  # normalized name -> name
    passed_over = []
    for path in sorted(files):
        name = path.relative_to(folder).as_posix()
        if path.suffix.lower() not in suffixes:
            passed_over.append(name)
            continue
        id = name[: -len(path.suffix)]
        other = names.setdefault(unicodedata.normalize("NFC", id), name)
        if other != name:
            raise StoreError(f"{folder}: {other} and {name} are both the clip {id!r}; rename one of them")
        arrays[id] = path
    if not arrays:
        raise StoreError(f"{folder}: contains no {' or '.join(suffixes)} files{_instead(passed_over, refused)}")
    return Folder(arrays, tuple(passed_over), tuple(refused))


def _instead(passed_over: Sequence[str], refused: Sequence[str]) -> str:
    """A message on what a folder contains instead of arrays."""
    said = ""
    if passed_over:
        said += f"; {len(passed_over)} files of other kinds, such as {passed_over[0]}"
    if refused:
        said += f"; {len(refused)} links that point outside, such as {refused[0]}"
    return said


def _gather(
    path: Path, source: Path, clips: Iterable[tuple[str, Rows, Source]], recipe: Recipe, tell: Callable[[int], None]
) -> None:
    with open_writer(path, recipe) as writer:
        done = 0
        for done, (id, rows, origin) in enumerate(clips, 1):
            writer.append(id, rows)
            writer.finish(id, origin)
            tell(done)
            if done % CLIPS_PER_COMMIT == 0:
                writer.commit()
        if not done and "imported" in recipe.identity:
            raise StoreError(f"{source}: contains no clips")
        writer.seal()


def _checked(clips: Named) -> Iterator[tuple[str, Rows, Source]]:
    """The rows of each clip in cache form; all must have the same width."""
    first: tuple[str, int] | None = None
    origin_of = lru_cache(maxsize=1)(source_of)  # many clips may share a file
    for id, values, times, file in clips:
        rows = rows_of(values, times, f"{file}: clip {id!r}")
        first = first or (id, rows.values.shape[1])
        if rows.values.shape[1] != first[1]:
            raise StoreError(
                f"{file}: clip {id!r} has {rows.values.shape[1]} features, clip {first[0]!r} has {first[1]}"
            )
        yield id, rows, origin_of(file)


def _of_folder(folder: Folder, frames: Frames | None) -> Named:
    for id, path in folder.arrays.items():
        values, times = read_array(path), None
        if frames:
            values = np.ascontiguousarray(values.T if frames.are_columns else values)
            starts = np.arange(len(np.atleast_2d(values)))
            times = np.stack([starts, starts + 1], axis=1) / frames.fps
        yield id, values, times, path


def _arrays(path: Path, keys: Keys) -> tuple[list[str], Array, Array | None]:
    """The ids of a file's clips, their values and times, if it has these."""
    assert keys.id is not None  # checked by `_recipe`
    assert keys.values is not None
    with open_arrays(path) as arrays:
        texts = [composed(text) for text in ids_of(arrays, keys.id, path)]
        if twice := [id for id, count in Counter(texts).items() if count > 1]:
            raise StoreError(f"{path}: {len(twice)} ids appear more than once, such as {twice[0]!r}")
        if "" in texts:
            raise StoreError(f"{path}: row {texts.index('')} of {keys.id!r}, counted from 0, has no id")
        values = array_of(arrays, keys.values, path)
        times = None if keys.times is None else array_of(arrays, keys.times, path)
    if values.ndim not in (2, 3) or len(values) != len(texts):
        raise StoreError(
            f"{path}: {keys.values!r} has the shape {list(values.shape)}; with {len(texts)} ids it must be"
            f" [{len(texts)}, features] or [{len(texts)}, rows, features]"
            + ("; it may have to be transposed" if values.shape[1:] == (len(texts),) else "")
        )
    if times is not None and times.shape != (*values.shape[:-1], 2):
        raise StoreError(f"{path}: {keys.times!r} has the shape {list(times.shape)}, not {[*values.shape[:-1], 2]}")
    return texts, values, times


def _of_file(path: Path, texts: Sequence[str], values: Array, times: Array | None) -> Named:
    for at, id in enumerate(texts):
        yield id, values[at], None if times is None else times[at], path


def rows_of(values: Array, times: Array | None, where: str) -> Rows:
    """The rows of one clip in cache form: float32, of values [D] or [T, D] and times [2] or [T, 2].

    Raises:
        StoreError: not numbers, of another shape, or not finite; `where` says which.
    """
    if values.dtype.kind not in "fiub":
        raise StoreError(f"{where} has values of type {values.dtype}, not numbers")
    if values.ndim not in (1, 2) or not values.shape[-1]:
        raise StoreError(f"{where} has the shape {list(values.shape)}, not [features] or [rows, features]")
    found = np.atleast_2d(values)
    if found.dtype != np.float32:
        with np.errstate(over="ignore"):
            found = found.astype(np.float32)
    if not np.isfinite(found).all():
        wrong = int((~np.isfinite(values)).sum())
        raise StoreError(
            f"{where} has {f'{wrong} NaN or infinite values' if wrong else 'values too large for float32'}"
        )
    if times is None:
        return Rows(found, np.zeros((len(found), 2)))
    spans = np.atleast_2d(times).astype(np.float64)
    if not (np.isfinite(spans).all() and (spans[:, 0] <= spans[:, 1]).all()):
        raise StoreError(f"{where} has times that are not [start, end] in seconds")
    return Rows(found, spans)


def source_of(file: Path) -> Source:
    """A file as the source of rows, in its current state."""
    status = file.stat()
    return Source(str(file.absolute()), size=status.st_size, mtime=status.st_mtime)
