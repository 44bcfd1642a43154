"""Gradients of MemDPC in two processes, and in one; under `torchrun` the first process writes them to a file."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from egotools.methods.memdpc.network import Pretraining


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


def gradients(model: Pretraining, loss: Tensor) -> dict[str, Tensor]:
    loss.backward()
    kept = {f"grad.{name}": parameter.grad for name, parameter in model.named_parameters()}
    return {"loss": loss.detach(), **{name: value for name, value in kept.items() if value is not None}}


def alone(gathers: bool) -> dict[str, Tensor]:
    """Of the joined batch, or of the mean of both halves."""
    model = network(gathers=False)
    parts = [clips()] if gathers else clips().chunk(2)
    return gradients(model, torch.stack([model(part)["loss"] for part in parts]).mean())


def main(path: str, gathers: bool) -> None:
    dist.init_process_group("gloo")
    model = network(gathers)
    together = DistributedDataParallel(model)
    kept = gradients(model, together(clips().chunk(2)[dist.get_rank()])["loss"])
    dist.all_reduce(kept["loss"])
    kept["loss"] /= 2
    if dist.get_rank() == 0:
        torch.save(kept, path)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "1")
