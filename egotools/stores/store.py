"""The interface of caches, independent of their format on disk."""

import json
import mmap
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from egotools.config import to_json
from egotools.errors import RecipeError, StoreError
from egotools.files.disk import open_file
from egotools.stores.source import Source
from egotools.stores.unfinished import Begun, Unfinished
from egotools.types import LONGEST_ID, FloatArray, IntArray, Rows

SUFFIXES = (".lmdb", ".h5")
PART = ".h5.part"  # in which an HDF5 cache is collected; left by an interrupted pass
PIECE = 4 << 20  # bytes of rows copied at a time
LEARNED = "learned"  # the entry of a recipe's origin on what was fitted: facts, file name, digest
NOTHING_YET = "{}: nothing was committed to this cache yet; run the command that makes it again, or delete it"


@dataclass(frozen=True)
class Recipe:
    """How a cache was made. Any: JSON values.

    `identity` decides whether rows can be used together: extractor, its code version, options, weights digest,
    precision, dtype, digests of input caches. `origin` is only reported: manifest path and digest, library versions,
    command, device.
    """

    identity: Mapping[str, Any]
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StoredClip:
    """One clip as stored in a cache; for use inside the library, where a copy would be wasteful.

    `views` are [t, D] arrays over the file's memory map, in order, T rows together; `times` [T, 2] float64 seconds.
    """

    views: Sequence[FloatArray]
    times: npt.NDArray[np.float64]
    checksum: int  # CRC-32 over the rows' bytes, then the times' bytes

    def __len__(self) -> int:
        return len(self.times)

    def pieces(self) -> Iterator[Rows]:
        """The rows in views of at most 4 MiB, so that a long clip needs bounded memory."""
        at = 0
        for view in self.views:
            step = max(1, PIECE // max(view[:1].nbytes, 1))
            for first in range(0, len(view), step):
                values = view[first : first + step]
                yield Rows(values, self.times[at : at + len(values)])
                at += len(values)

    def between(self, first: int, end: int) -> Iterator[FloatArray]:
        """The rows from `first` up to `end`, in views [t, D]."""
        at = 0
        for view in self.views:
            part = view[max(first - at, 0) : max(end - at, 0)]
            at += len(view)
            if len(part):
                yield part

    def is_intact(self) -> bool:
        """Whether the checksum of the bytes on disk is correct."""
        checksum = 0
        for view in self.views:
            checksum = zlib.crc32(np.ascontiguousarray(view).data, checksum)
        return zlib.crc32(np.ascontiguousarray(self.times).data, checksum) == self.checksum


class Store(Protocol):
    """A cache for reading. Ids come in sorted order of their UTF-8 bytes; returned rows are copies."""

    path: Path
    recipe: Recipe
    dtype: np.dtype[Any]  # float32 or float16, little-endian
    width: int  # D; 0 in a cache without rows
    rows: int  # of all clips together

    def __contains__(self, id: object) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

    def __getitem__(self, id: str) -> Rows:
        """The rows of a clip.

        Raises:
            KeyError: the clip does not exist.
            StoreError: the file is damaged. (Checksums are checked by `egotools cache verify`, not on every read.)
        """

    def stored(self, id: str) -> StoredClip:
        """The rows of a clip as stored, not copied; raises like `__getitem__`."""

    def row_counts(self, ids: Sequence[str]) -> IntArray:
        """The number of rows of each clip [C]; -1 where there is no such clip."""

    def single_rows(self, ids: Sequence[str]) -> Rows:
        """The rows [C, D] of clips that have one row each, at once; raises like `__getitem__`."""

    def release(self) -> None:
        """Releases the memory of what was read; it is read again when needed."""

    def source(self, id: str) -> Source:
        """The source of a clip's rows."""


class MappedStore:
    """What the stores share: one file, mapped into memory. Unpickled elsewhere, it is the same file, or an error."""

    path: Path
    file: tuple[int, int]  # device and number
    dtype: np.dtype[Any]
    width: int
    _map: mmap.mmap

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (type(self), self.path, self.file)

    def __getitem__(self, id: str) -> Rows:
        clip = self.stored(id)
        values = np.concatenate([np.empty((0, self.width), self.dtype), *clip.views])
        return Rows(values, np.array(clip.times))

    def stored(self, id: str) -> StoredClip:
        """The rows of a clip as stored, not copied."""
        raise NotImplementedError

    def __contains__(self, id: object) -> bool:
        raise NotImplementedError

    def row_counts(self, ids: Sequence[str]) -> IntArray:
        """The number of rows of each clip [C]; -1 where there is no such clip."""
        return np.array([len(self.stored(id)) if id in self else -1 for id in ids], np.int64)

    def single_rows(self, ids: Sequence[str]) -> Rows:
        """The rows [C, D] of clips that have one row each, copied."""
        values, counts, times = read_rows(self, ids)
        assert (counts == 1).all(), "clips of one row"
        return Rows(values, times)

    def release(self) -> None:
        """Releases the memory of what was read; it stays in the system's page cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def source(self, id: str) -> Source:
        """The source of a clip's rows.

        Raises:
            KeyError: the clip does not exist.
            StoreError: it is damaged, or has entries from a newer egotools.
        """
        text = self._source(id)
        try:
            return Source.from_json(text)
        except ValueError as error:
            raise StoreError(f"{self.path}: damaged: the source of clip {id!r} cannot be read: {error}") from error

    def _source(self, id: str) -> bytes:
        raise NotImplementedError


def _reopened(kind: Callable[[Path], Any], path: Path, file: tuple[int, int]) -> Any:  # Any: a store of that kind
    store = kind(path)
    if store.file != file:
        raise StoreError(f"{path}: another cache has taken its place since it was opened; open it again")
    return store


class Writer(Protocol):
    """A cache for writing, one writer at a time. A context manager; leaving it does not commit."""

    path: Path

    def __contains__(self, id: object) -> bool:
        """Whether a clip is finished, in this cache or in this writer."""

    def append(self, id: str, rows: Rows) -> None:
        """Appends rows to a clip that is not finished; a long clip comes in pieces. Not visible to readers yet."""

    def finish(self, id: str, source: Source) -> None:
        """Marks a clip as complete; it exists from the next commit on. A clip without rows is valid."""

    def drop(self, id: str) -> None:
        """Discards the rows of a clip that is not finished."""

    def commit(self, unfinished: Mapping[str, Begun] = MappingProxyType({})) -> None:
        """Makes the finished clips durable and visible, all of them or none.

        The rows so far of the `unfinished` clips become durable, too, but stay invisible: see `resume`.
        """

    @property
    def unfinished(self) -> Mapping[str, Unfinished]:
        """The clips of which earlier writers have left rows, and that were neither resumed nor dropped since."""

    def resume(self, id: str) -> npt.NDArray[np.float64]:
        """Takes up an unfinished clip: the next rows are appended to those that are there.

        Returns:
            The times [T, 2] of its rows; none if they are damaged, and dropped.
        """

    def close(self) -> None:
        """Ends writing and releases the lock; rows of unfinished clips that were not committed leave no trace.

        Sealing of an HDF5 cache happens in `seal`, not here.
        """

    def seal(self) -> None:
        """Commits, and publishes a sealed cache at `path` (HDF5); for a live one (LMDB), it just commits."""

    def __enter__(self) -> "Writer": ...
    def __exit__(self, *exception: object) -> None: ...


def check_same_recipe(path: Path, there: Recipe, wanted: Recipe) -> None:
    """Refuses to mix rows of different recipes in one cache.

    Raises:
        RecipeError: the message names the first option that differs, and both values.
    """
    for name, was, now in differences(
        *(json.loads(to_json(recipe.identity, exact=True)) for recipe in (there, wanted))
    ):
        raise RecipeError(
            f"{path} was made with {name}={was!r}, not {now!r}; choose another --out, or delete it to compute it again"
        )


def differences(
    there: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """The entries of two identities that differ, nested ones by dotted name: (name, old value, new value)."""
    for name in [*there, *(name for name in wanted if name not in there)]:
        was, now = there.get(name), wanted.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from differences(was, now, f"{prefix}{name}.")
        elif was != now:
            yield f"{prefix}{name}", was, now


def classes_of(recipe: Recipe) -> int | None:
    """The number of classes of a cache whose only column is a class index (-1: none); None if it holds values.

    Such a column represents a one-hot vector of that width, all zeros for -1.
    """
    said = recipe.origin.get(LEARNED)
    count = said.get("classes") if isinstance(said, Mapping) else None
    return None if count is None else int(count)


def check_dtype(recipe: Recipe, dtype: np.dtype[Any] | str, path: Path) -> None:
    """Refuses class indices in float16, which cannot represent integers above 2048.

    Raises:
        StoreError: the dtype is float16.
    """
    if classes_of(recipe) is not None and np.dtype(dtype) != np.float32:
        raise StoreError(f"{path}: cluster indices need float32; {np.dtype(dtype).name} cannot represent them")


def read_rows(store: "Store | MappedStore", ids: Sequence[str]) -> tuple[FloatArray, IntArray, npt.NDArray[np.float64]]:
    """The rows of many clips at once, in the order of `ids`, in preallocated arrays.

    Returns:
        Values [N, D] in the store's dtype, the number of rows of each clip [len(ids)] int64, and times [N, 2] float64.

    Raises:
        KeyError: a clip does not exist.
        StoreError: the file is damaged.
    """
    clips = [store.stored(name) for name in ids]
    counts = np.array([len(clip) for clip in clips], np.int64)
    values = np.empty((int(counts.sum()), store.width), store.dtype)
    at = 0
    for clip in clips:
        for view in clip.views:
            values[at : at + len(view)] = view
            at += len(view)
    times = np.concatenate([clip.times for clip in clips]) if clips else np.empty((0, 2))
    return values, counts, times


def key_of(id: str) -> bytes:
    """The bytes under which an id is stored and sorted.

    Raises:
        StoreError: the id is empty, too long, contains a NUL character, or is not text.
    """
    try:
        key = id.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"clip {id!r}: the id cannot be encoded in UTF-8") from error
    if not 0 < len(key) <= LONGEST_ID or b"\0" in key:
        raise StoreError(f"clip {id[:40]!r}: an id must have 1 to {LONGEST_ID} bytes of UTF-8 and no NUL character")
    return key


def id_of(key: bytes, path: Path) -> str:
    """The inverse of `key_of`.

    Raises:
        StoreError: these bytes are not an id.
    """
    try:
        id = key.decode()
        key_of(id)
    except (UnicodeDecodeError, StoreError) as error:
        raise StoreError(f"{path}: damaged: {key[:40]!r} is not the id of a clip") from error
    return id


def open_cache_file(path: Path) -> BinaryIO:
    """The file of a cache, open for reading.

    Raises:
        StoreError: it does not exist, is a folder, a device or empty, or cannot be read.
    """
    try:
        file = open_file(path)
    except IsADirectoryError as error:
        raise StoreError(f"{path}: a folder, not a cache") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"{path}: no such cache") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {error.strerror}") from error
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        raise StoreError(NOTHING_YET.format(path))
    return file


def map_file(file: BinaryIO, path: Path, length: int = 0) -> mmap.mmap:
    """Maps the first bytes of a file, or all of them, into memory.

    Raises:
        StoreError: there is not enough address space.
    """
    try:
        return mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
    except (OSError, ValueError, OverflowError) as error:
        raise StoreError(f"{path}: cannot be mapped into memory: {error}; see 'ulimit -v'") from error


def make_folder_of(path: Path) -> None:
    """Creates the folder of a cache.

    Raises:
        StoreError: it cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error


def part_of(path: Path) -> Path:
    """The part file that collects the rows of a cache until it is sealed (HDF5)."""
    return path.with_name(path.name + ".part")
