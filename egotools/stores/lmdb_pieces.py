"""Clips that are not finished, in an LMDB cache: their rows are kept in pieces, for the next writer to resume from.

    b"p" + id + 0 + number of the first row (8 bytes)     a piece of a clip: checksum, block, rows, what is known of the
                                                          clip (JSON), times [t, 2]; without a block also the rows

The pieces of a clip follow each other from its first row. Each commit adds one with the rows since the commit before,
so that it costs what is new, however long the clip is. When rows fill a block, one piece that names the block replaces
those that held them. Once the clip is finished, its record replaces all pieces, in the same transaction.

Pieces are not for ordinary readers: unlike blocks of finished clips, a writer may delete and overwrite them at any
time. Whoever reads them copies them and compares the checksum.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.stores.lmdb_layout import pack_block
from egotools.stores.unfinished import Begun, Unfinished

PIECE = b"p"
_HEAD = struct.Struct("<IIqQ")  # checksum of all that follows it, bytes of JSON, block (-1: none), rows
_INSIDE = -1
_NUMBER = 8  # bytes

Times = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Piece:
    """Some rows of a clip, as they lie in the file: those of `block`, or `inside`, a block of its own; times [t, 2]."""

    checksum: int  # CRC-32 over the rows' bytes, the times' bytes, and `begun`
    begun: bytes
    times: Times
    block: int | None
    inside: memoryview

    def is_intact(self, rows: npt.NDArray[Any]) -> bool:
        """Whether these rows, times and facts are what was written."""
        return _checksum(zlib.crc32(rows.data), self.times, self.begun) == self.checksum


def piece_key(id: str, first: int) -> bytes:
    """The key of a piece; the keys of a clip sort like its rows. Ids contain no NUL character."""
    return PIECE + id.encode() + b"\0" + first.to_bytes(_NUMBER, "big")


def place_of(key: bytes) -> tuple[bytes, int]:
    """The inverse of `piece_key`, but for the id, which stays bytes.

    Raises:
        ValueError: not the key of a piece.
    """
    id, zero, number = key[1:-_NUMBER].rpartition(b"\0")
    if not zero or number or not id:
        raise ValueError("not the key of a piece")
    return id, int.from_bytes(key[-_NUMBER:], "big")


def pack_piece(times: Times, begun: bytes, *, block: int | None = None, sum: int = 0, inside: bytes = b"") -> bytes:
    """A piece: either of a block, with `sum`, the CRC-32 of its rows' bytes, or with rows `inside`, as a block."""
    head = _HEAD.pack(_checksum(sum, times, begun), len(begun), _INSIDE if block is None else block, len(times))
    return head + begun + times.tobytes() + inside


def unpack_piece(value: memoryview) -> Piece:
    """The inverse of `pack_piece`; its times are a copy.

    Raises:
        ValueError: too short, or numbers that are impossible.
    """
    if len(value) < _HEAD.size:
        raise ValueError("piece too short")
    checksum, size, block, rows = _HEAD.unpack_from(value)
    end = _HEAD.size + size + 16 * rows
    if end > len(value) or not rows or block < _INSIDE:
        raise ValueError("impossible numbers")
    begun = bytes(value[_HEAD.size : _HEAD.size + size])
    times = np.array(np.frombuffer(value[_HEAD.size + size : end], "<f8").reshape(rows, 2))
    return Piece(checksum, begun, times, None if block == _INSIDE else block, value[end:])


def unfinished_of(pieces: Iterable[tuple[int, Piece]], recipe: str) -> Unfinished:
    """The clip that pieces make: first those of blocks, then those that hold rows, each with its first row.

    Raises:
        ValueError: they do not follow each other, or are not of one clip, or not of the recipe with this digest.
    """
    blocks: list[int] = []
    texts: dict[bytes, None] = {}
    rows, is_tail = 0, False
    for first, piece in pieces:
        if first != rows or (is_tail and piece.block is not None):
            raise ValueError("not what was written")
        is_tail = piece.block is None
        blocks += [] if piece.block is None else [piece.block]
        rows, texts[piece.begun] = rows + len(piece.times), None
    *others, begun = (
        Begun.from_json(text, recipe) for text in texts
    )  # the time of its file may have been rounded by copying it
    if rows > begun.total or any((it.total, it.each) != (begun.total, begun.each) for it in others):
        raise ValueError("not what was written")
    return Unfinished(rows, begun, tuple(blocks))


def _checksum(rows: int, times: Times, begun: bytes) -> int:
    return zlib.crc32(begun, zlib.crc32(np.ascontiguousarray(times).data, rows))


@dataclass(eq=False)
class OpenClip:
    """A clip that is being written: its own blocks, rows that wait for one, and which of its pieces are on disk.

    The writer asks for `unsaved` pieces, writes them in a transaction, and then says that they are `saved`.
    """

    segments: list[tuple[int, int, int]] = field(default_factory=list)  # block, first row, rows
    waiting: bytearray = field(default_factory=bytearray)
    checksum: int = 0  # CRC-32 over all rows' bytes
    times: list[Times] = field(default_factory=list)  # [t, 2] of each block
    sums: list[int] = field(default_factory=list)  # CRC-32 over the rows' bytes of each block
    tail: list[Times] = field(default_factory=list)  # [t, 2] of the rows that wait, in pieces
    blocks_saved: int = 0  # how many blocks have their pieces on disk
    insides: list[int] = field(default_factory=list)  # first rows of the pieces on disk that hold rows
    rows_saved: int = 0
    rows_of_blocks_saved: int = 0

    def add(self, values: npt.NDArray[Any], times: Times) -> None:
        """Adds rows [t, D], contiguous."""
        self.tail.append(np.array(times, "<f8"))
        self.checksum = zlib.crc32(values.data, self.checksum)
        self.waiting += values.data.cast("B")

    def cut(self, block: int, rows: int, row_bytes: int) -> bytearray:
        """Takes the first of the rows that wait, as the rows of a block of this number."""
        content = self.waiting[: rows * row_bytes]
        del self.waiting[: rows * row_bytes]
        times = np.concatenate(self.tail)
        self.times.append(times[:rows])
        self.tail = [times[rows:]]
        self.sums.append(zlib.crc32(content))
        self.segments.append((block, 0, rows))
        return content

    def all_times(self) -> Times:
        """[T, 2] of all rows so far."""
        return np.concatenate([np.empty((0, 2)), *self.times, *self.tail])

    def keys(self, id: str) -> list[bytes]:
        """The keys of its pieces on disk."""
        firsts = [*accumulate(map(len, self.times[: self.blocks_saved]), initial=0)][: self.blocks_saved]
        return [piece_key(id, first) for first in [*firsts, *self.insides]]

    def unsaved(self, id: str, text: bytes, dtype: np.dtype[Any], width: int) -> tuple[dict[bytes, bytes], list[bytes]]:
        """The pieces that make all rows so far durable, and the keys of those that they replace; `text` is JSON."""
        found = {}
        at = self.rows_of_blocks_saved
        for number in range(self.blocks_saved, len(self.times)):
            times = self.times[number]
            found[piece_key(id, at)] = pack_piece(times, text, block=self.segments[number][0], sum=self.sums[number])
            at += len(times)
        replaced = [piece_key(id, first) for first in self.insides if first < at]
        self.tail = [np.concatenate([np.empty((0, 2)), *self.tail])]
        begin = max(self.rows_saved, at)
        times, rows = self.tail[0][begin - at :], self.waiting[(begin - at) * width * dtype.itemsize :]
        if len(times):
            inside = pack_block(rows, width, dtype)
            found[piece_key(id, begin)] = pack_piece(times, text, sum=zlib.crc32(rows), inside=inside)
        return found, replaced

    def saved(self) -> None:
        """Says that the pieces of `unsaved` are on disk."""
        at = self.rows_of_blocks_saved + sum(map(len, self.times[self.blocks_saved :]))
        begin, end = max(self.rows_saved, at), at + sum(map(len, self.tail))
        self.insides = [first for first in self.insides if first >= at] + ([begin] if end > begin else [])
        self.rows_of_blocks_saved, self.blocks_saved, self.rows_saved = at, len(self.times), end


def taken_up(pieces: Iterable[tuple[int, Piece, npt.NDArray[Any]]]) -> OpenClip:
    """A clip to which rows can be added, from its pieces on disk: first row, piece and its checked rows."""
    clip = OpenClip()
    for first, piece, rows in pieces:
        clip.checksum = zlib.crc32(rows.data, clip.checksum)
        if piece.block is None:
            clip.insides.append(first)
            clip.waiting += rows.data.cast("B")
            clip.tail.append(piece.times)
        else:
            clip.segments.append((piece.block, 0, len(rows)))
            clip.sums.append(zlib.crc32(rows.data))
            clip.times.append(piece.times)
        clip.rows_saved = first + len(rows)
    clip.blocks_saved = len(clip.times)
    clip.rows_of_blocks_saved = sum(map(len, clip.times))
    return clip


def blocks_twice(clips: Mapping[str, Sequence[int]], others: set[int]) -> set[str]:
    """The clips whose blocks are not theirs alone: an older egotools may have reused the number."""
    seen: dict[int, str] = {}
    found = set()
    for id, blocks in clips.items():
        for block in blocks:
            if block in others:
                found.add(id)
            if block in seen:
                found |= {id, seen[block]}
            seen[block] = id
    return found
