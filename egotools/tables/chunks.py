"""Items of sequences as pooled chunks: what is drawn in an epoch, and a table of all that was computed.

Axes: K chunks of an item, D features, B items of a batch.
"""

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from egotools.errors import OutputError
from egotools.stores.opening import open_store
from egotools.tables.sequences import FeatureSequence, chunk_count, pooled
from egotools.types import IntArray

Values = npt.NDArray[np.float32]

ZOOM = (0.5, 2.0)  # the shortest and the longest an item becomes, relative to its usual chunks
ALIKE = 8  # batches whose items are sorted by length together


@dataclass(frozen=True)
class Chunking:
    """How many rows make a chunk."""

    chunk: int = 20  # rows
    slots: int = 1200  # most chunks of an item
    zoom: float = 0.5  # how often an item is drawn with another chunk in training


class Draw(NamedTuple):
    """The items of one batch: their numbers, and the rows of a chunk of each."""

    epoch: int
    items: list[int]
    chunks: list[int]


def zoomed(rows: int, chunking: Chunking, position: float) -> int:
    """Rows of a chunk of an item that is stretched or squeezed.

    Args:
        rows: of the item.
        chunking: its usual chunk, and how many fit.
        position: from 0 to 1, between the smallest chunk and the largest on a logarithmic scale.
    """
    fitting = math.ceil(rows / chunking.slots)
    low, high = max(int(chunking.chunk / ZOOM[1]), fitting, 1), int(chunking.chunk / ZOOM[0])
    chunk = int(math.exp(math.log(low) + (math.log(high) - math.log(low)) * position))
    return fitting if rows // chunk > chunking.slots else chunk


def draws(
    first: int,
    lengths: Sequence[int],
    chunking: Chunking,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    sort: bool = False,
) -> Iterator[Draw]:
    """The batches from number `first` on, over all epochs.

    The order of an epoch depends on the seed and the epoch, the zoom of an item on these and its number.

    Args:
        first: counted over all epochs.
        lengths: rows of each item.
        chunking: how items become chunks.
        batch_size: items of a batch; the last one of an epoch may have fewer.
        epochs: in all.
        seed: of orders and zooms.
        sort: draw items of about the same length together, so that batches need less padding.
    """
    count = math.ceil(len(lengths) / batch_size)
    for epoch in range(first // count, epochs):
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(lengths))
        if sort:
            order = _sorted(order, np.array(lengths), batch_size, random)
        begin = first % count if epoch == first // count else 0
        for at in range(begin * batch_size, len(order), batch_size):
            numbers = order[at : at + batch_size].tolist()
            yield Draw(epoch, numbers, [_chunk(lengths[n], chunking, [seed, epoch, n]) for n in numbers])


def _chunk(rows: int, chunking: Chunking, seed: Sequence[int]) -> int:
    coin, position = np.random.default_rng(seed).random(2).tolist()
    return zoomed(rows, chunking, position) if coin < chunking.zoom else chunking.chunk


def _sorted(order: IntArray, lengths: IntArray, batch_size: int, random: np.random.Generator) -> IntArray:
    """The order with items of about the same length beside each other, and batches in random order again."""
    block = ALIKE * batch_size
    parts = [
        part[np.argsort(lengths[part], kind="stable")] for part in np.split(order, range(block, len(order), block))
    ]
    whole = len(order) // batch_size * batch_size  # the batch with fewer items stays the last
    alike = np.concatenate(parts)
    batches = alike[:whole].reshape(-1, batch_size)
    return np.concatenate([random.permutation(batches).ravel(), alike[whole:]])


def padded(parts: Sequence[Values], slots: int) -> tuple[Values, IntArray]:
    """Items [K, D] of different length as one array [B, slots, D] that ends in zeros, and the lengths [B]."""
    values = np.empty((len(parts), slots, parts[0].shape[1]), np.float32)  # zeros everywhere first take twice the time
    for into, part in zip(values, parts, strict=True):
        into[: len(part)], into[len(part) :] = part, 0
    return values, np.array([len(part) for part in parts], np.int64)


class PooledItems:
    """Items as chunks of any size, each computed once and then read from a memory-mapped file.

    A context manager: its folder is there until it is left, and one that a killed process has left is replaced.
    """

    def __init__(
        self,
        items: Sequence[FeatureSequence],
        caches: Sequence[Path],
        folder: Path,
        *,
        change: Callable[[FeatureSequence, Values], Values] | None = None,
    ) -> None:
        """`change` is applied to the chunks [K, D] of an item before they are kept, and keeps their shape."""
        self._items, self._folder, self._change = items, folder, change
        self._stores = [open_store(path) for path in caches]
        self._width = sum(store.width for store in self._stores)
        self._tables: dict[int, tuple[BinaryIO, Values, IntArray]] = {}
        self._made: set[tuple[int, int]] = set()
        self._files = ExitStack()

    def __enter__(self) -> "PooledItems":
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{self._folder} cannot be written: {error.strerror}") from error
        return self

    def __exit__(self, *exception: object) -> None:
        self._tables.clear()
        self._files.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __call__(self, number: int, chunk: int) -> Values:
        """The chunks [K, D] of an item.

        Raises:
            OutputError: the disk is full.
        """
        if chunk not in self._tables:
            self._tables[chunk] = self._table(chunk)
        file, values, starts = self._tables[chunk]
        if (number, chunk) not in self._made:
            found = pooled(self._stores, self._items[number], chunk)
            if self._change is not None:
                found = self._change(self._items[number], found)
            self._write(file, found, int(starts[number]) * self._width * 4)
            self._made.add((number, chunk))
        return values[starts[number] : starts[number + 1]]

    def _table(self, chunk: int) -> tuple[BinaryIO, Values, IntArray]:
        counts = [chunk_count(len(item), chunk) for item in self._items]
        starts = np.concatenate([[0], np.cumsum(counts)])
        path = self._folder / f"chunks-{chunk}.float32"
        file = self._files.enter_context(path.open("wb+", buffering=0))
        os.truncate(path, int(starts[-1]) * self._width * 4)  # sparse: what is not drawn takes no space
        return file, np.memmap(path, np.float32, "r", shape=(int(starts[-1]), self._width)), starts

    def _write(self, file: BinaryIO, values: Values, at: int) -> None:
        """Written, not through the map: a full disk is then an error, and no signal that ends the process."""
        data = np.ascontiguousarray(values).data.cast("B")
        try:
            while data:
                count = os.pwrite(file.fileno(), data, at)
                data, at = data[count:], at + count
        except OSError as error:
            raise OutputError(f"{self._folder}: pooled features cannot be kept: {error.strerror}") from error
