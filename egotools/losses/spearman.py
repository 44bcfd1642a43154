"""Losses that reward the right order. Axes: B batch; both tensors have one shape, [B] or [B, 1]."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everywhere

from egotools.losses.regression import mse
from egotools.losses.soft_rank import soft_rank


def spearman(predicted: Tensor, target: Tensor, *, strength: float = 1.0) -> Tensor:
    """Minus a hundredth of the correlation of soft ranks over the batch, scalar.

    Numbers that span no more than `strength` (scores do, with the default 1) have soft ranks that are the numbers
    themselves, shifted: the loss is then minus a hundredth of Pearson's correlation. A strength of 0.01 ranks.

    Raises:
        ValueError: fewer than two clips, which have no order.

    Source:
        Modular Memorability, `loss.py`.
    """
    if predicted.numel() < 2:
        raise ValueError(f"a batch of {predicted.numel()} clip has no order: rank losses need two and more")
    one, other = (_direction(soft_rank(values.reshape(-1), strength=strength)) for values in (predicted, target))
    return -torch.dot(one, other) / 100


def mse_to_spearman(predicted: Tensor, target: Tensor, *, share: float, strength: float = 1.0) -> Tensor:
    """From squared errors (`share` 0) to `spearman` (`share` 1), scalar."""
    return (1 - share) * mse(predicted, target) + share * spearman(predicted, target, strength=strength)


def _direction(ranks: Tensor) -> Tensor:
    """Centered and of length one; zero where all are equal."""
    return F.normalize(ranks - ranks.mean(), dim=0)
