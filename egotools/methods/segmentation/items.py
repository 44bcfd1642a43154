"""Sequences as batches of padded items. Axes: B items of a batch, T slots, K slots of one item, D features."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from egotools.methods.segmentation.network import Batch, Padding, SegmentationNetwork
from egotools.nn.c2f_tcn import LEAST
from egotools.tables.chunks import Draw, padded
from egotools.tables.sequences import UNLABELED, FeatureSequence, chunk_count, items, pooled_labels
from egotools.types import FloatArray, IntArray

Read = Callable[[int, int], npt.NDArray[np.float32]]  # number of an item, rows of a slot -> slots [K, D]
Asks = Callable[[str], bool]  # whether items of a view are refined by the network


def every(_: str) -> bool:
    """Whatever the view is."""
    return True


@dataclass(frozen=True, eq=False)
class Items:
    """Parts of sequences that fit into the network, and how batches are made of them."""

    parts: Sequence[FeatureSequence]
    owners: Sequence[int]  # of each part the number of its sequence
    classes: int
    padding: Padding
    slots: int
    device: torch.device
    is_refined: Asks = every

    @classmethod
    def of(
        cls,
        sequences: Sequence[FeatureSequence],
        chunk: int,
        *,
        classes: int,
        padding: Padding,
        slots: int,
        device: torch.device,
        is_refined: Asks = every,
    ) -> "Items":
        """Sequences cut so that their parts have at most `slots` slots of `chunk` rows."""
        found = [(at, part) for at, each in enumerate(sequences) for part in items(each, slots * chunk)]
        owners, parts = [at for at, _ in found], [part for _, part in found]
        return cls(parts, owners, classes, padding, slots, device, is_refined)

    def batch(self, numbers: Sequence[int], chunks: Sequence[int], read: Read) -> Batch:
        """These items, padded to the network's least length or to the longest of them; with "full" to all slots."""
        parts = [read(number, chunk) for number, chunk in zip(numbers, chunks, strict=True)]
        values, counts = padded(parts, self._padded([len(part) for part in parts]))
        labels = np.full(values.shape[:2], UNLABELED, np.int64)
        for row, number, chunk, count in zip(labels, numbers, chunks, counts, strict=True):
            row[:count] = self._labels(number, chunk)
        mask = np.arange(values.shape[1]) < counts[:, None]
        is_refined = np.array([self.is_refined(self.parts[number].view) for number in numbers])
        return Batch(*(torch.from_numpy(each).to(self.device) for each in (values, labels, mask, is_refined)))

    def batches(self, first: int, *, draws: Callable[[int], Iterator[Draw]], read: Read) -> Iterator[Batch]:
        """The training batches from number `first` on."""
        for draw in draws(first):
            yield self.batch(draw.items, draw.chunks, read)

    def groups(self, chunk: int, batch_size: int, *, mixes: bool) -> Iterator[list[int]]:
        """Items that are predicted together.

        Unless the network mixes those of a batch, what is predicted for an item is to depend on that item alone: it
        shares a batch with those that are padded to the same length.
        """
        order: dict[int, list[int]] = {}
        for number, part in enumerate(self.parts):
            length = 0 if mixes else self._padded([chunk_count(len(part), chunk)])
            order.setdefault(length, []).append(number)
        for numbers in order.values():
            yield from (numbers[at : at + batch_size] for at in range(0, len(numbers), batch_size))

    def _padded(self, lengths: Sequence[int]) -> int:
        return max(LEAST, *(lengths if self.padding == "trim" else [self.slots]))

    def _labels(self, number: int, chunk: int) -> IntArray:
        return pooled_labels(self.parts[number].labels, chunk, self.classes)


def predicted(network: SegmentationNetwork, found: Items, read: Read, chunk: int, batch_size: int) -> list[FloatArray]:
    """Probabilities [K, C] of the slots of each sequence, of all its parts, with one size of chunk."""
    parts: dict[int, FloatArray] = {}
    for numbers in found.groups(chunk, batch_size, mixes=network.mixes):
        batch = found.batch(numbers, [chunk] * len(numbers), read)
        parts.update(zip(numbers, network.predict(batch), strict=True))
    by_sequence: dict[int, list[FloatArray]] = {}
    for number, owner in enumerate(found.owners):
        by_sequence.setdefault(owner, []).append(parts[number])
    return [np.concatenate(each) for each in by_sequence.values()]


def with_draws(found: Items, draws: Callable[[int], Iterator[Draw]], read: Read) -> Callable[[int], Iterator[Batch]]:
    """What `fit` takes as batches."""
    return partial(found.batches, draws=draws, read=read)
