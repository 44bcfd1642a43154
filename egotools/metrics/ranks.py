"""How well rows find their own column. Axes: R rows, K columns; scores [R, K], the higher the better."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def own_ranks(scores: Tensor, own: Tensor) -> Tensor:
    """How many columns beat the own column of each row, [R] int64; one that is not a number is beaten by all.

    Args:
        scores: [R, K].
        own: [R] int64, the right column of each row.
    """
    mine = scores.gather(1, own.unsqueeze(1))
    return (~(scores <= mine)).sum(dim=1)


def class_ranks(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the right one of each row, [R] int64; of equal scores the first comes first.

    So a network that gives all classes the same score is not always right, as by `own_ranks` it would be.

    Args:
        scores: [R, K].
        labels: [R] int64.
    """
    mine = scores.gather(1, labels.unsqueeze(1))
    is_earlier = torch.arange(scores.shape[1], device=scores.device) < labels.unsqueeze(1)
    return (~(scores <= mine) | ((scores == mine) & is_earlier)).sum(dim=1)


def top_shares(ranks: Tensor, ks: Sequence[int]) -> list[Tensor]:
    """The share of rows whose own column is among the k best, for each k, from their ranks; scalars float32."""
    return [(ranks < k).float().mean() for k in ks]


def group_share(scores: Tensor, rows: int, first: int = 0) -> Tensor:
    """The share of rows whose best column lies in their own group of `rows` columns, scalar float32.

    Row i belongs to column `first` + i. With as many groups as clips it says how often the right clip is found.
    """
    own = torch.arange(first, first + len(scores), device=scores.device)
    return (scores.argmax(dim=1) // rows == own // rows).float().mean()


def position_plateau(clips: int, steps: int, passes: int = 2) -> float:
    """The loss, in nats and summed over passes, of a network that knows the position of a row and nothing else.

    Zero padding tells a network where a row lies in the map; the same position of every clip and step is then as
    likely as its own.
    """
    return passes * math.log(clips * steps)
