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


def one_cycle(
    at: int,
    *,
    total: int,
    rise: float = 0.3,
    begin: float = 25.0,
    end: float = 1e4,
    low: float = 0.85,
    high: float = 0.95,
) -> tuple[float, float]:
    """The factor of the highest rate, up and down again in two half cosines, and the momentum, down and up meanwhile.

    Beyond the last place, `total` - 1, the second half cosine goes on, as torch's `OneCycleLR` has it.

    Args:
        at: the place, counted from 0.
        total: places in all.
        rise: share of them that the rate rises in.
        begin: the rate begins at the highest by this.
        end: it ends at its first value by this.
        low: the momentum at the highest rate.
        high: the momentum at both ends.

    >>> [tuple(round(value, 3) for value in one_cycle(at, total=11)) for at in (0, 2, 6, 10)]
    [(0.04, 0.95), (0.96, 0.854), (0.531, 0.897), (0.0, 0.95)]
    """
    top, last = rise * total - 1, total - 1
    if at <= top:
        share, ends, momenta = at / top, (1 / begin, 1.0), (high, low)
    else:
        share, ends, momenta = (at - top) / (last - top), (1.0, 1 / begin / end), (low, high)
    rate, momentum = (there + (here - there) * (1 + math.cos(math.pi * share)) / 2 for here, there in (ends, momenta))
    return rate, momentum


def milestones_of_epochs(epoch: int, *, places: Sequence[int], is_true: bool) -> float:
    """The factor of a whole epoch: a drop at each milestone, or as MemDPC's classifiers have it.

    Their scheduler hears of an epoch after it, so drops come an epoch late, and the last one is without effect.

    >>> [round(milestones_of_epochs(at, places=(2, 4), is_true=False), 3) for at in range(6)]
    [1.0, 1.0, 1.0, 0.1, 0.1, 0.1]
    """
    return milestones(epoch if is_true else max(epoch - 1, 0), places=places, is_true=is_true)
