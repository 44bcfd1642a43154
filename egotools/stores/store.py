"""The contract of a cache, whatever holds it on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from egotools.errors import RecipeError, StoreError
from egotools.types import Clip, Rows

SUFFIXES = (".lmdb", ".h5")


@dataclass(frozen=True)
class Recipe:
    """What made a cache. Any: JSON values.

    `identity` decides whether rows may stand beside each other: extractor, its code version, options, weights digest,
    precision, dtype, digests of input caches. `origin` is only reported: manifest path and digest, library versions,
    command, device.
    """

    identity: Mapping[str, Any]
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Where the rows of one clip came from: the file as it was, to tell later whether it has changed."""

    path: str  # absolute; empty for rows that were imported without a file
    start: float = 0.0
    end: float | None = None
    size: int | None = None  # bytes
    mtime: float | None = None  # seconds since 1970

    @classmethod
    def of(cls, clip: Clip) -> Source:
        """The source of `clip` as its file (or frame folder) is now."""
        path = Path(os.path.abspath(clip.path))
        status = path.stat()
        return cls(str(path), clip.start, clip.end, status.st_size, status.st_mtime)


class Store(Protocol):
    """A cache for reading. Ids come in sorted order of their UTF-8 bytes; rows that leave it are copies."""

    path: Path

    @property
    def recipe(self) -> Recipe: ...

    def __contains__(self, id: object) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

    def __getitem__(self, id: str) -> Rows:
        """The rows of a clip.

        Raises:
            KeyError: no such clip.
            StoreError: the bytes on disk are not those that were written.
        """

    def source(self, id: str) -> Source:
        """Where the rows of a clip came from."""


class Writer(Protocol):
    """A cache for writing, one writer at a time. A context manager; leaving it commits nothing that was not."""

    path: Path

    def __contains__(self, id: object) -> bool:
        """Whether a clip is finished, in this cache or in this writer."""

    def append(self, id: str, rows: Rows) -> None:
        """Adds rows to a clip that is not finished; a long clip comes in many pieces. Not visible to readers yet."""

    def finish(self, id: str, source: Source) -> None:
        """Says that a clip has all its rows; it exists from the next commit on. No rows at all is a valid clip."""

    def drop(self, id: str) -> None:
        """Forgets what was appended to a clip that is not finished."""

    def commit(self) -> None:
        """Makes the finished clips durable and visible, all of them or none."""

    def close(self) -> None:
        """Ends writing, and lets another writer in; an unfinished clip leaves no trace.

        Sealing of an HDF5 cache happens in `seal`, not here.
        """

    def seal(self) -> None:
        """Commits, and publishes a sealed cache at `path` (HDF5); of a live one (LMDB), it just commits."""

    def __enter__(self) -> Writer: ...
    def __exit__(self, *exception: object) -> None: ...


def open_store(path: Path) -> Store:
    """Opens a cache for reading, LMDB or HDF5 by its suffix.

    Raises:
        StoreError: no such cache, not a cache, or cut short.
    """
    if path.suffix == ".lmdb":
        from egotools.stores.lmdb_store import LMDBStore

        return LMDBStore(path)
    if path.suffix == ".h5":
        from egotools.stores.hdf5_store import HDF5Store

        return HDF5Store(path)
    raise StoreError(f"{path}: a cache is a file that ends in {' or '.join(SUFFIXES)}")


def open_writer(path: Path, recipe: Recipe) -> Writer:
    """Opens a cache for writing: creates it, or goes on with the one that has the same `recipe.identity`.

    Raises:
        RecipeError: the cache there was made in another way; the differing option is named.
        StoreError: another process is writing it, or it is no cache.
    """
    if path.suffix == ".lmdb":
        from egotools.stores.lmdb_store import LMDBWriter

        return LMDBWriter(path, recipe)
    if path.suffix == ".h5":
        from egotools.stores.hdf5_store import HDF5Writer

        return HDF5Writer(path, recipe)
    raise StoreError(f"{path}: a cache is a file that ends in {' or '.join(SUFFIXES)}")


def check_same_recipe(path: Path, there: Recipe, wanted: Recipe) -> None:
    """Refuses to mix: a cache means one thing.

    Raises:
        RecipeError: names the first option that differs, and both values.
    """
    for name, was, now in differences(there.identity, wanted.identity):
        raise RecipeError(
            f"{path} was made with {name}={was!r}, not {now!r}; choose another --out, or delete it to make it anew"
        )


def differences(there: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The entries of two identities that differ, nested ones by dotted name: (name, value there, value wanted)."""
    for name in [*there, *(name for name in wanted if name not in there)]:
        was, now = there.get(name), wanted.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from differences(was, now, f"{prefix}{name}.")
        elif was != now:
            yield f"{prefix}{name}", was, now
