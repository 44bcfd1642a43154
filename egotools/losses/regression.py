"""Losses of predicted against true numbers. Axes: B batch; both tensors have one shape, [B] or [B, 1]."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everywhere

MEMENTO10K_MEAN = 0.80099205  # of its memorability scores


def mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean of the squared errors, scalar."""
    return F.mse_loss(predicted, target)


def l1(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean of the absolute errors, scalar."""
    return F.l1_loss(predicted, target)


def mse_tails(
    predicted: Tensor, target: Tensor, *, power: float = 4.0, factor: float = 2.0, center: float = MEMENTO10K_MEAN
) -> Tensor:
    """Squared errors that weigh more the farther the target lies from the usual score.

    Args:
        predicted: any numbers.
        target: of the same shape.
        power: of the distance from the center.
        factor: 1 + factor * distance ** power is the weight, divided by its mean over the batch.
        center: the usual score; the reference has Memento10k's mean for every data set.

    Returns:
        Mean over the batch, scalar.

    Source:
        Modular Memorability, `loss.py`.
    """
    weight = 1 + factor * (target - center).abs() ** power
    return torch.mean(weight / weight.mean() * (predicted - target) ** 2)
