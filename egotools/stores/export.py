"""Exports a cache as files that can be read without egotools, and that `cache import` reads again."""

import csv
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from egotools.config import plain, to_json
from egotools.errors import ManifestError, StoreError
from egotools.files.csv_files import read_csv
from egotools.files.json_files import read_json
from egotools.files.numpy_files import open_npz
from egotools.progress import Progress, no_progress
from egotools.stores.aside import aside, explained
from egotools.stores.copying import check_space, intact
from egotools.stores.lmdb_partial import PartialStore
from egotools.stores.opening import open_store
from egotools.stores.source import Source
from egotools.stores.store import Recipe, Store, StoredClip
from egotools.texts import counted
from egotools.types import Rows

LONGEST_NAME = 200  # bytes; file systems end at 255
FORMAT = "egotools export"  # identifies the folder in `recipe.json`
INDEX, RECIPE = "index.csv", "recipe.json"
COLUMNS = ["id", "file", "rows", "checksum", "source"]


@dataclass(frozen=True)
class Exported:
    """An exported folder: the recipe of its cache, and each clip's file, checksum and source."""

    folder: Path
    recipe: Recipe
    clips: dict[str, tuple[str, int, Source]]


def export_npz(
    path: Path, folder: Path, *, overwrite: bool = False, partial: bool = False, progress: Progress = no_progress
) -> int:
    """Writes one `.npz` per clip (`values` [T, D], `times` [T, 2]), `index.csv` and `recipe.json`.

    Args:
        path: a cache.
        folder: new, or empty.
        overwrite: whether to replace an earlier export.
        partial: whether to include clips that are not finished; `recipe.json` names them, and an import refuses them.
        progress: reports clips.

    Returns:
        The number of clips.

    Raises:
        StoreError: the folder contains something else, a clip is damaged, or it cannot be written.
    """
    store = open_store(path, partial=partial)
    with new_folder(folder, FORMAT, _files_of, overwrite=overwrite) as new:
        check_space(new, store.rows * (store.width * store.dtype.itemsize + 16))
        _write_files(store, new, progress)
    return len(store)


@contextmanager
def new_folder(
    folder: Path, format: str, files_of: Callable[[Path], Collection[str]], *, overwrite: bool
) -> Iterator[Path]:
    """A folder to write an export into, which takes the place of `folder` once it is complete.

    Args:
        folder: new, or empty.
        format: what the `recipe.json` of an earlier export says.
        files_of: the names of what an earlier export consists of.
        overwrite: whether to replace an earlier export.

    Raises:
        StoreError: `folder` contains something else, or cannot be written.
    """
    folder = Path(os.path.abspath(folder))  # "." has no name of its own
    with explained(folder):
        _check_free(folder, format, files_of, overwrite=overwrite)
    with aside(folder) as temporary:
        _check_free(folder, format, files_of, overwrite=overwrite)
        new, old = temporary / folder.name, temporary / "old"
        new.mkdir()
        yield new
        if folder.is_dir():
            os.replace(folder, old)
        os.replace(new, folder)


def _files_of(folder: Path) -> Collection[str]:
    return {INDEX, RECIPE, *(file for file, _, _ in read_export(folder).clips.values())}


def _check_free(folder: Path, format: str, files_of: Callable[[Path], Collection[str]], *, overwrite: bool) -> None:
    is_link = os.path.islink(folder)
    if not os.path.lexists(folder) or (os.path.isdir(folder) and not is_link and not os.listdir(folder)):
        return
    if not overwrite or is_link or not has_format(folder / RECIPE, format):
        hint = "; --overwrite replaces an earlier export" if not overwrite else ""
        raise StoreError(f"{folder} exists and is not an empty folder; choose another --out, or remove it{hint}")
    if others := sorted({*os.listdir(folder)} - {*files_of(folder)}):
        raise StoreError(
            f"{folder} contains files that are not from an export, such as {others[0]}; choose another --out"
        )


def _write_files(store: Store, folder: Path, progress: Progress) -> None:
    with (folder / INDEX).open("w", newline="", encoding="utf-8") as index:
        table = csv.writer(index, quoting=csv.QUOTE_NONNUMERIC)  # a lone carriage return in an id must be quoted
        table.writerow(COLUMNS)
        for done, name in enumerate(store, 1):
            checksum, rows = intact(store, name).checksum, store[name]
            file = file_name(name) + ".npz"
            np.savez(folder / file, values=rows.values, times=rows.times)
            table.writerow([name, file, len(rows.values), checksum, store.source(name).to_json()])
            progress(f"exporting {store.path.name}", done, len(store))
    write_recipe(folder, FORMAT, store)


def write_recipe(folder: Path, format: str, store: Store) -> None:
    """Writes the recipe of a cache into its export."""
    recipe = {"format": format, **recipe_of(store)}
    (folder / RECIPE).write_text(to_json(recipe) + "\n", encoding="utf-8")


def recipe_of(store: Store) -> dict[str, Any]:  # Any: JSON values
    """The recipe of a cache, as stored in an export; and the clips that are not finished: rows there, and all rows."""
    recipe = {"identity": plain(store.recipe.identity), "origin": plain(store.recipe.origin)}
    unfinished = store.unfinished if isinstance(store, PartialStore) else {}
    if not unfinished:
        return recipe
    return {**recipe, "unfinished": {id: [clip.rows, clip.begun.total] for id, clip in unfinished.items()}}


def file_name(id: str) -> str:
    """A unique file name for an id, which cannot leave its folder.

    >>> file_name("../a b/1")
    '%2E.%2Fa%20b%2F1'
    """
    name = quote(id, safe="")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > LONGEST_NAME:  # short names contain no "=", so the two kinds never collide
        return f"{name[:100]}={hashlib.sha256(id.encode()).hexdigest()}"
    return name


def is_export(folder: Path) -> bool:
    """Whether a folder is an export, by its `recipe.json`."""
    return has_format(folder / RECIPE, FORMAT)


def has_format(path: Path, name: str) -> bool:
    """Whether a JSON file is ours, of that format."""
    try:
        said = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("format") == name


def read_export(folder: Path) -> Exported:
    """The recipe and index of an exported folder.

    Raises:
        StoreError: its recipe or index is damaged.
    """
    try:
        said, (_, rows) = read_json(folder / RECIPE), read_csv(folder / INDEX)
    except (OSError, ValueError, ManifestError) as error:
        raise StoreError(f"{folder}: damaged: {error}; export it again") from error
    if unfinished := said.get("unfinished"):
        raise StoreError(
            f"{folder}: an export with {counted(len(unfinished), 'unfinished clip')} (--partial), but a cache holds"
            " whole clips only; export it without --partial"
        )
    if not all(isinstance(said.get(part), dict) for part in ("identity", "origin")):
        raise StoreError(f"{folder / RECIPE}: the recipe is missing; export it again")
    clips = {}
    for number, cells in rows:
        try:
            id, file = cells["id"], cells["file"]
            if file != file_name(id) + ".npz" or id in clips:
                raise ValueError(f"{file!r} is not its file, or {id!r} appears twice")
            clips[id] = file, int(cells["checksum"]), Source.from_json(cells["source"])
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{folder / INDEX}, row {number}: not what was exported ({error})") from error
    return Exported(folder, Recipe(said["identity"], said["origin"]), clips)


def exported_rows(exported: Exported) -> Iterator[tuple[str, Rows, Source]]:
    """The rows of each clip of an export.

    Raises:
        StoreError: a file is missing, cannot be read, or was changed since.
    """
    for id, (file, checksum, source) in exported.clips.items():
        path = exported.folder / file
        try:
            if path.is_symlink():
                raise ValueError("it is a link")
            with open_npz(path) as arrays:
                rows = Rows(arrays["values"], arrays["times"])
        except (OSError, KeyError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read: {error}; export it again") from error
        if not StoredClip([rows.values], rows.times, checksum).is_intact():
            raise StoreError(f"{path}: clip {id!r} was changed since it was exported; export it again")
        yield id, rows, source
