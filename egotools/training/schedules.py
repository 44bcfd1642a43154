"""Schedules: factors of the initial learning rate, as pure functions of a step or an epoch, counted from 0."""

from __future__ import annotations

import math


def step(at: int, *, every: int, factor: float) -> float:
    """Multiplied by `factor` once in `every`.

    >>> [step(at, every=2, factor=0.5) for at in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return factor ** (at // every)


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
