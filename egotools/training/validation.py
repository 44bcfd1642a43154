"""Figures of a network on examples that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from egotools.loading.items import Examples
from egotools.loading.loader import Tensors, loader
from egotools.loading.order import Order
from egotools.training.fit import autocast
from egotools.training.how import How
from egotools.training.learning import Figures
from egotools.training.world import World

HELD = 512 << 20  # bytes of validation that are kept in memory


class Validation:
    """Figures of clips that are not learned from, in eval mode, drawn as in training but alike each time.

    Args:
        examples: of these clips, whatever they show.
        batch_size: as of the training, of each process.
        world: the processes that have a share each.
        how: the precision.
        finish: as the loader's.
        workers: processes that read.
        is_whole: each clip counts, in a smaller last batch, too (not with several processes). Otherwise batches have
            as many clips as in training, since a loss may depend on that: what is left over is not used, unless there
            are fewer clips than for one batch of each process. Then all are one batch.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        world: World,
        how: How,
        finish: Callable[[Tensors], Any],  # Any: what the model takes
        workers: int,
        *,
        is_whole: bool = False,
    ) -> None:
        count, size = len(examples), batch_size
        if count < size * world.size:
            order = Order(count, min(size, count), seed=0, epochs=1, shuffle=False, drop_last=not is_whole)
        else:
            share = Order(count, size, seed=0, epochs=1, shuffle=False, drop_last=not is_whole)
            order = replace(share, rank=world.rank, size=world.size)
        self.clips = min(order.per_epoch * order.batch_size * order.size, count)
        self._world, self._how, self._finish = world, how, finish
        cpu = torch.device("cpu")
        self._read = loader(examples, order, seed=0, workers=workers, device=cpu, finish=lambda batch: batch)
        self._held: list[Tensors] | None = []
        self._room = HELD

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> Figures:
        """Means over the clips of what the model returns."""
        device, was_training = next(model.parameters()).device, model.training
        sums: dict[str, Tensor] = {}
        count = 0
        for batch in self._batches():
            clips = len(next(iter(batch.values())))
            count += clips
            with autocast(self._how, device):
                found = model.eval()(self._finish(batch))
            sums = {name: clips * value.double() + sums.get(name, 0.0) for name, value in found.items()}
        model.train(was_training)
        return {name: self._world.mean(value).item() / count for name, value in sums.items()}

    def _batches(self) -> Iterator[Tensors]:
        if self._held:
            yield from self._held
            return
        for batch in self._read(0):
            self._hold(batch)
            yield batch

    def _hold(self, batch: Tensors) -> None:
        """Keeps what is read in memory, unless it becomes too much."""
        self._room -= sum(value.nbytes for value in batch.values())
        if self._room < 0:
            self._held = None
        elif self._held is not None:
            self._held.append(batch)
