"""What the keys and values of an LMDB cache hold. All numbers are little-endian; nothing is pickled.

    b"h"                      JSON: format, version, recipe, dtype, width D, numbers of clips, rows and blocks
    b"b" + number (8 bytes)   a block of up to 4 MiB: 48 bytes of header (magic, dtype, rows, D), then raw rows [t, D]
    b"c" + id                 a clip: rows, checksum, segments (block, first row, count), times [T, 2], source (JSON)

A clip exists when its record does. A block that no record names belongs to a clip that was never finished. LMDB puts
large values at 16 modulo 64: with 48 bytes of header the rows begin at a multiple of 64.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lmdb
import numpy as np
import numpy.typing as npt

from egotools.errors import StoreError
from egotools.stores.lmdb_environment import Lease
from egotools.types import FloatArray

HEADER = b"h"
BLOCK = b"b"
CLIP = b"c"
BLOCK_BYTES = 4 << 20

_MAGIC = b"EGOR"
_BLOCK_HEADER = struct.Struct("<4s4sQQ24x")
_RECORD_HEADER = struct.Struct("<QII")
DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}


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
    """The key of a block; keys sort as the numbers do."""
    return BLOCK + number.to_bytes(8, "big")


def rows_per_block(width: int, dtype: np.dtype[Any]) -> int:
    """How many rows of `width` features fit a block, with its header and LMDB's own."""
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
        ValueError: too short for what it says.
    """
    if len(value) < _RECORD_HEADER.size:
        raise ValueError("record too short")
    rows, checksum, count = _RECORD_HEADER.unpack_from(value)
    at = _RECORD_HEADER.size + 24 * count
    end = at + 16 * rows
    segments = [] if not count else np.frombuffer(value, "<i8", 3 * count, _RECORD_HEADER.size).reshape(-1, 3).tolist()
    times = np.array(np.frombuffer(value[at:end], "<f8").reshape(rows, 2))  # a copy; small values lie unaligned
    return Record(segments, times, checksum, bytes(value[end:]))


class _Mapped:
    """Bytes of the map as NumPy sees them, holding the lease: an environment is never closed under a view."""

    def __init__(self, address: int, shape: tuple[int, int], dtype: np.dtype[Any], lease: Lease) -> None:
        self.__array_interface__ = {"version": 3, "data": (address, True), "shape": shape, "typestr": dtype.str}
        self.lease = lease


def view_block(lease: Lease, transaction: lmdb.Transaction, number: int) -> FloatArray:
    """The rows of a block [t, D], over the map of `transaction` (which reads buffers).

    Raises:
        StoreError: the block is missing or is not one.
    """
    value = transaction.get(block_key(number))
    if value is None or len(value) < _BLOCK_HEADER.size:
        raise StoreError(f"{lease.path}: damaged: block {number} is missing")
    magic, kind, rows, width = _BLOCK_HEADER.unpack_from(value)
    dtype = _CODES.get(kind)
    if magic != _MAGIC or dtype is None or len(value) != _BLOCK_HEADER.size + rows * width * dtype.itemsize:
        raise StoreError(f"{lease.path}: damaged: block {number} is not what was written")
    address = np.frombuffer(value, np.uint8).__array_interface__["data"][0] + _BLOCK_HEADER.size
    return np.asarray(_Mapped(address, (rows, width), dtype, lease))
