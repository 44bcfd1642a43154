"""Limited-memory BFGS for smooth convex functions, from gradients alone.

A convex function falls along a direction until its slope there turns: values are not needed, and gradients that are
slightly rounded (bf16 products) lead to the same place, where rounded values would stop the search early.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]  # to another tensor of the same shape
Pair = tuple[Tensor, Tensor]  # a step, and how the gradient changed along it

HISTORY = 10  # pairs that are kept
FLATTER = 0.9  # share of the slope, up or down, that may be left after a step
TRIALS = 30  # of one step's length


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a minimization ended."""

    point: Tensor
    evaluations: int  # of the gradient
    pairs: tuple[Pair, ...]  # the curvature that was seen, for a next minimization of nearly the same function


def minimize(
    gradient: Map,
    start: Tensor,
    *,
    guess: Map,
    largest: float,
    gap: float,
    steps: int,
    pairs: Sequence[Pair] = (),
) -> Minimum:
    """Goes downhill from `start` to near the minimum.

    Args:
        gradient: of the function.
        start: any shape.
        guess: the inverse of the second derivative, roughly, times a gradient; the better, the fewer steps.
        largest: entry of the gradient, and
        gap: expected distance of the function to its minimum, at which to end.
        steps: at most so many.
        pairs: curvature of an earlier minimization, oldest first.

    Source:
        Nocedal and Wright, Numerical Optimization, algorithm 7.5.
    """
    memory = deque(pairs, maxlen=HISTORY)
    point, slopes, evaluations = start, gradient(start), 1
    for _ in range(steps):
        direction = -_times_inverse(memory, slopes, guess)
        expected = -_dot(slopes, direction) / 2
        if expected <= gap and slopes.abs().max() <= largest:
            break
        length, after, trials = _search(gradient, point, direction, slope=-2 * expected)
        evaluations += trials
        if after is None:  # rounding hides what is left to gain
            break
        memory.append((length * direction, after - slopes))
        point, slopes = point + length * direction, after
    return Minimum(point, evaluations, tuple(memory))


def _times_inverse(memory: Sequence[Pair], slopes: Tensor, guess: Map) -> Tensor:
    """The inverse of the second derivative as the pairs, and before them the guess, have it, times `slopes`."""
    result, shares = slopes.clone(), []
    curvatures = [_dot(step, change) for step, change in memory]
    for (step, change), curvature in zip(reversed(memory), reversed(curvatures), strict=True):
        shares.append(_dot(step, result) / curvature)
        result.sub_(change, alpha=shares[-1])
    result = guess(result)
    if memory:  # the guess may be right but for a factor
        latest = memory[-1][1]
        result *= curvatures[-1] / _dot(latest, guess(latest))
    for (step, change), curvature, share in zip(memory, curvatures, reversed(shares), strict=True):
        result.add_(step, alpha=share - _dot(change, result) / curvature)
    return result


def _search(gradient: Map, point: Tensor, direction: Tensor, *, slope: float) -> tuple[float, Tensor | None, int]:
    """A length along `direction` where the slope is flatter, by doubling and bisection; one is nearly always right.

    Returns:
        The length, the gradient there (None: no such length was found), and the number of trials.
    """
    low, high, length = 0.0, float("inf"), 1.0
    for trial in range(1, TRIALS + 1):
        after = gradient(point + length * direction)
        left = _dot(after, direction)
        if abs(left) <= FLATTER * abs(slope):
            return length, after, trial
        low, high = (low, length) if left > 0 else (length, high)
        length = 2 * low if high == float("inf") else (low + high) / 2
    return 0.0, None, TRIALS


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.flatten(), b.flatten()))
