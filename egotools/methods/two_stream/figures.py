"""How near to each other views lie, and how much their features vary. Axes: V views, N slots, D features."""

from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

Figures = dict[str, Any]  # Any: numbers, JSON-ready


class Measured:
    """Means over batches that are added one after the other."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._moments: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor], count: int, prefix: str) -> None:
        """Means over so many slots, by name."""
        for name, value in values.items():
            self._sums[prefix + name] = self._sums.get(prefix + name, 0.0) + value.item() * count
            self._counts[prefix + name] += count

    def add_views(self, views: Tensor, prefix: str) -> None:
        """Views [V, N, D] of the same slots."""
        for one, other in combinations(views, 2):
            gap = one - other
            found = {"distance": gap.square().mean(), "absolute": gap.abs().mean()}
            self.add({**found, "cosine": cosine_similarity(one, other, dim=-1).mean()}, len(one), prefix)
        exact = views.double()
        moments = torch.stack([torch.ones_like(exact).sum(1), exact.sum(1), exact.square().sum(1)])  # [3, V, D]
        self._moments[prefix] = self._moments[prefix] + moments if prefix in self._moments else moments

    def figures(self) -> Figures:
        """By name, those of raw views with a prefix.

        `distance` is the mean square of the difference of two views, `absolute` that of its amount; `variance` is that
        of a feature over all slots of a view, `relative_distance` the distance of two views as a share of the distance
        of two slots drawn at random: 1 is no nearer than by chance.
        """
        found: Figures = {name: total / self._counts[name] for name, total in self._sums.items()}
        for prefix, (count, total, squares) in self._moments.items():
            variance = (squares / count - (total / count).square()).mean().item()
            found[f"{prefix}variance"] = variance
            distance = found[f"{prefix}distance"]
            found[f"{prefix}relative_distance"] = distance / (2 * variance) if variance > 0 else float("nan")
        return found
