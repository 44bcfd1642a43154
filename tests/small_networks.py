"""Extractors of a user's own whose networks are small, as a file: `tests/small_networks.py:NAME`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from odd_extractors import Brightness
from torch import nn

from egotools.pixels.preprocessing import Normalize

SIDE = 16


@dataclass(frozen=True)
class Edges(Brightness):
    """Two convolutions over frames of 16x16 pixels: one row a frame, [512]."""

    place: ClassVar[Literal["device", "worker"]] = "device"

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        return np.ascontiguousarray(frame[np.arange(SIDE) * height // SIDE][:, np.arange(SIDE) * width // SIDE])

    def network(self) -> Any:
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU()]
        pooling = [nn.AvgPool2d(3), nn.Flatten()]
        return nn.Sequential(Normalize((0.5,) * 3, (0.2,) * 3), nn.Flatten(0, 1), *layers, *pooling)


class _Deciding(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        rows = self.network(windows)
        return rows if rows.mean() > 0 else -rows


@dataclass(frozen=True)
class Deciding(Edges):
    """The same, whose way depends on the values."""

    def network(self) -> Any:
        return _Deciding(super().network())
