"""The golden of two processes for `test_audio_visual.py`: under `torchrun` each writes its loss and gradients."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from fill import input_of
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from egotools.losses.audio_visual import correspondence_loss
from egotools.losses.matching import of_all_processes

NAMES = ("xv_l", "xv_r", "xa")


def rows(*, is_unit: bool = True) -> list[Tensor]:
    """What is seen before, after, and the sound, as the reference made them: [8, 128] each."""
    sound = input_of("xa", 8, 128)
    found = [*(0.5 * input_of(name, 8, 128) + 0.5 * sound for name in NAMES[:2]), sound]
    return [F.normalize(each, dim=1, eps=1e-12) if is_unit else each for each in found]


def main(folder: str) -> None:
    dist.init_process_group("gloo")
    own = [each.chunk(2)[dist.get_rank()].clone().requires_grad_() for each in rows()]
    for way, targets in {"detached": [each.detach() for each in own], "gathered": own}.items():
        everyone = [of_all_processes(each)[0] for each in targets]
        loss = correspondence_loss(*own, *everyone, first=4 * dist.get_rank())
        gradients = torch.autograd.grad(loss, own)
        kept = {"loss": loss.detach(), **{f"grad_{name}": each for name, each in zip(NAMES, gradients, strict=True)}}
        torch.save(kept, f"{folder}/{way}{dist.get_rank()}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
