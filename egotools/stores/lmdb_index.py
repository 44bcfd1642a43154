"""Reads the keys of an LMDB file at once, without LMDB, which could not:

- read next to a writer without write permission (LMDB needs its lock file for that), or after a fork;
- read without creating a lock file;
- read a damaged or malicious file without the process being killed: every number is checked before it is used.

This works because of how our caches are written: the rows and records of a finished clip are never moved or freed
(see `lmdb_layout.py`), only pages of the key tree are. So those are copied when the file is opened, and nothing
else of that transaction is needed.

A writer may reuse a page of a transaction in the third transaction after it at the earliest. So what was read of
transaction S is consistent if afterwards there is no transaction later than S + 1, or if the writer declares that it
keeps the pages of S (`LMDBWriter` does, for some seconds).
"""

import os
import struct
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.errors import StoreError
from egotools.stores.writer_lock import said_by_writer
from egotools.types import IntArray

MAGIC, VERSION = 0xBEEFC0DE, 1
KEEPS = "keeps"  # precedes the number of the oldest transaction whose pages the writer keeps
PATIENCE = 60.0  # seconds for reading an index that is being written

_PAGE_HEADER = 16
_NODE_HEADER = 8
_META = struct.Struct("<IIQQ IHHQQQQQ IHHQQQQQ QQ")  # LMDB's MDB_meta, with its two MDB_db
_BRANCH, _LEAF, _KINDS = 0x01, 0x02, 0x6F  # flags of pages
_OVERFLOW = 0x01  # flag of a node: its value is in its own pages
_DEEPEST = 32  # levels of a tree, LMDB's own limit
_LONGEST_RUN = 4096  # pages read at a time
_NOTHING = (1 << 64) - 1  # the root of an empty tree

Pages = npt.NDArray[np.uint8]  # [P, bytes of a page]


@dataclass(frozen=True)
class _State:
    """LMDB's metadata of one transaction."""

    page_size: int
    flags: int  # of the key tree
    depth: int
    entries: int
    root: int
    free_root: int
    free_depth: int
    last: int  # the highest page
    transaction: int


class _Damaged(Exception):
    """What was read is inconsistent: damaged, or overwritten meanwhile."""


class Index:
    """Keys and values of a file as of one transaction; small values are copies, large ones stay in the file.

    Raises:
        StoreError: not an LMDB file, damaged, cut short, or is written faster than it can be read.
    """

    def __init__(self, file: int, path: Path) -> None:
        """`file` is open for reading, `path` is for messages; neither is kept."""
        self._path = path
        until = time.monotonic() + PATIENCE
        while True:
            state = _state(file, path)
            problem = ""
            try:
                self._read(file, state)
            except _Damaged as error:
                problem = str(error)
            if _is_kept(state, _state(file, path), path):
                break
            if time.monotonic() > until:
                raise StoreError(
                    f"{path}: it is being written faster than it can be read; wait for the writer to finish"
                )
        if problem:
            raise StoreError(f"{path}: {problem}; restore it from a copy, or delete it and compute it again")
        self.transaction, self.entries = state.transaction, state.entries

    def _read(self, file: int, state: _State) -> None:
        self.length = _length(file, state)
        if state.flags:
            raise _Damaged("an LMDB file, but not a cache of egotools (its keys have another format)")
        pages = _leaves(file, state, state.root, state.depth)
        nodes = _Nodes(pages, _LEAF)
        self._copy = pages.reshape(-1).data.toreadonly()
        self._page_size = state.page_size
        keys = nodes.at + _NODE_HEADER
        values = keys + nodes.key_bytes
        overflow = _checked_values(nodes, values, pages, state)[0]
        if len(keys) != state.entries:
            raise _Damaged(f"damaged: {len(keys)} keys instead of {state.entries}")
        # As memory views, whose elements are Python ints: NumPy's take three times as long.
        self._keys, self._values = keys.data, values.data
        self._sizes = np.where(overflow, -nodes.value_bytes - 1, nodes.value_bytes).data
        self._first_nodes = [*nodes.first.tolist(), len(keys)]  # first node of each page, and the end of the last page
        self._first_keys = [self._key(at) for at in self._first_nodes[:-1]]
        if sorted(set(self._first_keys)) != self._first_keys:
            raise _Damaged("damaged: its keys are not in order")
        self._looked_at: dict[int, dict[bytes, int]] = {}  # by page

    def _key(self, at: int) -> bytes:
        return bytes(self._copy[self._keys[at] : self._values[at]])

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """The keys that start with `prefix`, in file order.

        Raises:
            StoreError: they are not sorted, so that lookups could miss some.
        """
        for page in range(max(bisect_left(self._first_keys, prefix) - 1, 0), len(self._first_keys)):
            for key in self._nodes_of(page):
                if key.startswith(prefix):
                    yield key
                elif key > prefix:
                    return

    def get(self, key: bytes) -> memoryview | tuple[int, int] | None:
        """The value of a key: its bytes, or its (offset, size) in the file; None if the key does not exist.

        Raises:
            StoreError: as `keys`.
        """
        at = self._node(key)
        if at is None:
            return None
        size, place = self._sizes[at], self._values[at]
        if size >= 0:
            return self._copy[place : place + size]
        number = int.from_bytes(self._copy[place : place + 8], "little")
        return number * self._page_size + _PAGE_HEADER, -size - 1

    def starts(self, keys: Iterable[bytes], size: int) -> tuple[npt.NDArray[np.uint8], IntArray]:
        """The first `size` bytes of the values of many keys, with zeros after the end of shorter ones, at once.

        Returns:
            The bytes [N, size], and the whole size of each value [N]: -1 where the key does not exist, -2 where the
            value stays in the file, whose bytes are zeros here.

        Raises:
            StoreError: as `keys`.
        """
        nodes = np.fromiter((-1 if (node := self._node(key)) is None else node for key in keys), np.int64)
        found, sizes = np.zeros((len(nodes), size), np.uint8), np.full(len(nodes), -1, np.int64)
        copy, places, known = (np.asarray(each) for each in (self._copy, self._values, self._sizes))
        there = np.flatnonzero(nodes >= 0)
        sizes[there] = np.maximum(known[nodes[there]], -2)
        for first in range(0, len(there), _LONGEST_RUN):
            rows = there[first : first + _LONGEST_RUN]
            at = places[nodes[rows], np.newaxis] + np.arange(size)
            inside = np.arange(size) < sizes[rows, np.newaxis]
            found[rows] = np.where(inside, copy[np.where(inside, at, 0)], 0)
        return found, sizes

    def _node(self, key: bytes) -> int | None:
        page = bisect_right(self._first_keys, key) - 1
        return self._nodes_of(page).get(key) if page >= 0 else None

    def _nodes_of(self, page: int) -> dict[bytes, int]:
        """The nodes of a page by key, in order."""
        nodes = self._looked_at.get(page)
        if nodes is None:
            nodes = {self._key(at): at for at in range(*self._first_nodes[page : page + 2])}
            keys = [*nodes, *self._first_keys[page + 1 : page + 2]]
            if sorted(keys) != keys:
                raise StoreError(f"{self._path}: damaged: its keys are not in order; restore it, or compute it again")
            self._looked_at[page] = nodes
        return nodes


class _Nodes:
    """The nodes of some pages, in order: their offsets in the concatenated pages.

    Raises:
        _Damaged: an offset points outside its page.
    """

    def __init__(self, pages: Pages, kind: int) -> None:
        count, size = pages.shape
        heads = pages.view("<u2")
        if (heads[:, 5] & _KINDS != kind).any():
            raise _Damaged("damaged: a page of its index is of another kind")
        lower, upper = heads[:, 6].astype(np.int64), heads[:, 7].astype(np.int64)
        if (lower < _PAGE_HEADER).any() or (lower > upper).any() or (upper > size).any() or (lower % 2).any():
            raise _Damaged("damaged: a page of its index is too small for its entries")
        numbers = (lower - _PAGE_HEADER) // 2
        if count and not numbers.all():
            raise _Damaged("damaged: a page of its index is empty")
        self.first: IntArray = np.cumsum(numbers) - numbers
        page = np.repeat(np.arange(count), numbers)
        slot = np.arange(len(page)) - self.first[page]
        offset = heads[page, _PAGE_HEADER // 2 + slot].astype(np.int64)
        if (offset < upper[page]).any() or (offset > size - _NODE_HEADER).any() or (offset % 2).any():
            raise _Damaged("damaged: an entry of its index is outside its page")
        self.at: IntArray = page * size + offset
        flat, at = heads.reshape(-1), self.at // 2
        low, high, self.flags, keys = (flat[at + place].astype(np.int64) for place in range(4))
        self.key_bytes: IntArray = keys
        self.value_bytes: IntArray = low | (high << 16)  # in a leaf
        self.children: IntArray = self.value_bytes | (self.flags << 32)  # in a branch
        self.room: IntArray = size - offset - _NODE_HEADER - keys
        if (self.room < 0).any():
            raise _Damaged("damaged: a key of its index extends past its page")


@dataclass(frozen=True, eq=False)
class Entries:
    """Keys that follow each other in a file, and where their values are: offsets in the file and sizes, bytes."""

    keys: list[bytes]
    places: IntArray
    sizes: IntArray


def scan(file: int, path: Path) -> Iterator[Entries]:
    """All keys of any LMDB file in order, some hundred thousand at a time; no value is read.

    Raises:
        StoreError: not an LMDB file with one database, damaged, cut short, or written at the same time.
    """
    state = _state(file, path)
    try:
        _length(file, state)
        if state.flags:
            raise _Damaged("its keys have another format than plain ones")
        leaves, count, last = _leaf_numbers(file, state, state.root, state.depth), 0, b""
        for first in range(0, len(leaves), _LONGEST_RUN):
            entries = _entries(file, leaves[first : first + _LONGEST_RUN], state)
            if (keys := [last, *entries.keys]) != sorted(keys):
                raise _Damaged("damaged: its keys are not in order")
            if _state(file, path).transaction > state.transaction + 1:
                raise StoreError(f"{path}: it is being written; wait for the writer to finish")
            yield entries
            count, last = count + len(entries.keys), entries.keys[-1]
        if count != state.entries:
            raise _Damaged(f"damaged: {count} keys instead of {state.entries}")
    except _Damaged as error:
        raise StoreError(f"{path}: {error}; copy or download it again") from error


def _entries(file: int, numbers: IntArray, state: _State) -> Entries:
    pages = _read_pages(file, numbers, state)
    nodes = _Nodes(pages, _LEAF)
    values = nodes.at + _NODE_HEADER + nodes.key_bytes
    overflow, starts = _checked_values(nodes, values, pages, state)
    page = nodes.at // state.page_size  # an empty value may begin where its page ends
    places = (numbers - np.arange(len(numbers)))[page] * state.page_size + values
    places[overflow] = starts
    bytes_ = pages.reshape(-1).data
    ends = zip((nodes.at + _NODE_HEADER).tolist(), values.tolist(), strict=True)
    return Entries([bytes(bytes_[begin:end]) for begin, end in ends], places, nodes.value_bytes)


def check_magic(start: bytes, path: Path) -> None:
    """Refuses a file that does not start like an LMDB file.

    Raises:
        StoreError: it is not LMDB.
    """
    if start[16:20] != MAGIC.to_bytes(4, "little"):
        raise StoreError(f"{path}: not a cache: the file is not LMDB")


def _state(file: int, path: Path) -> _State:
    """The latest transaction."""
    start = os.pread(file, _PAGE_HEADER + _META.size, 0)
    check_magic(start, path)
    first = _parsed(start, path)
    second = _parsed(os.pread(file, _PAGE_HEADER + _META.size, first.page_size), path)
    return max(first, second, key=lambda state: state.transaction)


def _parsed(page: bytes, path: Path) -> _State:
    if len(page) < _PAGE_HEADER + _META.size:
        raise StoreError(f"{path}: cut short after {len(page)} bytes")
    meta = _META.unpack_from(page, _PAGE_HEADER)
    magic, version, free, main = meta[0], meta[1], meta[4:12], meta[12:20]
    if magic == MAGIC and version != VERSION:
        raise StoreError(f"{path}: LMDB format version {version}; this egotools reads version {VERSION}")
    page_size = free[0]
    if magic != MAGIC or not 512 <= page_size <= 1 << 16 or page_size & (page_size - 1):
        raise StoreError(f"{path}: damaged: its first pages are invalid")
    return _State(page_size, main[1], main[2], main[6], main[7], free[7], free[2], *meta[20:])


def _is_kept(read: _State, now: _State, path: Path) -> bool:
    """Whether no page of a transaction can have been reused by the time it was read."""
    if now.transaction <= read.transaction + 1:
        return True
    said = said_by_writer(Path(os.path.realpath(path))).split()
    # Written twice, so that a half-written number is not taken for another one.
    return (
        len(said) == 3
        and said[0] == KEEPS
        and said[1] == said[2]
        and said[1].isdecimal()
        and (int(said[1]) <= read.transaction)
    )


def _length(file: int, state: _State) -> int:
    """The size in bytes of the pages of a transaction."""
    needed, there = (state.last + 1) * state.page_size, os.fstat(file).st_size
    if there < needed:
        raise _Damaged(f"cut short: {there} bytes instead of {needed}")
    return needed


def _leaves(file: int, state: _State, root: int, depth: int) -> Pages:
    """The leaf pages of a tree, in key order."""
    return _read_pages(file, _leaf_numbers(file, state, root, depth), state)


def _leaf_numbers(file: int, state: _State, root: int, depth: int) -> IntArray:
    """The numbers of the leaf pages of a tree, in key order."""
    if depth > _DEEPEST or (root == _NOTHING) != (depth == 0):
        raise _Damaged("damaged: its index has no root")
    if root == _NOTHING:
        return np.empty(0, np.int64)
    level = np.array([min(root, state.last + 1)], np.int64)
    for _ in range(depth - 1):
        level = _Nodes(_read_pages(file, level, state), _BRANCH).children
    return level


def _read_pages(file: int, numbers: IntArray, state: _State) -> Pages:
    if (numbers < 2).any() or (numbers > state.last).any() or len(np.unique(numbers)) < len(numbers):
        raise _Damaged("damaged: its index refers to pages outside it")
    size = state.page_size
    pages = np.empty((len(numbers), size), np.uint8)
    ends = [*(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
    first, places, bytes_ = 0, numbers.tolist(), pages.reshape(-1).data
    for end in ends:  # of runs of consecutive pages
        while first < end:
            count = min(end - first, _LONGEST_RUN)
            if os.preadv(file, [bytes_[first * size : (first + count) * size]], places[first] * size) < count * size:
                raise _Damaged("cut short")
            first += count
    if (pages[:, :8].copy().view("<u8")[:, 0] != numbers).any():
        raise _Damaged("damaged: a page of its index is in the wrong place")
    return pages


def _checked_values(
    nodes: _Nodes, values: IntArray, pages: Pages, state: _State
) -> tuple[npt.NDArray[np.bool_], IntArray]:
    """Which values are in their own pages, and where those begin in the file; all are checked to lie inside it."""
    overflow: npt.NDArray[np.bool_] = nodes.flags == _OVERFLOW
    if (nodes.flags & ~_OVERFLOW).any():
        raise _Damaged("an LMDB file, but not a cache of egotools (it contains several databases)")
    if (np.where(overflow, 8, nodes.value_bytes) > nodes.room).any():
        raise _Damaged("damaged: a value of its index extends past its page")
    flat = pages.reshape(-1)
    places: Any = flat[values[overflow][:, np.newaxis] + np.arange(8)].view("<u8")[:, 0]
    too_far = (places < 2) | (places > state.last)
    starts = np.minimum(places, state.last).astype(np.int64) * state.page_size + _PAGE_HEADER
    if too_far.any() or (starts + nodes.value_bytes[overflow] > (state.last + 1) * state.page_size).any():
        raise _Damaged("damaged: a value is outside the file")
    return overflow, starts


def check_free_pages(file: int, path: Path) -> None:
    """Checks the lists of free pages before writing.

    Raises:
        StoreError: they are damaged.
    """
    state = _state(file, path)
    try:
        length = _length(file, state)
        pages = _leaves(file, state, state.free_root, state.free_depth)
        nodes = _Nodes(pages, _LEAF)
        values = nodes.at + _NODE_HEADER + nodes.key_bytes
        overflow, _ = _checked_values(nodes, values, pages, state)
        flat = pages.reshape(-1)
        for value, size, is_apart in zip(values.tolist(), nodes.value_bytes.tolist(), overflow.tolist(), strict=True):
            content = flat[value : value + (8 if is_apart else size)].tobytes()
            if is_apart:
                place = int.from_bytes(content, "little") * state.page_size + _PAGE_HEADER
                content = os.pread(file, min(size, length), place)
            _check_free_list(np.frombuffer(content[: len(content) // 8 * 8], "<u8"), state)
        if (nodes.key_bytes != 8).any():
            raise _Damaged("damaged: its list of free pages is invalid")
    except _Damaged as error:
        raise StoreError(f"{path}: {error}; restore it from a copy, or delete it and compute it again") from error


def _check_free_list(numbers: npt.NDArray[np.uint64], state: _State) -> None:
    """Checks one list: a count, that many page numbers, highest first, then unused space."""
    count = min(int(numbers[0]), len(numbers)) if len(numbers) else 1
    free = numbers[1 : 1 + count].astype(np.int64)
    if len(free) < count or (free < 2).any() or (free > state.last).any() or (np.diff(free) >= 0).any():
        raise _Damaged("damaged: its list of free pages is invalid")
