"""Batch norm, dropout and a linear layer, trained by Adam on features in memory.

Axes: N clips, R rows, D features, K classes, B batch.

Source:
    the frozen-backbone protocol of Han, Xie, Zisserman, "Memory-augmented Dense Predictive Coding", ECCV 2020.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from egotools.linear.softmax import Fit
from egotools.linear.standardize import Standardization


@dataclass(frozen=True)
class Training:
    """How the head is trained."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float  # added to the gradient, of the batch norm and of biases, too
    dropout: float
    rate: Callable[[int], float]  # what the learning rate of an epoch, from 0, is multiplied by


def fit_bn_dropout(
    x: Tensor, labels: Tensor, starts: Tensor, classes: int, how: Training, generator: torch.Generator
) -> tuple[Fit, Standardization]:
    """Softmax of linear(dropout(batch norm(x))): its weights for what the batch norm's running statistics standardize.

    An epoch has one row of each clip, drawn at random, in random order; rows that do not fill the last batch are left
    out, as the batch norm has no use for single ones. Fewer clips than a batch are one batch.

    Args:
        x: [R, D] float32; the rows of a clip follow each other.
        labels: [N] int64 below K.
        starts: [N + 1] int64: the first row of each clip, and R.
        classes: K.
        how: of the training.
        generator: of the weights, orders and dropout, on the CPU.

    Returns:
        The fit, whose objective is the mean cross-entropy of the last epoch, and the standardization of features that
        it belongs to.
    """
    norm, linear = _head(x.shape[1], classes, generator)
    norm, linear = norm.to(x.device), linear.to(x.device)
    parameters = [*norm.parameters(), *linear.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=how.learning_rate, weight_decay=how.weight_decay)
    counts, loss = starts.diff(), torch.zeros((), device=x.device)
    size = min(how.batch_size, len(labels))
    batches = len(labels) // size
    for epoch in range(how.epochs):
        optimizer.param_groups[0]["lr"] = how.learning_rate * how.rate(epoch)
        order = torch.randperm(len(labels), generator=generator)[: batches * size]
        drawn = (torch.rand(len(labels), generator=generator, dtype=torch.float64) * counts).long()
        rows, loss = (starts[:-1] + drawn)[order], torch.zeros((), device=x.device)
        for clips, own in zip(*(torch.split(part.to(x.device), size) for part in (order, rows)), strict=True):
            seen = norm(x[own])
            if how.dropout:
                kept = torch.rand(seen.shape, generator=generator) >= how.dropout
                seen = seen * kept.to(x.device) / (1 - how.dropout)
            cost = functional.cross_entropy(linear(seen), labels[clips])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(cost)
            optimizer.step()
            loss += cost.detach()
    return _folded(norm, linear, float(loss) / batches, how.epochs)


def _head(width: int, classes: int, generator: torch.Generator) -> tuple[nn.BatchNorm1d, nn.Linear]:
    """The layers as the reference starts them: the linear one orthogonal, without bias."""
    norm, linear = nn.BatchNorm1d(width), nn.Linear(width, classes, device="meta").to_empty(device="cpu")
    nn.init.orthogonal_(linear.weight, generator=generator)
    nn.init.zeros_(linear.bias)
    return norm, linear


@torch.no_grad()
def _folded(norm: nn.BatchNorm1d, linear: nn.Linear, loss: float, epochs: int) -> tuple[Fit, Standardization]:
    """In evaluation the batch norm standardizes by its running statistics, then scales and shifts: that is linear."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("the batch norm keeps no running statistics")
    weight = linear.weight * norm.weight
    bias = linear.bias + linear.weight @ norm.bias
    standardization = Standardization(norm.running_mean.clone(), (norm.running_var + norm.eps).sqrt())
    return Fit(0.0, weight, bias, loss, epochs), standardization
