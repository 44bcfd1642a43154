"""Gradients of RepLAI in two processes, and in one; under `torchrun` the first process writes them to files."""

from __future__ import annotations

import sys
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from egotools.methods.replai.network import Pretraining

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
    own = model.module if isinstance(model, DistributedDataParallel) else model
    return {"loss": found["loss"].detach(), **{name: each.grad for name, each in own.named_parameters()}}


def main(folder: str) -> None:
    dist.init_process_group("gloo")
    share = Moments(*(each.chunk(2)[dist.get_rank()] for each in moments()))
    for way in WAYS:
        together = DistributedDataParallel(network(way == "gathered", is_together=True))
        kept = gradients(together, share)
        dist.all_reduce(kept["loss"])
        kept["loss"] /= 2
        if dist.get_rank() == 0:
            torch.save(kept, f"{folder}/{way}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
