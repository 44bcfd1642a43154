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
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.errors import StoreError
from egotools.stores.lmdb_pages import (
    LEAF,
    LONGEST_RUN,
    NODE_HEADER,
    PAGE_HEADER,
    Damaged,
    Nodes,
    State,
    checked_values,
    latest_state,
    leaf_numbers,
    leaf_pages,
    length_of,
    read_pages,
)
from egotools.stores.writer_lock import said_by_writer
from egotools.types import IntArray

KEEPS = "keeps"  # precedes the number of the oldest transaction whose pages the writer keeps
PATIENCE = 60.0  # seconds for reading an index that is being written


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
            state = latest_state(file, path)
            problem = ""
            try:
                self._read(file, state)
            except Damaged as error:
                problem = str(error)
            if _is_kept(state, latest_state(file, path), path):
                break
            if time.monotonic() > until:
                raise StoreError(
                    f"{path}: it is being written faster than it can be read; wait for the writer to finish"
                )
        if problem:
            raise StoreError(f"{path}: {problem}; restore it from a copy, or delete it and compute it again")
        self.transaction, self.entries = state.transaction, state.entries

    def _read(self, file: int, state: State) -> None:
        self.length = length_of(file, state)
        if state.flags:
            raise Damaged("an LMDB file, but not a cache of egotools (its keys have another format)")
        pages = leaf_pages(file, state, state.root, state.depth)
        nodes = Nodes(pages, LEAF)
        self._copy = pages.reshape(-1).data.toreadonly()
        self._page_size = state.page_size
        keys = nodes.at + NODE_HEADER
        values = keys + nodes.key_bytes
        overflow = checked_values(nodes, values, pages, state)[0]
        if len(keys) != state.entries:
            raise Damaged(f"damaged: {len(keys)} keys instead of {state.entries}")
        # As memory views, whose elements are Python ints: NumPy's take three times as long.
        self._keys, self._values = keys.data, values.data
        self._sizes = np.where(overflow, -nodes.value_bytes - 1, nodes.value_bytes).data
        self._first_nodes = [*nodes.first.tolist(), len(keys)]  # first node of each page, and the end of the last page
        self._first_keys = [self._key(at) for at in self._first_nodes[:-1]]
        if sorted(set(self._first_keys)) != self._first_keys:
            raise Damaged("damaged: its keys are not in order")
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
        at = self._nodes_near(key).get(key)
        if at is None:
            return None
        size, place = self._sizes[at], self._values[at]
        if size >= 0:
            return self._copy[place : place + size]
        number = int.from_bytes(self._copy[place : place + 8], "little")
        return number * self._page_size + PAGE_HEADER, -size - 1

    def starts(self, keys: Iterable[bytes], size: int) -> tuple[npt.NDArray[np.uint8], IntArray]:
        """The first `size` bytes of the values of many keys, with zeros after the end of shorter ones, at once.

        Returns:
            The bytes [N, size], and the whole size of each value [N]: -1 where the key does not exist, -2 where the
            value stays in the file, whose bytes are zeros here.

        Raises:
            StoreError: as `keys`.
        """
        nodes = np.fromiter(self._numbers(keys), np.int64)
        found, sizes = np.zeros((len(nodes), size), np.uint8), np.full(len(nodes), -1, np.int64)
        copy, places, known = (np.asarray(each) for each in (self._copy, self._values, self._sizes))
        there = np.flatnonzero(nodes >= 0)
        sizes[there] = np.where(known[nodes[there]] < 0, -2, known[nodes[there]])
        for first in range(0, len(there), LONGEST_RUN):
            rows = there[first : first + LONGEST_RUN]
            at = places[nodes[rows], np.newaxis] + np.arange(size)
            inside = np.arange(size) < sizes[rows, np.newaxis]
            found[rows] = np.where(inside, copy[np.where(inside, at, 0)], 0)
        return found, sizes

    def _numbers(self, keys: Iterable[bytes]) -> Iterator[int]:
        """The node of each key, or -1; keys of one page that follow each other are looked up quickly."""
        nodes: Mapping[bytes, int] = {}
        for key in keys:
            at = nodes.get(key)
            if at is None:
                nodes = self._nodes_near(key)
                at = nodes.get(key)
            yield -1 if at is None else at

    def _nodes_near(self, key: bytes) -> Mapping[bytes, int]:
        """The nodes of the only page that may hold a key."""
        page = bisect_right(self._first_keys, key) - 1
        return self._nodes_of(page) if page >= 0 else {}

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
    state = latest_state(file, path)
    try:
        length_of(file, state)
        if state.flags:
            raise Damaged("its keys have another format than plain ones")
        leaves, count, last = leaf_numbers(file, state, state.root, state.depth), 0, b""
        for first in range(0, len(leaves), LONGEST_RUN):
            entries = _entries(file, leaves[first : first + LONGEST_RUN], state)
            if (keys := [last, *entries.keys]) != sorted(keys):
                raise Damaged("damaged: its keys are not in order")
            if latest_state(file, path).transaction > state.transaction + 1:
                raise StoreError(f"{path}: it is being written; wait for the writer to finish")
            yield entries
            count, last = count + len(entries.keys), entries.keys[-1]
        if count != state.entries:
            raise Damaged(f"damaged: {count} keys instead of {state.entries}")
    except Damaged as error:
        raise StoreError(f"{path}: {error}; copy or download it again") from error


def _entries(file: int, numbers: IntArray, state: State) -> Entries:
    pages = read_pages(file, numbers, state)
    nodes = Nodes(pages, LEAF)
    values = nodes.at + NODE_HEADER + nodes.key_bytes
    overflow, starts = checked_values(nodes, values, pages, state)
    page = nodes.at // state.page_size  # an empty value may begin where its page ends
    places = (numbers - np.arange(len(numbers)))[page] * state.page_size + values
    places[overflow] = starts
    bytes_ = pages.reshape(-1).data
    ends = zip((nodes.at + NODE_HEADER).tolist(), values.tolist(), strict=True)
    return Entries([bytes(bytes_[begin:end]) for begin, end in ends], places, nodes.value_bytes)


def _is_kept(read: State, now: State, path: Path) -> bool:
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
