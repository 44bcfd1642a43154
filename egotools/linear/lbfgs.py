"""Limited-memory BFGS for smooth convex functions, from gradients alone.

Along a descent direction a convex function falls until its slope changes sign: values are not needed, and gradients
with small rounding errors (bf16 products) lead to the same minimum, where rounded values would end the search early.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]  # returns a tensor of the same shape
Pair = tuple[Tensor, Tensor]  # a step, and how the gradient changed along it

HISTORY = 10  # pairs to keep
FLATTER = 0.9  # fraction of the slope that may remain after a step
TRIALS = 30  # for the length of a step


@dataclass(frozen=True, eq=False)
class Minimum:
    """The result of a minimization."""

    point: Tensor
    evaluations: int  # gradient evaluations
    pairs: tuple[Pair, ...]  # observed curvature, for minimizing a similar function next


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
    """Minimizes a function from `start`.

    Args:
        gradient: gradient of the function.
        start: any shape.
        guess: multiplies a gradient by an approximate inverse Hessian; the better, the fewer steps.
        largest: stops if no gradient entry is larger, and
        gap: if the expected distance to the minimum is smaller.
        steps: maximum number of steps.
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
        if after is None:  # the remaining gain is below rounding errors
            break
        memory.append((length * direction, after - slopes))
        point, slopes = point + length * direction, after
    return Minimum(point, evaluations, tuple(memory))


def _times_inverse(memory: Sequence[Pair], slopes: Tensor, guess: Map) -> Tensor:
    """The inverse Hessian, as approximated by the guess and the pairs, times `slopes`."""
    result, shares = slopes.clone(), []
    curvatures = [_dot(step, change) for step, change in memory]
    for (step, change), curvature in zip(reversed(memory), reversed(curvatures), strict=True):
        shares.append(_dot(step, result) / curvature)
        result.sub_(change, alpha=shares[-1])
    result = guess(result)
    if memory:  # the guess may be off by a factor
        latest = memory[-1][1]
        result *= curvatures[-1] / _dot(latest, guess(latest))
    for (step, change), curvature, share in zip(memory, curvatures, reversed(shares), strict=True):
        result.add_(step, alpha=share - _dot(change, result) / curvature)
    return result


def _search(gradient: Map, point: Tensor, direction: Tensor, *, slope: float) -> tuple[float, Tensor | None, int]:
    """A length along `direction` where the slope is flatter, the gradient there (None: not found), and the trials."""
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
