"""The sealed cache: one HDF5 file, written once and never modified. Any HDF5 library can read it.

    /                    attribute "recipe": JSON: format, version, identity, origin, dtype, width D, clips, rows
    /index/id            [N] text: the ids, sorted by their bytes
    /index/rows          [N] int64: how many rows T each clip has
    /index/checksum      [N] uint32: CRC-32 over the rows' bytes, then the times' bytes
    /index/source        [N] text: JSON: path, start, end, size, mtime of the file that the rows came from
    /index/offset        [N] int64: where the rows begin in the file, for reading through a memory map; 0 without rows
    /clips/0 ... /N-1    [T, D] float32 or float16, contiguous: the rows of each clip, numbered in the order of the ids
    /times               [sum of T, 2] float64: seconds of the rows of all clips, one clip after the other

    with h5py.File("resnet50.h5") as file:
        ids = file["index/id"].asstr()[:]
        first = file["clips/0"][:]        # the rows of ids[0]

Rows are read by offset through one memory map; a file that another tool rewrote (h5repack) is read by its current
offsets, as long as it stays contiguous.
"""

import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from egotools.errors import StoreError, first_line
from egotools.stores.hdf5_checks import DAMAGES, own_dataset, own_text, own_texts
from egotools.stores.header import DTYPES, read_header
from egotools.stores.store import MappedStore, StoredClip, id_of, map_file, open_cache_file, part_of
from egotools.texts import composed, uncomposed
from egotools.types import LONGEST_ID, IntArray


@dataclass(frozen=True, eq=False)
class _Index:
    """One entry per clip; `first` is where its times begin."""

    positions: dict[str, int]
    uncomposed: dict[str, str]  # NFC form -> id, for ids not in NFC
    rows: IntArray
    first: IntArray
    offsets: IntArray
    checksums: npt.NDArray[np.uint32]
    sources: list[tuple[int, int]]  # offset and size in bytes of each
    times: npt.NDArray[np.float64]

    def position(self, id: str) -> int | None:
        """The index of a clip, whose id may be stored in another Unicode normal form."""
        same = composed(id)
        return self.positions.get(id, self.positions.get(self.uncomposed.get(same, same)))


class _MappedFile(io.RawIOBase):
    """A memory map wrapped as a file for HDF5."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._map = mapped
        self._at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._map)}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:  # Any: any buffer
        piece = self._map[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class HDF5Store(MappedStore):
    """A sealed cache. Holds no HDF5 handle: it may be used from several threads, after a fork, and pickled.

    Raises:
        StoreError: the file does not exist, is not a cache, is cut short, or not sealed yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists() and part_of(path).exists():
            raise StoreError(f"{path}: not sealed yet; run the command that makes it again to resume")
        with open_cache_file(path) as file:
            status = os.fstat(file.fileno())
            self.file = (status.st_dev, status.st_ino)
            self._map = map_file(file, path)
        with self._opened() as hdf5:
            header = read_header(path, own_text(hdf5, "recipe"))
        self.recipe = header.recipe
        self.dtype = header.dtype or DTYPES["float32"]
        self.width = header.width
        self.rows = header.rows
        self._clips = header.clips

    @contextmanager
    def _opened(self) -> Iterator[Any]:  # Any: h5py has no types
        """The file opened by HDF5 through the map, so that it is the file that was opened, even if replaced since."""
        try:
            with h5py.File(_MappedFile(self._map), "r") as file:
                yield file
        except StoreError:
            raise
        except DAMAGES as error:
            said = first_line(error)
            reason = "damaged" if said.startswith("its ") else "not a cache, or damaged"
            reason = "cut short" if "truncated" in said else reason
            raise StoreError(f"{self.path}: {reason} ({said})") from error

    @cached_property
    def _index(self) -> _Index:
        with self._opened() as file:
            return self._read_index(file)

    def _read_index(self, file: Any) -> _Index:
        clips, size = self._clips, len(self._map)
        rows = own_dataset(file, "index/rows", "<i8", (clips,), size)[:]
        if (rows < 0).any() or (rows > self.rows).any() or rows.sum() != self.rows:
            raise ValueError(f"its index does not fit its {self.rows} rows")
        places = own_texts(file, "index/id", clips, self._map)
        ids = [id_of(self._map[at : at + min(count, LONGEST_ID + 1)], self.path) for at, count in places]
        if len(set(ids)) < clips:
            raise ValueError("its ids are not unique")
        return _Index(
            positions={name: position for position, name in enumerate(ids)},
            uncomposed=uncomposed(ids),
            rows=rows,
            first=np.cumsum(rows) - rows,
            offsets=self._offsets(file, rows),
            checksums=own_dataset(file, "index/checksum", "<u4", (clips,), size)[:],
            sources=own_texts(file, "index/source", clips, self._map),
            times=own_dataset(file, "times", "<f8", (self.rows, 2), size)[:],
        )

    def _offsets(self, file: Any, rows: IntArray) -> IntArray:
        offsets: IntArray = own_dataset(file, "index/offset", "<i8", rows.shape, len(self._map))[:]
        filled = np.flatnonzero(rows).tolist()
        if all(self._offset(file, position, rows) == offsets[position] for position in filled[:1] + filled[-1:]):
            return offsets
        for position in filled:  # another tool rewrote the file
            offsets[position] = self._offset(file, position, rows)
        return offsets

    def _offset(self, file: Any, position: int, rows: IntArray) -> int:
        shape = int(rows[position]), self.width
        dataset = own_dataset(file, f"clips/{position}", self.dtype.str, shape, len(self._map))
        offset = dataset.id.get_offset()
        if offset is None:
            raise ValueError("its rows are not stored contiguously in the file")
        return int(offset)

    def __len__(self) -> int:
        return self._clips

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._index.position(id) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._index.positions)

    def stored(self, id: str) -> StoredClip:
        """The rows of a clip as stored, not copied."""
        index = self._index
        position = self._position(id)
        rows, first = int(index.rows[position]), int(index.first[position])
        views = []
        if rows:
            try:
                flat = np.frombuffer(self._map, self.dtype, rows * self.width, int(index.offsets[position]))
            except (ValueError, OverflowError) as error:
                raise StoreError(f"{self.path}: damaged: clip {id!r} is outside the file") from error
            views = [flat.reshape(rows, self.width)]
        return StoredClip(views, index.times[first : first + rows], int(index.checksums[position]))

    def _source(self, id: str) -> bytes:
        at, count = self._index.sources[self._position(id)]
        return self._map[at : at + count]

    def _position(self, id: str) -> int:
        position = self._index.position(id)
        if position is None:
            raise KeyError(f"{self.path}: no clip {id!r}")
        return position
