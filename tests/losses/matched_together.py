"""Gradients of MemDPC in two processes, and in one; under `torchrun` the first process writes them to a file."""

from __future__ import annotations

import os
import sys

import torch
from torch import Tensor, nn

from egotools.methods.memdpc.network import Pretraining
from egotools.training.world import World, joined


class Small(nn.Module):
    """A backbone of one layer: pixels [K, 3, L, H, W] to maps [K, 256, L, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 256)

    def forward(self, clips: Tensor) -> Tensor:
        return self.layer(clips.movedim(1, -1)).movedim(-1, 1)


def network(gathers: bool) -> Pretraining:
    torch.manual_seed(0)
    model = Pretraining("resnet18", predicted=1, slots=8, gathers_negatives=gathers)
    model.backbone = Small()
    return model.double().eval()


def clips() -> Tensor:
    return torch.randn(4, 3, 3, 2, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    loss.backward()
    kept = {f"grad.{name.removeprefix('module.')}": value.grad for name, value in model.named_parameters()}
    return {"loss": loss.detach(), **{name: value for name, value in kept.items() if value is not None}}


def alone(gathers: bool) -> dict[str, Tensor]:
    """Of the joined batch, or of the mean of both halves."""
    model = network(gathers=False)
    parts = [clips()] if gathers else clips().chunk(2)
    return gradients(model, torch.stack([model(part)["loss"] for part in parts]).mean())


def together(gathers: bool, world: World) -> dict[str, Tensor]:
    """Of the half of this process, with the mean of both losses."""
    model = world.wrapped(network(gathers), None)
    kept = gradients(model, model(clips().chunk(2)[world.rank])["loss"])
    return {**kept, "loss": world.mean(kept["loss"])}


def main(path: str, gathers: bool) -> None:
    with joined(os.environ, "cpu") as world:
        kept = together(gathers, world)
        if world.is_first:
            torch.save(kept, path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "1")
