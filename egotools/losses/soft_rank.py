"""Ranks that have a gradient. Axes: R rows that are ranked apart from each other, N numbers of a row."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Regularization = Literal["l2", "kl"]
Block = tuple[float, float, int]  # two sums that give its value, and how many numbers it has

SAME = 1e-9  # blocks of values that near are one: there the gradient is that of their common mean


def soft_rank(values: Tensor, *, strength: float = 1.0, regularization: Regularization = "l2") -> Tensor:
    """Ascending ranks, 1 for the smallest, smoothed so that they have a gradient.

    The hard ranks are the vertex of the permutahedron nearest to `values / strength`; the soft ranks are the nearest
    point of it. That is an isotonic regression, piecewise linear ("l2") in the sorted values: which of them form
    a block is found by pooling adjacent violators, one after the other; all else is done at once, and the gradient
    follows from the blocks by automatic differentiation, exactly.

    Args:
        values: [..., N] float32 or float64; the last axis is ranked.
        strength: above 0; towards 0 the ranks become hard, and their gradient sparse.
        regularization: "l2" gives ranks that sum up to those of 1 to N; "kl" positive ones, of another projection.

    Returns:
        Of the shape of `values`.

    Source:
        Blondel et al., Fast Differentiable Sorting and Ranking, arXiv 2002.08871.
    """
    if not strength > 0:
        raise ValueError(f"the strength of a soft rank is above 0, not {strength}")
    rows = values.reshape(-1, values.shape[-1]) / strength
    ordered, order = rows.sort(dim=1, descending=True, stable=True)
    place = torch.arange(rows.shape[1], 0, -1, dtype=rows.dtype, device=rows.device)  # N, N - 1, ..., 1
    blocks = _blocks(ordered.detach(), place, regularization)
    if regularization == "l2":
        ranks = ordered - _mean_of_block(ordered - place, blocks)
    else:
        weight = _sum_of_block(place.expand_as(ordered), blocks)
        top = _top_of_block(ordered.detach(), blocks)  # exponentials are then 1 at most, and 1 once a block
        ranks = (ordered - top).exp() * weight / _sum_of_block((ordered - top).exp(), blocks)
    return torch.zeros_like(ranks).scatter(1, order, ranks).reshape(values.shape)


def _blocks(ordered: Tensor, place: Tensor, regularization: Regularization) -> Tensor:
    """The number [R, N] of the block that each sorted value falls into."""
    blocks = torch.zeros(ordered.shape, dtype=torch.int64)
    if regularization == "l2":
        # Neighbors at most 1 apart make one block: all that follows is a shift, and no row needs the loop.
        spread = (ordered[:, 0] - ordered[:, -1] > 1).nonzero().ravel().tolist() if ordered.shape[1] else []
        wanted = (ordered - place)[spread].double().tolist()
        for row, numbers in zip(spread, wanted, strict=True):
            blocks[row] = torch.tensor(_pooled([(number, 0.0, 1) for number in numbers], _mean, _add))
    else:
        logarithms = place.double().log().tolist()
        for row, numbers in enumerate(ordered.double().tolist()):
            singles = [(number, weight, 1) for number, weight in zip(numbers, logarithms, strict=True)]
            blocks[row] = torch.tensor(_pooled(singles, _difference, _add_exponentials))
    return blocks.to(ordered.device)


def _pooled(
    singles: Sequence[Block], value: Callable[[Block], float], merged: Callable[[Block, Block], Block]
) -> list[int]:
    """The block of each number when neighbors are merged until the blocks' values decrease."""
    blocks: list[Block] = []
    for block in singles:
        while blocks and value(blocks[-1]) <= value(block) + SAME:
            block = merged(blocks.pop(), block)
        blocks.append(block)
    return [number for number, block in enumerate(blocks) for _ in range(block[2])]


def _mean(block: Block) -> float:
    return block[0] / block[2]


def _add(one: Block, other: Block) -> Block:
    return one[0] + other[0], 0.0, one[2] + other[2]


def _difference(block: Block) -> float:
    return block[0] - block[1]


def _add_exponentials(one: Block, other: Block) -> Block:
    return _log_of_sum(one[0], other[0]), _log_of_sum(one[1], other[1]), one[2] + other[2]


def _log_of_sum(one: float, other: float) -> float:
    high, low = max(one, other), min(one, other)
    return high + math.log1p(math.exp(low - high))


def _sum_of_block(values: Tensor, blocks: Tensor) -> Tensor:
    """The sum [R, N] over each value's block."""
    return torch.zeros_like(values).scatter_add(1, blocks, values).gather(1, blocks)


def _top_of_block(values: Tensor, blocks: Tensor) -> Tensor:
    """The largest value [R, N] of each value's block."""
    return torch.zeros_like(values).scatter_reduce(1, blocks, values, "amax", include_self=False).gather(1, blocks)


def _mean_of_block(values: Tensor, blocks: Tensor) -> Tensor:
    return _sum_of_block(values, blocks) / _sum_of_block(torch.ones_like(values), blocks)
