"""Optimizers by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
}
FUSED = ("adam", "adamw")  # one pass over the parameters instead of ten


def optimizer_of(model: nn.Module, name: str, **options: Any) -> torch.optim.Optimizer:
    """The optimizer of that name for all parameters of a model; `options` are torch's, such as `lr` (hence Any)."""
    kind: Any = OPTIMIZERS[name]  # Any: their further options differ
    fused = {"fused": True} if name in FUSED else {}
    optimizer: torch.optim.Optimizer = kind(model.parameters(), **options, **fused)
    return optimizer
