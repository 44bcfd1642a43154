"""Writes a complete new cache from clips of others: it appears only when complete."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from egotools.errors import StoreError
from egotools.progress import Progress, no_progress
from egotools.stores.aside import aside
from egotools.stores.copying import check_space, copy_clip, sync_folder
from egotools.stores.store import SUFFIXES, Recipe, Store, Writer

CLIPS_PER_COMMIT = 1000


def publish(
    path: Path,
    recipe: Recipe,
    clips: Sequence[tuple[str, Store]],
    *,
    dtype: np.dtype[Any] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> None:
    """Writes a cache in the format of the suffix of `path`.

    Args:
        clips: each id and its cache, sorted by id.
        dtype: of the rows; that of the caches if None.
        overwrite: whether to replace an existing cache; readers that have it open keep the old one.

    Raises:
        StoreError: the cache exists already, another process writes it, a clip is damaged, or the disk is full.
    """
    check_free(path, overwrite=overwrite)
    with aside(path) as folder:
        check_free(path, overwrite=overwrite)  # again, now that the lock is held
        place(path, folder, recipe, clips, dtype=dtype, progress=progress)


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuses a path without the suffix of a cache, or an existing one.

    Raises:
        StoreError: the message says which.
    """
    if path.suffix not in SUFFIXES:
        raise StoreError(f"{path}: the name of a cache must end in {' or '.join(SUFFIXES)}")
    if os.path.isdir(path) or (os.path.exists(path) and not overwrite):
        raise StoreError(f"{path} exists; choose another name, or replace it with --overwrite")


def place(
    path: Path,
    folder: Path,
    recipe: Recipe,
    clips: Sequence[tuple[str, Store]],
    *,
    dtype: np.dtype[Any] | None = None,
    progress: Progress = no_progress,
) -> None:
    """Like `publish`, for the holder of the cache's lock, with an empty `folder` next to it."""
    if path.suffix == ".h5":
        from egotools.stores.hdf5_writer import publish_hdf5

        publish_hdf5(path, recipe, clips, dtype=dtype, progress=progress)
        return
    _write_lmdb(folder / path.name, recipe, clips, dtype, progress)
    replace(folder / path.name, path)


def place_gathered(path: Path, gathered: Path, recipe: Recipe, *, progress: Progress = no_progress) -> None:
    """Publishes a complete live cache, alone in a folder next to `path`, in the format of the suffix of `path`."""
    from egotools.stores.lmdb_store import LMDBStore

    if path.suffix == ".lmdb":
        replace(gathered, path)
    else:
        store = LMDBStore(gathered)
        place(path, gathered.parent, recipe, [(id, store) for id in store], progress=progress)


def _write_lmdb(
    path: Path, recipe: Recipe, clips: Sequence[tuple[str, Store]], dtype: np.dtype[Any] | None, progress: Progress
) -> None:
    from egotools.stores.lmdb_writer import LMDBWriter

    stores = {id(store): store for _, store in clips}.values()
    check_space(path.parent, sum(store.rows * store.width * (dtype or store.dtype).itemsize for store in stores))
    with LMDBWriter(path, recipe) as writer:
        copy_clips(clips, writer, dtype, progress)


def copy_clips(
    clips: Sequence[tuple[str, Store]], writer: Writer, dtype: np.dtype[Any] | None, progress: Progress
) -> None:
    """Copies clips into a cache, and seals it."""
    for done, (name, store) in enumerate(clips, 1):
        copy_clip(store, name, writer, dtype)
        if done % CLIPS_PER_COMMIT == 0:
            writer.commit()
        progress(f"writing {writer.path.name}", done, len(clips))
    writer.seal()


def replace(new: Path, path: Path) -> None:
    """Renames a complete cache to `path`; readers of the old file keep it. Both are on the same file system."""
    for place in (new, path):  # LMDB's lock files belong to the old files
        place.with_name(place.name + "-lock").unlink(missing_ok=True)
    os.replace(new, path)
    sync_folder(path.parent)
