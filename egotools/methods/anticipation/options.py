"""The options of long-term anticipation. Does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from egotools.config import check_positive, option


@dataclass(frozen=True)
class Anticipation:
    """What is learned, and how; the defaults are those of RepLAI's training."""

    windows: Literal["upstream", "reference"] = option(
        "upstream", "All windows of observed and coming actions, or as RepLAI's code has them, without a clip's last."
    )
    inputs: int = option(4, "Observed actions.")
    steps: int = option(20, "Actions to predict.")
    candidates: int = option(5, "Sequences that are drawn, of which the best one counts; 1: the likeliest.")
    aggregator: Literal["transformer", "concat", "mean"] = option(
        "transformer", "How the observed actions become one vector."
    )
    width: int = option(2048, "Of the projected features.")
    layers: int = option(6, "Of the transformer.")
    heads: int = option(8, "Of the transformer's attention.")
    feedforward: int = option(2048, "Width between two layers of the transformer.")
    dropout: float = option(0.5, "Share of features, and of aggregated ones, that are dropped in training.")
    taxonomy: Path | None = option(  # noqa: RUF009 - frozen
        None, "fho_lta_taxonomy.json, which says how many classes there are; by default the labels do."
    )
    epochs: int = option(50, "Passes over the windows.")
    batch_size: int = option(32, "Windows a batch; the last batch of an epoch may have fewer.")
    learning_rate: float = option(0.01, "Of Adam after the warm-up; it then falls to 0 by half a cosine.")
    warm_up: int = option(1000, "Steps in which the learning rate rises from 0.")
    weight_decay: float = option(1e-4, "L2 regularization of all parameters.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "reference": {"windows": "reference", "inputs": 4, "steps": 20, "candidates": 5, "aggregator": "transformer"},
        "small": {
            "width": 128,
            "layers": 2,
            "heads": 4,
            "feedforward": 256,
            "dropout": 0.2,
            "epochs": 30,
            "learning_rate": 1e-3,
            "warm_up": 20,
        },
    }

    def __post_init__(self) -> None:
        check_positive(self, "inputs", "steps", "candidates", "width", "layers", "heads", "feedforward")
        check_positive(self, "epochs", "batch_size", "learning_rate")
        if self.aggregator == "transformer" and self.width % self.heads:
            raise ValueError(f"--width {self.width} must be a multiple of --heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout must be 0 or more and below 1, not {self.dropout}")
        for name in ("warm_up", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be 0 or above, not {getattr(self, name)}")

    @property
    def shortest(self) -> int:
        """Actions of a clip that has one window."""
        return self.inputs + self.steps + (self.windows == "reference")
