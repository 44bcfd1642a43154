"""Losses of predictions that must be told from all others. Axes: R rows, D numbers each."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everywhere

from egotools.nn.mixed_precision import in_float32


@in_float32
def matching_loss(predictions: Tensor, targets: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
    """Cross-entropy of telling each prediction's own target from all others, by raw products: no norm, no temperature.

    Args:
        predictions: [R, D].
        targets: [R', D]; that of prediction i is number `first` + i, the others are its negatives.
        first: above 0 if the targets of other processes come before ours.

    Returns:
        Mean over rows, scalar; and the scores [R, R'], both at least float32.

    Source:
        MemDPC, `memdpc/model.py`, `get_loss`.
    """
    if predictions.dim() != 2 or targets.dim() != 2 or len(targets) < first + len(predictions):
        raise ValueError(
            f"{tuple(predictions.shape)} predictions do not have one of {tuple(targets.shape)} targets each"
        )
    scores = predictions @ targets.t()
    own = torch.arange(first, first + len(predictions), device=scores.device)
    return F.cross_entropy(scores, own), scores


def of_all_processes(rows: Tensor) -> tuple[Tensor, int]:
    """The rows [R, D] of all processes of the default group, by rank, and where ours begin; gradients flow to all.

    Every process must have as many. With a loss that is a mean over one's own rows, and gradients averaged over
    processes, as DistributedDataParallel does, the training is that of the joined batch.
    """
    rank = torch.distributed.get_rank()
    return _Gathered.apply(rows), rank * len(rows)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        found = [torch.empty_like(rows) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(found, rows)
        return torch.cat(found)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()]
