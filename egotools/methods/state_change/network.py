"""Heads on cached features: whether the state changes, and at which position. Axes: B clips, P positions, D features.

They are egotools' own: the published configuration of RepLAI for this task was not released.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from egotools.linear.standardize import Standardization
from egotools.losses.keyframe import state_change_losses

MOMENTUM, KERNEL = 0.9, 3


class Clips(NamedTuple):
    """Features [B, P, D], whether the state changes [B], 0 or 1, and the position of the change [B]."""

    features: Tensor
    states: Tensor
    keyframes: Tensor


class StateChangeHeads(nn.Module):
    """A linear layer for each position, perhaps after two convolutions over time, and one on the mean of positions.

    Args:
        features: D.
        channels: of the convolutions; None: there are none.
        dropout: of the features in training.
        standard: what features are brought to first; None: they are taken as they are.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        features: int,
        *,
        channels: int | None = None,
        dropout: float = 0.5,
        standard: Standardization | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features) if standard is None else standard.mean)
        self.register_buffer("deviation", torch.ones(features) if standard is None else standard.deviation)
        self.dropout = nn.Dropout(dropout)
        self.temporal = nn.Sequential()
        if channels is not None:
            for width in (features, channels):
                self.temporal.extend([nn.Conv1d(width, channels, KERNEL, padding=KERNEL // 2), nn.ReLU()])
        self.keyframe = nn.Linear(features if channels is None else channels, 1)
        self.state = nn.Linear(features, 2)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """[B, P, D] to the logits of no change and of change [B, 2], and of the change's position [B, P]."""
        features = self.dropout((features - self.mean) / self.deviation)
        over_time = self.temporal(features.transpose(1, 2)).transpose(1, 2)
        return self.state(features.mean(dim=1)), self.keyframe(over_time).squeeze(2)


class Learning(nn.Module):
    """What is minimized."""

    def __init__(self, heads: StateChangeHeads, *, state_weight: float = 1.0, keyframe_weight: float = 1.0) -> None:
        super().__init__()
        self.heads = heads
        self._weights = state_weight, keyframe_weight

    def forward(self, batch: Clips) -> dict[str, Tensor]:
        """`loss`, and its parts."""
        states, keyframes = self.heads(batch.features)
        state, keyframe = state_change_losses(states, keyframes, batch.states, batch.keyframes)
        return {"loss": self._weights[0] * state + self._weights[1] * keyframe, "state": state, "keyframe": keyframe}
