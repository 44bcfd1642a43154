"""Batches by epochs over a table in memory. Axes: N rows, B batch."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from egotools.errors import TableError
from egotools.training.how import How


class Batch(NamedTuple):
    """Numbers [B] of the rows, and the share of the training that is behind them, 0 in the first epoch to 1."""

    rows: Tensor
    progress: float


def batch_count(rows: int, batch_size: int) -> int:
    """Batches of an epoch; the last may have fewer rows."""
    return math.ceil(rows / batch_size)


def steps_of(rows: int, batch_size: int, how: How) -> int:
    """Steps of an epoch.

    Raises:
        TableError: its batches cannot be divided into steps.
    """
    count = batch_count(rows, batch_size)
    if count % how.accumulate:
        raise TableError(
            f"{rows} training rows make {count} batches an epoch, which --accumulate {how.accumulate} does not divide;"
            " choose another, or another --batch-size"
        )
    return count // how.accumulate


def progress_at(epoch: int, epochs: int) -> float:
    """How far the training is in an epoch, counted from 0: 0 in the first, 1 in the last."""
    return epoch / (epochs - 1) if epochs > 1 else 0.0


def batches(
    first: int, *, rows: Tensor, batch_size: int, epochs: int, seed: int, shuffle: bool = True
) -> Iterator[Batch]:
    """The batches from number `first` on: what `fit` takes, once the rest is bound.

    Args:
        first: counted over all epochs.
        rows: numbers [N] of the rows to learn from, on the device.
        batch_size: rows of a batch; the last of an epoch may have fewer.
        epochs: in all.
        seed: of the orders; that of an epoch depends on the seed and the epoch only.
        shuffle: whether each epoch has an order of its own.
    """
    count = batch_count(len(rows), batch_size)
    for epoch in range(first // count, epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(rows)) if shuffle else np.arange(len(rows))
        parts = torch.split(rows[torch.from_numpy(order).to(rows.device)], batch_size)
        begin = first % count if epoch == first // count else 0
        for part in parts[begin:]:
            yield Batch(part, progress_at(epoch, epochs))
