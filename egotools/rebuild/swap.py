"""Builds the new cache in `.NAME.rebuild/` next to the old one, and swaps it in.

Clips are computed into an LMDB there, whatever the cache's own format; an interrupted rebuild is resumed.
"""

import errno
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from glob import escape
from pathlib import Path

from egotools.config import plain
from egotools.derive import fitted
from egotools.errors import StoreError
from egotools.files.disk import remove
from egotools.progress import Progress
from egotools.stores.copying import check_space
from egotools.stores.lmdb_partial import PartialStore
from egotools.stores.opening import open_store, open_writer
from egotools.stores.publish import copy_clips, publish
from egotools.stores.source import SourceFiles
from egotools.stores.store import Recipe, Store, differences, key_of, make_folder_of, part_of
from egotools.stores.verify import verify
from egotools.types import Clip


def folder_of(cache: Path) -> Path:
    """The folder in which a cache is rebuilt."""
    return cache.with_name(f".{cache.name}.rebuild")


def workplace(cache: Path) -> Path:
    """The LMDB that receives its computed clips."""
    return folder_of(cache) / f"{cache.stem}.lmdb"


def resume(cache: Path, recipe: Recipe, clips: Mapping[str, Clip], files: SourceFiles) -> None:
    """Keeps the clips of an interrupted rebuild that are still fresh.

    Raises:
        StoreError: the disk is full, or another process is at work there.
    """
    path = workplace(cache)
    if folder_of(cache).is_symlink() or path.is_symlink():  # not created by egotools
        clear(cache)
    try:
        store, damaged = open_store(path), verify(path).bad
    except StoreError:  # none, or nothing committed
        clear(cache)
        return
    if any(differences(store.recipe.identity, plain(recipe.identity))):
        del store
        clear(cache)
        return
    held = [id for id in store if id in clips and id not in damaged and not files.change(store.source(id), clips[id])]
    if len(held) < len(store):
        publish(path, recipe, [(id, store) for id in held], overwrite=True)


def carry_unfinished(cache: Path, recipe: Recipe, ids: frozenset[str]) -> None:
    """Copies the first rows of clips that an interrupted extraction has left in the cache, to be resumed from there.

    Raises:
        StoreError: the disk is full, or another process is at work there.
    """
    path = part_of(cache) if cache.suffix == ".h5" else cache
    try:
        store = PartialStore(path)
    except StoreError:  # there is none, or it is assessed elsewhere
        return
    wanted = [(id, clip.begun) for id, clip in store.unfinished.items() if id in ids]
    if not wanted or any(differences(store.recipe.identity, plain(recipe.identity))):
        return
    make_folder_of(workplace(cache))
    with open_writer(workplace(cache), recipe) as writer:
        for id, begun in wanted:
            if id in writer or id in writer.unfinished:
                continue
            try:
                clip = store.stored(id)
            except StoreError:  # damaged: the clip is computed from its first row on
                continue
            for piece in clip.pieces():
                writer.append(id, piece)
            writer.commit({id: begun})


def complete(cache: Path, recipe: Recipe, carried: Mapping[str, Store], *, progress: Progress) -> Path:
    """Completes the computed clips with the fresh ones of the old cache: a new cache, in its format.

    Raises:
        StoreError: a clip is damaged, or the disk is full.
    """
    path = workplace(cache)
    if cache.suffix == ".h5":
        from egotools.stores.hdf5_writer import publish_hdf5  # imported here because h5py is slow to import

        make_folder_of(path)
        computed = open_store(path) if path.exists() else None
        stores = {**carried, **({} if computed is None else dict.fromkeys(computed, computed))}
        ordered = sorted(stores.items(), key=lambda item: key_of(item[0]))
        publish_hdf5(path.with_suffix(".h5"), recipe, ordered, progress=progress)
        return path.with_suffix(".h5")
    with open_writer(path, recipe) as writer:
        for id in [*writer.unfinished]:  # of clips that the manifest no longer has, or that have failed
            writer.drop(id)
        missing = [(id, carried[id]) for id in sorted(carried, key=key_of) if id not in writer]
        check_space(path.parent, sum(_bytes_a_clip(store) for _, store in missing))
        copy_clips(missing, writer, None, progress)
    return path


def _bytes_a_clip(store: Store) -> int:
    return store.rows * store.width * store.dtype.itemsize // max(len(store), 1)


def check(new: Path, recipe: Recipe, expected: frozenset[str], *, progress: Progress) -> None:
    """Verifies a new cache by reading all of it.

    Raises:
        StoreError: it is damaged, or its clips are not exactly the expected ones.
    """
    found = verify(new, progress=progress)
    store = open_store(new)
    wrong = found.faults
    unlike = differences(store.recipe.identity, plain(recipe.identity))
    wrong += [f"{name} is {was!r}, not {now!r}" for name, was, now in unlike]
    if different := expected.symmetric_difference(store):
        wrong.append(f"{len(different)} clips too many or too few, such as {min(different)!r}")
    if wrong:
        raise StoreError(f"{new}: the new cache is not as expected ({wrong[0]}); run the same command again")


def swap(new: Path, cache: Path, *, keep_old: bool) -> Path | None:
    """Atomically replaces the old cache with the new one, with its fitted model; returns the path of a kept old one.

    Raises:
        StoreError: the old one cannot be kept or replaced.
    """
    try:
        kept = _keep(cache) if keep_old and cache.exists() else None
        fitted.exchange(new, cache)
        if cache.suffix == ".h5":
            for part in (part_of(cache), Path(f"{part_of(cache)}-lock")):
                part.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{cache} cannot be replaced: {error}; what was computed is kept next to it") from error
    return kept


def _keep(cache: Path) -> Path:
    """A second name for a cache, in a folder `.old`, which is not searched by default."""
    folder = cache.parent / ".old"
    if folder.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, "a link, not a folder; remove it", str(folder))
    for kept in folder.glob(f"{escape(cache.stem)}.*{cache.suffix}"):
        if kept.samefile(cache):  # a rebuild was killed between this and its swap
            return kept
    moment = datetime.now().strftime("%Y%m%d-%H%M%S-%f")  # to the microsecond, so that names are unique
    kept = folder / f"{cache.stem}.{moment}{cache.suffix}"
    folder.mkdir(exist_ok=True)
    arrays = fitted.file_of(cache, open_store(cache).recipe)
    if arrays is not None and arrays.exists():
        _link(arrays, kept.with_name(arrays.name))
    _link(cache, kept)
    return kept


def _link(file: Path, kept: Path) -> None:
    if kept.is_file() and not kept.is_symlink():  # arrays shared with an older kept cache; names have digests
        return
    remove(kept)
    try:
        os.link(file, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(file, kept)


def clear(cache: Path) -> None:
    """Removes the rebuild folder next to a cache; of a link, only the link."""
    with suppress(OSError):
        remove(folder_of(cache))
