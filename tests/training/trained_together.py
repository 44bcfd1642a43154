"""Trains under torchrun for `test_world.py`, which trains the same in one process: `trained_together.py FOLDER`."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from egotools.errors import TrainingError
from egotools.stores.store import Recipe
from egotools.training.fit import fit
from egotools.training.how import How
from egotools.training.runs import Run
from egotools.training.world import ALONE, World, joined

STEPS, SIZE = 6, 4  # SIZE rows a process, batch and step
ACCUMULATED = How(log_every=1, accumulate=2)
EACH = How(log_every=1)
Batch = tuple[Tensor, Tensor]


class Network(nn.Module):
    """A regression without batch norm; with noise it depends on the random state of each process."""

    def __init__(self, *, noise: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.5 if noise else 0.0), nn.Linear(5, 1))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        error = (self.layers(batch[0]).squeeze(1) - batch[1]).square()
        return {"loss": error.mean(), "largest": error.max()}


def batches(size: int, rank: int, count: int, first: int) -> Iterator[Batch]:
    """Batches of `size` rows: the share of one of `count` processes in batches `count` times as large."""
    x = torch.randn(512, 3, generator=torch.Generator().manual_seed(5))
    y = (x @ torch.tensor([1.0, -2.0, 3.0])).sin()
    share = slice(rank, None, count)
    pairs = zip(x.split(size * count), y.split(size * count), strict=True)
    return iter([(one[share], other[share]) for one, other in pairs][first:])


def train(
    folder: Path,
    source: Callable[[int], Iterator[Batch]],
    *,
    steps: int = STEPS,
    how: How = EACH,
    noise: bool = False,
    world: World = ALONE,
) -> nn.Module:
    torch.manual_seed(3)
    model = Network(noise=noise)
    torch.manual_seed(world.rank)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    fit(model, source, optimizer, Run(folder, Recipe({})), steps=steps, how=how, world=world)
    return model


def broken(source: Callable[[int], Iterator[Batch]], rank: int, first: int) -> Iterator[Batch]:
    """As `source`, but the third batch of the second process is not finite."""
    for number, (x, y) in enumerate(source(first), first):
        yield (x, y / 0 if (rank, number) == (1, 2) else y)


def train_all(folder: Path, world: World) -> None:
    source = partial(batches, SIZE, world.rank, world.size)
    train(folder / "plain", source, world=world)
    train(folder / "accumulated", source, steps=STEPS // 2, how=ACCUMULATED, world=world)
    train(folder / "whole", source, noise=True, world=world)
    train(folder / "parts", source, steps=2, noise=True, world=world)
    model = train(folder / "parts", source, noise=True, world=world)
    same = world.gathered([value.tolist() for value in model.state_dict().values()])
    (folder / f"same-{world.rank}").write_text(str(same[0] == same[1]))
    train(folder / "broken", partial(broken, source, world.rank), world=world)


def main(folder: Path) -> None:
    try:
        with joined(os.environ, "cpu") as world:
            group = weakref.ref(torch.distributed.group.WORLD)
            train_all(folder, world)
    except TrainingError as error:
        (folder / f"error-{world.rank}").write_text(str(error))
        (folder / f"ended-{world.rank}").write_text(str(group() is None))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
