"""Writes a cache as LMDB environments that the public loaders of Assembly101's features read."""

import mmap
import os
import pickle
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import lmdb
import numpy as np

from egotools.errors import StoreError
from egotools.progress import Progress, no_progress
from egotools.stores.assembly101 import (
    DATA,
    LOCK,
    LONGEST_KEY,
    STATISTICS,
    VALUE,
    WIDTH,
    frame_numbers,
    key_of_frame,
    parts_of,
    statistics_of,
)
from egotools.stores.copying import check_space, copied_pieces, sync_folder
from egotools.stores.export import RECIPE, new_folder, write_recipe
from egotools.stores.lmdb_environment import explained
from egotools.stores.opening import open_store
from egotools.stores.store import Store

FORMAT = "egotools export for Assembly101"  # identifies the folder in `recipe.json`
PER_TRANSACTION = 8  # pieces of at most 4 MiB: 4096 frames
PAGE = max(mmap.PAGESIZE, 4096)  # bytes of LMDB's pages
HEADER = 16  # bytes at the beginning of a value's pages
SLACK = 1 << 20  # bytes of an environment for its first pages and lists of free ones


@dataclass(frozen=True)
class ExportedFrames:
    """What was written, and the clips without rows, of which there is nothing to write."""

    clips: int
    frames: int
    cameras: tuple[str, ...]
    empty: tuple[str, ...]


def export_assembly101(
    path: Path, folder: Path, *, overwrite: bool = False, progress: Progress = no_progress
) -> ExportedFrames:
    """Writes one environment per camera, `statistic_input_all.pkl` and `recipe.json`.

    Values are float32; the number of a frame is that of its row's start, at 30 per second, from 1.

    Args:
        path: a cache of rows of 2048 numbers, one per 1/30 s, with ids `<recording>/<camera>`.
        folder: new, or empty.
        overwrite: whether to replace an earlier export.
        progress: reports frames.

    Raises:
        StoreError: the cache has other rows or ids, or a damaged clip; or the folder contains something else, or cannot
            be written.
    """
    store = open_store(path)
    if store.rows and store.width != WIDTH:
        raise StoreError(f"{path}: rows of {store.width} numbers; Assembly101's layout holds {WIDTH}, those of 'tsm'")
    ranges = statistics_of(store)
    cameras: defaultdict[str, list[str]] = defaultdict(list)
    empty: list[str] = []
    for id in store:
        recording, camera = parts_of(id, path)
        (cameras[camera] if camera in ranges.get(recording, {}) else empty).append(id)
    if not cameras:
        raise StoreError(f"{path}: contains no rows to export")
    with new_folder(folder, FORMAT, _files_of, overwrite=overwrite) as new:
        check_space(new, sum(_size(store, ids) for ids in cameras.values()))
        done = 0
        for camera, ids in sorted(cameras.items()):
            done = _write_camera(store, ids, new / camera, done, progress)
        (new / STATISTICS).write_bytes(pickle.dumps(ranges, protocol=2))
        write_recipe(new, FORMAT, store)
    return ExportedFrames(sum(map(len, cameras.values())), done, tuple(sorted(cameras)), tuple(empty))


def _files_of(folder: Path) -> Collection[str]:
    """The names of what an export consists of; of folders, those that hold an environment and nothing else."""
    folders = [each for each in folder.iterdir() if each.is_dir() and not each.is_symlink()]
    return {STATISTICS, RECIPE, *(each.name for each in folders if {*os.listdir(each)} <= {DATA, LOCK})}


def _size(store: Store, ids: Sequence[str]) -> int:
    """The most bytes that an environment of these clips takes."""
    rows = sum(len(store.stored(id)) for id in ids)
    pages = -(-(VALUE + HEADER) // PAGE)  # LMDB gives each value pages of its own
    return rows * (pages * PAGE + 2 * (LONGEST_KEY + 32)) + SLACK


def _write_camera(store: Store, ids: Sequence[str], folder: Path, done: int, progress: Progress) -> int:
    """Writes one environment; returns how many frames are done by then."""
    with explained(folder):
        environment = lmdb.open(str(folder), map_size=_size(store, ids), sync=False, metasync=False)
        try:
            for id in ids:  # in the order of their bytes, as are the keys
                done = _write_clip(store, id, environment, done, progress)
            environment.sync(True)
        finally:
            environment.close()
    sync_folder(folder)
    return done


def _write_clip(store: Store, id: str, environment: lmdb.Environment, done: int, progress: Progress) -> int:
    numbers, at = frame_numbers(store, id).tolist(), 0
    pieces = copied_pieces(store, id, np.dtype("<f4"))
    while batch := list(islice(pieces, PER_TRANSACTION)):
        with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            for piece in batch:
                values = np.ascontiguousarray(piece.values).view(np.uint8)
                keys = [key_of_frame(id, number).encode() for number in numbers[at : at + len(values)]]
                _, added = cursor.putmulti([(key, values[row].data) for row, key in enumerate(keys)], append=True)
                if added != len(keys):
                    raise StoreError(f"{store.path}: clip {id!r}: its keys are not in order; 'egotools cache verify'")
                at += added
        progress(f"exporting {store.path.name}", done + at, store.rows)
    store.release()
    return done + at
