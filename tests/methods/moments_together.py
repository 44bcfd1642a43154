"""Gradients of RepLAI in two processes, and in one; under `torchrun` the first process writes them to files."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

import torch
from torch import Tensor

from egotools.methods.replai.network import Pretraining
from egotools.training.world import World, joined

WAYS = ("detached", "gathered")


class Moments(NamedTuple):
    before: Tensor
    after: Tensor
    sound: Tensor


def network(gathers_gradients: bool, *, is_together: bool = False) -> Pretraining:
    torch.manual_seed(0)
    return Pretraining(10, "speccnn", gathers_gradients=gathers_gradients, is_together=is_together).double().eval()


def moments() -> Moments:
    generator = torch.Generator().manual_seed(1)
    shapes = ((4, 3, 2, 16, 16), (4, 3, 2, 16, 16), (4, 1, 17, 16))
    return Moments(*(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes))


def gradients(model: torch.nn.Module, batch: Moments) -> dict[str, Tensor]:
    """The loss, and the gradient of each parameter."""
    found = model(batch)
    found["loss"].backward()
    grads = {name.removeprefix("module."): each.grad for name, each in model.named_parameters()}
    return {"loss": found["loss"].detach(), **grads}


def together(way: str, world: World) -> dict[str, Tensor]:
    """Of the half of this process, with the mean of both losses."""
    share = Moments(*(each.chunk(2)[world.rank] for each in moments()))
    kept = gradients(world.wrapped(network(way == "gathered", is_together=True), None), share)
    return {**kept, "loss": world.mean(kept["loss"])}


def main(folder: str) -> None:
    with joined(os.environ, "cpu") as world:
        for way in WAYS:
            kept = together(way, world)
            if world.is_first:
                torch.save(kept, f"{folder}/{way}.pt")


if __name__ == "__main__":
    main(sys.argv[1])
