"""The layout of keys and values in an LMDB cache. All numbers are little-endian; nothing is pickled.

    b"h"                      JSON: format, version, recipe, dtype, width D, numbers of clips, rows and blocks
    b"b" + number (8 bytes)   a block of up to 4 MiB: 48 bytes of header (magic, dtype, rows, D), then raw rows [t, D]
    b"c" + id                 a clip: rows, checksum, segments (block, first row, count), times [T, 2], source (JSON)
    b"p" + id + 0 + number    a piece of a clip that is not finished; see `lmdb_pieces.py`

A clip exists if its record does. A block that no record refers to belongs to a clip that was never finished. LMDB puts
large values at 16 modulo 64: with 48 bytes of header the rows begin at a multiple of 64.

Once a clip is finished, its record and blocks are never rewritten, moved or deleted: readers, who hold no lock,
rely on that. To change its rows, a new file is written and renamed over the old one.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.stores.header import DTYPES
from egotools.types import FloatArray

HEADER = b"h"
BLOCK = b"b"
CLIP = b"c"
BLOCK_BYTES = 4 << 20

_MAGIC = b"EGOR"
_BLOCK_HEADER = struct.Struct("<4s4sQQ24x")
_RECORD_HEADER = struct.Struct("<QII")
RECORD_START = np.dtype([("rows", "<u8"), ("checksum", "<u4"), ("segments", "<u4")])
ONE_ROW = np.dtype(  # the start of the record of a clip of one row
    [*RECORD_START.descr, ("block", "<i8"), ("first", "<i8"), ("count", "<i8"), ("times", "<f8", (2,))]
)


def _code(dtype: np.dtype[Any]) -> bytes:
    return dtype.str.encode().ljust(4, b"\0")


_CODES = {_code(dtype): dtype for dtype in DTYPES.values()}


@dataclass(frozen=True, eq=False)
class Record:
    """The index record of one clip: segments [n, 3] int64 (block, first row, rows), times [T, 2] float64 seconds."""

    segments: Sequence[Sequence[int]]
    times: npt.NDArray[np.float64]
    checksum: int
    source: bytes


def block_key(number: int) -> bytes:
    """The key of a block; keys sort like the numbers."""
    return BLOCK + number.to_bytes(8, "big")


def rows_per_block(width: int, dtype: np.dtype[Any]) -> int:
    """How many rows of `width` features fit into a block, with its header and LMDB's own."""
    return max(1, (BLOCK_BYTES - _BLOCK_HEADER.size - 16) // max(width * dtype.itemsize, 1))


def pack_block(rows: bytes | bytearray, width: int, dtype: np.dtype[Any]) -> bytes:
    """A block from the bytes of its rows."""
    count = len(rows) // max(width * dtype.itemsize, 1)
    return _BLOCK_HEADER.pack(_MAGIC, _code(dtype), count, width) + rows


def pack_record(record: Record) -> bytes:
    """An index record as bytes."""
    head = _RECORD_HEADER.pack(len(record.times), record.checksum, len(record.segments))
    segments = np.array(record.segments, "<i8").tobytes()
    return head + segments + np.asarray(record.times, "<f8").tobytes() + record.source


def unpack_record(value: memoryview | bytes) -> Record:
    """The inverse of `pack_record`.

    Raises:
        ValueError: too short, or numbers that are impossible.
    """
    if len(value) < _RECORD_HEADER.size:
        raise ValueError("record too short")
    rows, checksum, count = _RECORD_HEADER.unpack_from(value)
    at = _RECORD_HEADER.size + 24 * count
    end = at + 16 * rows
    if end > len(value):
        raise ValueError("record too short")
    numbers = struct.unpack_from(f"<{3 * count}q", value, _RECORD_HEADER.size)
    segments = list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
    if (numbers and min(numbers) < 0) or sum(numbers[2::3]) != rows:
        raise ValueError("impossible segments")
    times = np.array(np.frombuffer(value[at:end], "<f8").reshape(rows, 2))  # a copy; small values are not aligned
    return Record(segments, times, checksum, bytes(value[end:]))


def view_block(place: memoryview | tuple[int, int], mapped: mmap) -> FloatArray:
    """The rows of a block [t, D], not copied.

    Args:
        place: its bytes, or its (offset, size) in the file.
        mapped: the file.

    Raises:
        ValueError: it is not a block.
    """
    buffer, (offset, size) = (mapped, place) if isinstance(place, tuple) else (place, (0, len(place)))
    if size < _BLOCK_HEADER.size:
        raise ValueError("too short")
    magic, kind, rows, width = _BLOCK_HEADER.unpack_from(buffer, offset)
    dtype = _CODES.get(kind)
    if magic != _MAGIC or dtype is None or size != _BLOCK_HEADER.size + rows * width * dtype.itemsize:
        raise ValueError("not what was written")
    view: FloatArray = np.frombuffer(buffer, dtype, rows * width, offset + _BLOCK_HEADER.size)
    return view.reshape(rows, width)
