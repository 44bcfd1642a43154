"""Limited-memory BFGS for smooth convex functions whose evaluation is what costs.

One evaluation a step is the rule: the step of length one is tried first and nearly always taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[float, Tensor]]  # point -> value and gradient, of the point's shape
Pair = tuple[Tensor, Tensor]  # a step, and how the gradient changed along it

SUFFICIENT = 1e-4  # share of the first-order decrease that a step must reach
FLATTER = 0.9  # share of the slope that may be left after a step
HALVINGS = 12  # trials of one line search


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a minimization ended; `evaluations` of the function were spent on it."""

    point: Tensor
    value: float
    gradient: Tensor
    evaluations: int
    pairs: tuple[Pair, ...]  # the curvature that was seen, for a next minimization of nearly the same function


def minimize(
    function: Function,
    start: Tensor,
    *,
    tolerance: float,
    steps: int,
    progress: float = 0.0,
    pairs: tuple[Pair, ...] = (),
    history: int = 10,
) -> Minimum:
    """Goes downhill from `start` until the largest entry of the gradient is at most `tolerance`.

    Args:
        function: to be minimized.
        start: any shape.
        tolerance: of the gradient's entries.
        steps: at most so many.
        progress: ends earlier when a step lowers the value by less than this share of it.
        pairs: curvature of an earlier minimization, oldest first.
        history: pairs that are kept.

    Source:
        Nocedal and Wright, Numerical Optimization, algorithm 7.5.
    """
    memory = deque(pairs, maxlen=history)
    point, (value, gradient), evaluations = start, function(start), 1
    for _ in range(steps):
        if gradient.abs().max() <= tolerance:
            break
        direction = -_times_inverse(memory, gradient)
        length = 1.0 if memory else 1.0 / float(gradient.norm())
        found, trials = _search(function, point, value, gradient, direction, length)
        evaluations += trials
        if found is None:  # rounding hides what is left to gain
            break
        before, (length, value, after) = value, found
        step, change = length * direction, after - gradient
        if torch.vdot(step.flatten(), change.flatten()) > 0:
            memory.append((step, change))
        point, gradient = point + step, after
        if before - value < progress * abs(before):
            break
    return Minimum(point, value, gradient, evaluations, tuple(memory))


def _times_inverse(memory: deque[Pair], gradient: Tensor) -> Tensor:
    """The approximate inverse of the second derivative, times `gradient`."""
    result, shares = gradient.clone(), []
    for step, change in reversed(memory):
        share = torch.sum(step * result) / torch.sum(step * change)
        result.sub_(share * change)
        shares.append(share)
    if memory:
        step, change = memory[-1]
        result.mul_(torch.sum(step * change) / torch.sum(change * change))
    for (step, change), share in zip(memory, reversed(shares), strict=True):
        result.add_((share - torch.sum(change * result) / torch.sum(step * change)) * step)
    return result


def _search(
    function: Function, point: Tensor, value: float, gradient: Tensor, direction: Tensor, length: float
) -> tuple[tuple[float, float, Tensor] | None, int]:
    """A length along `direction` that lowers the value and flattens the slope, by doubling and bisection.

    Returns:
        (length, value, gradient) there, or None when no trial lowered the value enough; and the number of trials.
    """
    slope = float(torch.sum(gradient * direction))
    low, high, best = 0.0, float("inf"), None
    for trial in range(1, HALVINGS + 1):
        reached, after = function(point + length * direction)
        if not reached <= value + SUFFICIENT * length * slope:  # also when it is NaN
            high = length
        else:
            best = (length, reached, after)
            if float(torch.sum(after * direction)) >= FLATTER * slope:
                return best, trial
            low = length
        length = 2 * low if high == float("inf") else (low + high) / 2
    return best, HALVINGS
