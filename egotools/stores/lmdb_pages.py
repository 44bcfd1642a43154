"""The pages of an LMDB file, read without LMDB and checked: every number is looked at before it is used.

The keys of a file as a whole: `lmdb_index.py`.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.errors import StoreError
from egotools.types import IntArray

MAGIC, VERSION = 0xBEEFC0DE, 1

PAGE_HEADER = 16
NODE_HEADER = 8
_META = struct.Struct("<IIQQ IHHQQQQQ IHHQQQQQ QQ")  # LMDB's MDB_meta, with its two MDB_db
_BRANCH, LEAF, _KINDS = 0x01, 0x02, 0x6F  # flags of pages
_OVERFLOW = 0x01  # flag of a node: its value is in its own pages
_DEEPEST = 32  # levels of a tree, LMDB's own limit
LONGEST_RUN = 4096  # pages read at a time
_NOTHING = (1 << 64) - 1  # the root of an empty tree

Pages = npt.NDArray[np.uint8]  # [P, bytes of a page]


@dataclass(frozen=True)
class State:
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


class Damaged(Exception):
    """What was read is inconsistent: damaged, or overwritten meanwhile."""


class Nodes:
    """The nodes of some pages, in order: their offsets in the concatenated pages.

    Raises:
        Damaged: an offset points outside its page.
    """

    def __init__(self, pages: Pages, kind: int) -> None:
        count, size = pages.shape
        heads = pages.view("<u2")
        if (heads[:, 5] & _KINDS != kind).any():
            raise Damaged("damaged: a page of its index is of another kind")
        lower, upper = heads[:, 6].astype(np.int64), heads[:, 7].astype(np.int64)
        if (lower < PAGE_HEADER).any() or (lower > upper).any() or (upper > size).any() or (lower % 2).any():
            raise Damaged("damaged: a page of its index is too small for its entries")
        numbers = (lower - PAGE_HEADER) // 2
        if count and not numbers.all():
            raise Damaged("damaged: a page of its index is empty")
        self.first: IntArray = np.cumsum(numbers) - numbers
        page = np.repeat(np.arange(count), numbers)
        slot = np.arange(len(page)) - self.first[page]
        offset = heads[page, PAGE_HEADER // 2 + slot].astype(np.int64)
        if (offset < upper[page]).any() or (offset > size - NODE_HEADER).any() or (offset % 2).any():
            raise Damaged("damaged: an entry of its index is outside its page")
        self.at: IntArray = page * size + offset
        flat, at = heads.reshape(-1), self.at // 2
        low, high, self.flags, keys = (flat[at + place].astype(np.int64) for place in range(4))
        self.key_bytes: IntArray = keys
        self.value_bytes: IntArray = low | (high << 16)  # in a leaf
        self.children: IntArray = self.value_bytes | (self.flags << 32)  # in a branch
        self.room: IntArray = size - offset - NODE_HEADER - keys
        if (self.room < 0).any():
            raise Damaged("damaged: a key of its index extends past its page")


def check_magic(start: bytes, path: Path) -> None:
    """Refuses a file that does not start like an LMDB file.

    Raises:
        StoreError: it is not LMDB.
    """
    if start[16:20] != MAGIC.to_bytes(4, "little"):
        raise StoreError(f"{path}: not a cache: the file is not LMDB")


def latest_state(file: int, path: Path) -> State:
    """The latest transaction."""
    start = os.pread(file, PAGE_HEADER + _META.size, 0)
    check_magic(start, path)
    first = _parsed(start, path)
    second = _parsed(os.pread(file, PAGE_HEADER + _META.size, first.page_size), path)
    return max(first, second, key=lambda state: state.transaction)


def _parsed(page: bytes, path: Path) -> State:
    if len(page) < PAGE_HEADER + _META.size:
        raise StoreError(f"{path}: cut short after {len(page)} bytes")
    meta = _META.unpack_from(page, PAGE_HEADER)
    magic, version, free, main = meta[0], meta[1], meta[4:12], meta[12:20]
    if magic == MAGIC and version != VERSION:
        raise StoreError(f"{path}: LMDB format version {version}; this egotools reads version {VERSION}")
    page_size = free[0]
    if magic != MAGIC or not 512 <= page_size <= 1 << 16 or page_size & (page_size - 1):
        raise StoreError(f"{path}: damaged: its first pages are invalid")
    return State(page_size, main[1], main[2], main[6], main[7], free[7], free[2], *meta[20:])


def length_of(file: int, state: State) -> int:
    """The size in bytes of the pages of a transaction."""
    needed, there = (state.last + 1) * state.page_size, os.fstat(file).st_size
    if there < needed:
        raise Damaged(f"cut short: {there} bytes instead of {needed}")
    return needed


def leaf_pages(file: int, state: State, root: int, depth: int) -> Pages:
    """The leaf pages of a tree, in key order."""
    return read_pages(file, leaf_numbers(file, state, root, depth), state)


def leaf_numbers(file: int, state: State, root: int, depth: int) -> IntArray:
    """The numbers of the leaf pages of a tree, in key order."""
    if depth > _DEEPEST or (root == _NOTHING) != (depth == 0):
        raise Damaged("damaged: its index has no root")
    if root == _NOTHING:
        return np.empty(0, np.int64)
    level = np.array([min(root, state.last + 1)], np.int64)
    for _ in range(depth - 1):
        level = Nodes(read_pages(file, level, state), _BRANCH).children
    return level


def read_pages(file: int, numbers: IntArray, state: State) -> Pages:
    if (numbers < 2).any() or (numbers > state.last).any() or len(np.unique(numbers)) < len(numbers):
        raise Damaged("damaged: its index refers to pages outside it")
    size = state.page_size
    pages = np.empty((len(numbers), size), np.uint8)
    ends = [*(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
    first, places, bytes_ = 0, numbers.tolist(), pages.reshape(-1).data
    for end in ends:  # of runs of consecutive pages
        while first < end:
            count = min(end - first, LONGEST_RUN)
            if os.preadv(file, [bytes_[first * size : (first + count) * size]], places[first] * size) < count * size:
                raise Damaged("cut short")
            first += count
    if (pages[:, :8].copy().view("<u8")[:, 0] != numbers).any():
        raise Damaged("damaged: a page of its index is in the wrong place")
    return pages


def checked_values(
    nodes: Nodes, values: IntArray, pages: Pages, state: State
) -> tuple[npt.NDArray[np.bool_], IntArray]:
    """Which values are in their own pages, and where those begin in the file; all are checked to lie inside it."""
    overflow: npt.NDArray[np.bool_] = nodes.flags == _OVERFLOW
    if (nodes.flags & ~_OVERFLOW).any():
        raise Damaged("an LMDB file, but not a cache of egotools (it contains several databases)")
    if (np.where(overflow, 8, nodes.value_bytes) > nodes.room).any():
        raise Damaged("damaged: a value of its index extends past its page")
    flat = pages.reshape(-1)
    places: Any = flat[values[overflow][:, np.newaxis] + np.arange(8)].view("<u8")[:, 0]
    too_far = (places < 2) | (places > state.last)
    starts = np.minimum(places, state.last).astype(np.int64) * state.page_size + PAGE_HEADER
    if too_far.any() or (starts + nodes.value_bytes[overflow] > (state.last + 1) * state.page_size).any():
        raise Damaged("damaged: a value is outside the file")
    return overflow, starts


def check_free_pages(file: int, path: Path) -> None:
    """Checks the lists of free pages before writing.

    Raises:
        StoreError: they are damaged.
    """
    state = latest_state(file, path)
    try:
        length = length_of(file, state)
        pages = leaf_pages(file, state, state.free_root, state.free_depth)
        nodes = Nodes(pages, LEAF)
        values = nodes.at + NODE_HEADER + nodes.key_bytes
        overflow, _ = checked_values(nodes, values, pages, state)
        flat = pages.reshape(-1)
        for value, size, is_apart in zip(values.tolist(), nodes.value_bytes.tolist(), overflow.tolist(), strict=True):
            content = flat[value : value + (8 if is_apart else size)].tobytes()
            if is_apart:
                place = int.from_bytes(content, "little") * state.page_size + PAGE_HEADER
                content = os.pread(file, min(size, length), place)
            _check_free_list(np.frombuffer(content[: len(content) // 8 * 8], "<u8"), state)
        if (nodes.key_bytes != 8).any():
            raise Damaged("damaged: its list of free pages is invalid")
    except Damaged as error:
        raise StoreError(f"{path}: {error}; restore it from a copy, or delete it and compute it again") from error


def _check_free_list(numbers: npt.NDArray[np.uint64], state: State) -> None:
    """Checks one list: a count, that many page numbers, highest first, then unused space."""
    count = min(int(numbers[0]), len(numbers)) if len(numbers) else 1
    free = numbers[1 : 1 + count].astype(np.int64)
    if len(free) < count or (free < 2).any() or (free > state.last).any() or (np.diff(free) >= 0).any():
        raise Damaged("damaged: its list of free pages is invalid")
