"""From features of observed actions to the actions that follow.

Axes: B batch, N observed and Z coming actions, D features, W width.

Source:
    Ego4D, forecasting, `lta_models.py`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Aggregator = Literal["transformer", "concat", "mean"]
POSITION_DROPOUT, LAYER_DROPOUT = 0.2, 0.1
BASE = 10000.0  # of the positions' frequencies


def sinusoids(positions: int, width: int) -> Tensor:
    """A vector [W] for each position [N]: sines in even dimensions, cosines in odd ones."""
    frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(BASE) / width))
    angles = torch.arange(positions)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


class TransformerAggregator(nn.Module):
    """What a transformer's encoder makes of the last observed action, seeing all of them.

    Args:
        width: W, even, which `heads` divides.
        inputs: N.
        layers: of the encoder.
        heads: of the attention.
        feedforward: width between two layers.
    """

    positions: Tensor

    def __init__(self, width: int, inputs: int, *, layers: int = 6, heads: int = 8, feedforward: int = 2048) -> None:
        super().__init__()
        self.register_buffer("positions", sinusoids(inputs, width), persistent=False)
        self.dropout = nn.Dropout(POSITION_DROPOUT)
        layer = nn.TransformerEncoderLayer(width, heads, feedforward, LAYER_DROPOUT, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, observed: Tensor) -> Tensor:
        """[B, N, W] to [B, W]."""
        found: Tensor = self.encoder(self.dropout(observed + self.positions))[:, -1]
        return found


class ConcatAggregator(nn.Module):
    """The observed actions one after the other."""

    def forward(self, observed: Tensor) -> Tensor:
        """[B, N, W] to [B, N W]."""
        return observed.flatten(1)


class MeanAggregator(nn.Module):
    """The mean of the observed actions."""

    def forward(self, observed: Tensor) -> Tensor:
        """[B, N, W] to [B, W]."""
        return observed.mean(dim=1)


class Anticipator(nn.Module):
    """Projects the features of each observed action, aggregates them, and decodes each step to come.

    Args:
        features: D.
        classes: of verbs, and of nouns.
        inputs: N.
        steps: Z.
        width: W of the projected features.
        aggregator: of the N observed actions.
        layers: of the aggregator's transformer.
        heads: of its attention.
        feedforward: its width between two layers.
        dropout: before projection and decoder in training.
    """

    def __init__(
        self,
        features: int,
        classes: tuple[int, int],
        *,
        inputs: int = 4,
        steps: int = 20,
        width: int = 2048,
        aggregator: Aggregator = "transformer",
        layers: int = 6,
        heads: int = 8,
        feedforward: int = 2048,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.classes, self.steps = classes, steps
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(features, width)
        self.aggregator: nn.Module
        if aggregator == "transformer":
            self.aggregator = TransformerAggregator(width, inputs, layers=layers, heads=heads, feedforward=feedforward)
        else:
            self.aggregator = ConcatAggregator() if aggregator == "concat" else MeanAggregator()
        # One layer that gives what the reference's Z layers give, the classes of a step after those of the one before.
        self.decoder = nn.Linear(width * inputs if aggregator == "concat" else width, steps * sum(classes))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, D] to logits of verbs [B, Z, C] and of nouns [B, Z, C]."""
        return self.decoded(self.aggregator(self.projection(self.dropout(features))))

    def decoded(self, aggregated: Tensor) -> tuple[Tensor, Tensor]:
        """[B, W], or [B, N W], to logits of verbs and of nouns."""
        logits = self.decoder(self.dropout(aggregated)).unflatten(1, (self.steps, sum(self.classes)))
        verbs, nouns = logits.split(self.classes, dim=2)
        return verbs, nouns


def sampled(logits: Tensor, candidates: int, generator: torch.Generator) -> Tensor:
    """Candidates int64 [B, Z, K], each step drawn by its probabilities, independently; a single one is the likeliest.

    Args:
        logits: [B, Z, C].
        candidates: K.
        generator: of the draws, on the device of the logits.
    """
    if candidates == 1:
        return logits.argmax(dim=2, keepdim=True)
    probabilities = logits.float().softmax(dim=2).flatten(0, 1)
    drawn = torch.multinomial(probabilities, candidates, replacement=True, generator=generator)
    return drawn.reshape(*logits.shape[:2], candidates)
