"""Opens caches by path: LMDB or HDF5, by the suffix."""

from pathlib import Path

from egotools.errors import StoreError
from egotools.stores.lmdb_partial import PartialStore
from egotools.stores.lmdb_store import LMDBStore
from egotools.stores.lmdb_writer import LMDBWriter
from egotools.stores.store import PART, SUFFIXES, Recipe, Store, Writer, part_of


def open_store(path: Path | str, *, partial: bool = False) -> Store:
    """Opens a cache for reading, LMDB or HDF5 by its suffix.

    Args:
        path: the cache; with `partial` also the part in which an HDF5 cache is collected, `NAME.h5.part`.
        partial: whether clips that are not finished are in it, too, with the rows that are there.

    Raises:
        StoreError: it does not exist, is not a cache, or is cut short.
    """
    if partial and Path(path).name.endswith((".lmdb", PART)):
        return PartialStore(Path(path))
    path = _checked(path)
    if partial and part_of(path).exists():
        raise StoreError(f"{path} has no unfinished clips; they are in {part_of(path).name}: open that")
    if path.suffix == ".lmdb":
        return LMDBStore(path)
    from egotools.stores.hdf5_store import HDF5Store  # imported here because h5py is slow to import

    return HDF5Store(path)


def open_writer(path: Path | str, recipe: Recipe) -> Writer:
    """Opens a cache for writing: creates it, or extends the existing one with the same `recipe.identity`.

    Raises:
        RecipeError: the existing cache has another recipe; the message names the differing option.
        StoreError: another process is writing it, or the path is not a cache.
    """
    path = _checked(path)
    if path.suffix == ".lmdb":
        return LMDBWriter(path, recipe)
    from egotools.stores.hdf5_writer import HDF5Writer

    return HDF5Writer(path, recipe)


def _checked(path: Path | str) -> Path:
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise StoreError(f"{path}: the name of a cache must end in {' or '.join(SUFFIXES)}")
    return path
