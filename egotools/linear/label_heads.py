"""A linear layer for each of several labels, on features that may be scaled. Axes: B batch, D features."""

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everywhere

DEVIATION = 0.01  # of new weights
FLOOR = 1e-12  # of what is divided by
Scaling = Literal["none", "vector", "scalar"]


def new_heads(width: int, classes: Iterable[int]) -> nn.ModuleList:
    """Layers from D features to so many classes each; weights are normal with deviation 0.01, biases 0."""
    heads = nn.ModuleList()
    for count in classes:
        head = nn.Linear(width, count)
        nn.init.normal_(head.weight, std=DEVIATION)
        nn.init.zeros_(head.bias)
        heads.append(head)
    return heads


def scaled(features: Tensor, scaling: Scaling) -> Tensor:
    """Features [B, D], each row of length one (`vector`), or each number -1, 0 or 1 (`scalar`), or as they are.

    Source:
        RepLAI's `normalize_feats`, which divides each number by itself: `scalar`.
    """
    if scaling == "vector":
        return F.normalize(features, dim=1, eps=FLOOR)
    return features / features.abs().clamp_min(FLOOR) if scaling == "scalar" else features
