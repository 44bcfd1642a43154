"""In which order examples are learned from, and whose share of a batch they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
import torch

from egotools.errors import TrainingError

Key = tuple[int, int]  # epoch, index of the example


@dataclass(frozen=True)
class Order:
    """Batches of (epoch, index), from any number on: where a resumed training continues needs no other state.

    Of every batch that the processes take together, `size * batch_size` examples, each has every `size`-th one.

    Raises:
        ValueError: an option out of range.
        TrainingError: the examples make no batch.
    """

    examples: int
    batch_size: int  # of each process
    seed: int
    epochs: int | None = None  # None: without end
    shuffle: bool = True  # each epoch anew, by seed and epoch
    drop_last: bool = True  # the last batch of an epoch if it is smaller; with several processes always
    rank: int = 0
    size: int = 1  # processes that train together
    draws: Literal["numpy", "torch"] = "numpy"  # torch: the order of its samplers, which a published training has

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"--batch-size must be 1 or above, not {self.batch_size}")
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank {self.rank} of {self.size} processes")
        if not self.per_epoch:
            together = f"{self.size} processes with " if self.size > 1 else ""
            raise TrainingError(
                f"{self.examples} examples make no batch for {together}--batch-size {self.batch_size}; lower it"
            )

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        whole, rest = divmod(self.examples, self.batch_size * self.size)
        return whole + (rest > 0 and not self._drops)

    def batches(self, first: int = 0) -> Iterator[list[Key]]:
        """This process's share of the batches from number `first` on, counted over all epochs."""
        begin = first // self.per_epoch
        for epoch in count(begin) if self.epochs is None else range(begin, self.epochs):
            indices = self._indices(epoch)
            for number in range(first % self.per_epoch if epoch == begin else 0, self.per_epoch):
                together = indices[number * self.batch_size * self.size :][: self.batch_size * self.size]
                yield [(epoch, index) for index in together[self.rank :: self.size]]

    @property
    def _drops(self) -> bool:
        return self.drop_last or self.size > 1

    def _indices(self, epoch: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.examples))
        if self.draws == "torch":
            generator = torch.Generator().manual_seed(self.seed + epoch)
            drawn: list[int] = torch.randperm(self.examples, generator=generator).tolist()
            return drawn
        indices: list[int] = np.random.default_rng([self.seed, epoch]).permutation(self.examples).tolist()
        return indices
