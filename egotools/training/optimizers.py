"""Optimizers by name, and schedules: factors of the initial learning rate at a step or epoch, counted from 0."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

NAMES = ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam")
OPTIMIZERS: dict[str, Any] = {name.lower(): getattr(torch.optim, name) for name in NAMES}  # Any: their options differ
FUSED = ("adam", "adamw")  # one pass over the parameters instead of ten


def optimizer_of(
    model: nn.Module, name: str, *, groups: Sequence[dict[str, Any]] = (), **options: Any
) -> torch.optim.Optimizer:
    """The optimizer of that name for all parameters of a model, or for groups of some with options of their own.

    `options` are torch's, such as `lr` (hence Any).
    """
    fused = {"fused": True} if name in FUSED else {}
    optimizer: torch.optim.Optimizer = OPTIMIZERS[name](groups or model.parameters(), **options, **fused)
    return optimizer


def step(at: int, *, every: int, factor: float) -> float:
    """Multiplied by `factor` once in `every`.

    >>> [step(at, every=2, factor=0.5) for at in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return factor ** (at // every)


def milestones(at: int, *, places: Sequence[int], factor: float = 0.1, is_true: bool = True) -> float:
    """Multiplied by `factor` at each place; without `is_true` the last place changes nothing.

    The latter is a formula for restarts with a single cycle, as MemDPC's published code has it: at the last place it
    has the rate fall back to that of the place before, which it has already.

    >>> [milestones(at, places=(2, 3), factor=0.5) for at in range(5)]
    [1.0, 1.0, 0.5, 0.25, 0.25]
    >>> [milestones(at, places=(2, 3), factor=0.5, is_true=False) for at in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.5]
    """
    counted = places if is_true else places[:-1]
    return factor ** sum(place <= at for place in counted)


def exponential(at: int, *, factor: float) -> float:
    """Multiplied by `factor` each time.

    >>> [exponential(at, factor=0.5) for at in range(3)]
    [1.0, 0.5, 0.25]
    """
    return factor**at


def cosine(at: int, *, total: int) -> float:
    """Half a cosine from 1 down to 0, which it would reach at `total`.

    >>> [round(cosine(at, total=4), 3) for at in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    return (1 + math.cos(math.pi * at / total)) / 2


def milestones_of_epochs(epoch: int, *, places: Sequence[int], is_true: bool) -> float:
    """The factor of a whole epoch: a drop at each milestone, or as MemDPC's classifiers have it.

    Their scheduler hears of an epoch after it, so drops come an epoch late, and the last one is without effect.

    >>> [round(milestones_of_epochs(at, places=(2, 4), is_true=False), 3) for at in range(6)]
    [1.0, 1.0, 1.0, 0.1, 0.1, 0.1]
    """
    return milestones(epoch if is_true else max(epoch - 1, 0), places=places, is_true=is_true)
