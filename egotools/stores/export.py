"""A cache as files that need no egotools to be read."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import numpy as np

from egotools.config import to_json
from egotools.errors import StoreError
from egotools.stores.copying import Progress, check_space, silent
from egotools.stores.opening import open_store
from egotools.stores.store import Store

LONGEST_NAME = 200  # bytes; file systems end at 255


def export_npz(path: Path, folder: Path, *, progress: Progress = silent) -> int:
    """Writes one `.npz` a clip (`values` [T, D], `times` [T, 2]), `index.csv` (id, file, rows) and `recipe.json`.

    Returns:
        The number of clips.

    Raises:
        StoreError: the folder holds something already, a clip is damaged, or the disk is full.
    """
    store = open_store(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} exists and is not an empty folder; choose another --out, or remove it")
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    check_space(parent, store.rows * (store.width * store.dtype.itemsize + 16))
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
    try:
        _write_files(store, aside, progress)
        aside.chmod(0o777 & ~_umask())
        os.replace(aside, folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # gone already if all went well
    return len(store)


def _write_files(store: Store, folder: Path, progress: Progress) -> None:
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as index:
        table = csv.writer(index)
        table.writerow(["id", "file", "rows"])
        for done, name in enumerate(store, 1):
            if not store.stored(name).is_intact():
                raise StoreError(f"{store.path}: damaged: clip {name!r}; see 'egotools cache verify'")
            rows = store[name]
            file = file_name(name) + ".npz"
            np.savez(folder / file, values=rows.values, times=rows.times)
            table.writerow([name, file, len(rows.values)])
            progress(done, len(store))
    recipe = {"identity": store.recipe.identity, "origin": store.recipe.origin}
    (folder / "recipe.json").write_text(to_json(recipe) + "\n", encoding="utf-8")


def file_name(id: str) -> str:
    """A name for a file, another one for each id, that never leaves its folder.

    >>> file_name("../a b/1")
    '%2E.%2Fa%20b%2F1'
    """
    name = quote(id, safe="")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > LONGEST_NAME:  # "=" stands in no short name, so the two kinds never meet
        return f"{name[:100]}={hashlib.sha256(id.encode()).hexdigest()}"
    return name


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
