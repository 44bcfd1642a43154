"""The best epoch of a training so far, saved with its checkpoint."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

Figures = dict[str, Any]  # Any: numbers, JSON-ready


@dataclass(eq=False)
class BestEpoch:
    """What an epoch was worth: the last one, and the one with the highest (or lowest) figure of the name `by`."""

    by: str
    epochs: int = 0
    last: Figures = field(default_factory=dict)
    best: Figures = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)  # of the best epoch
    is_lowest: bool = False

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("by", "is_lowest")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)

    def take(self, figures: Figures, network: nn.Module) -> Figures:
        """Counts one more epoch; what is to be logged of it."""
        self.epochs += 1
        self.last = {"epoch": self.epochs, **figures}
        best, now = self.best.get(self.by, math.nan), figures[self.by]
        is_better = now < best if self.is_lowest else now > best
        if not self.best or is_better or (math.isnan(best) and not math.isnan(now)):
            self.best = self.last
            self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return {"epoch": self.epochs, **{f"val_{name}": value for name, value in figures.items()}}

    def after_step(
        self,
        network: nn.Module,
        measured: Callable[[], Figures] | None,
        steps: int,
        told: Callable[[int], None],
    ) -> Callable[[int], Figures | None]:
        """What `fit` calls after a step: a network is measured after each epoch.

        Args:
            network: whose weights are kept.
            measured: its figures; None: there is nothing to validate on, and epochs are only counted.
            steps: of an epoch.
            told: is told the epochs that are done.
        """

        def call(done: int) -> Figures | None:
            if done % steps:
                return None
            told(done // steps)
            if measured is not None:
                return self.take(measured(), network)
            self.epochs += 1
            return {"epoch": self.epochs}

        return call

    def is_over(self, patience: int | None) -> bool:
        """Whether so many epochs have passed without a better one; None: never."""
        return patience is not None and self.epochs - self.best.get("epoch", 0) >= patience
