"""Caches by path: LMDB or HDF5 by the suffix."""

from __future__ import annotations

from pathlib import Path

from egotools.errors import StoreError
from egotools.stores.lmdb_store import LMDBStore
from egotools.stores.lmdb_writer import LMDBWriter
from egotools.stores.store import SUFFIXES, Recipe, Store, Writer


def open_store(path: Path | str) -> Store:
    """Opens a cache for reading, LMDB or HDF5 by its suffix.

    Raises:
        StoreError: no such cache, not a cache, or cut short.
    """
    path = Path(path)
    if path.suffix == ".lmdb":
        return LMDBStore(path)
    if path.suffix == ".h5":
        from egotools.stores.hdf5_store import HDF5Store  # here, for h5py takes its time to import

        return HDF5Store(path)
    raise StoreError(f"{path}: a cache is a file that ends in {' or '.join(SUFFIXES)}")


def open_writer(path: Path | str, recipe: Recipe) -> Writer:
    """Opens a cache for writing: creates it, or goes on with the one that has the same `recipe.identity`.

    Raises:
        RecipeError: the cache there was made in another way; the differing option is named.
        StoreError: another process is writing it, or it is no cache.
    """
    path = Path(path)
    if path.suffix == ".lmdb":
        return LMDBWriter(path, recipe)
    if path.suffix == ".h5":
        from egotools.stores.hdf5_writer import HDF5Writer

        return HDF5Writer(path, recipe)
    raise StoreError(f"{path}: a cache is a file that ends in {' or '.join(SUFFIXES)}")
