"""The options of state-change classification and localization. Does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from egotools.config import check_positive, option


@dataclass(frozen=True)
class StateChange:
    """What is learned, and how; the optimizer's defaults are those of Ego4D's baseline."""

    sampling: Literal["reference", "exact"] = option(
        "reference",
        "Which 16 frames stand for a clip: absolute multiples of a step, as published, or evenly spaced from its start,"
        " as the metric assumes.",
    )
    temporal: bool = option(False, "Two convolutions over time before the layer that finds the frame of change.")
    width: int = option(512, "Channels of these convolutions.  [temporal]")
    dropout: float = option(0.5, "Share of features that are dropped in training.")
    standardize: bool = option(False, "Bring features to mean 0 and deviation 1 of the training clips first.")
    state_weight: float = option(1.0, "Weight of the loss of whether there is a change.")
    keyframe_weight: float = option(1.0, "Weight of the loss of when it is.")
    epochs: int = option(100, "Passes over the clips.")
    batch_size: int = option(32, "Clips a batch; the last batch of an epoch may have fewer.")
    learning_rate: float = option(1e-4, "Of SGD at the beginning; it falls to 0 by half a cosine, step by step.")
    weight_decay: float = option(1e-4, "L2 regularization of all parameters.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "reference": {"sampling": "reference", "temporal": False, "standardize": False, "dropout": 0.5},
        "small": {
            "temporal": True,
            "width": 128,
            "standardize": True,
            "dropout": 0.2,
            "epochs": 40,
            "learning_rate": 0.02,
        },
    }

    def __post_init__(self) -> None:
        check_positive(self, "width", "epochs", "batch_size", "learning_rate")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout must be 0 or more and below 1, not {self.dropout}")
        for name in ("state_weight", "keyframe_weight", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be 0 or above, not {getattr(self, name)}")
