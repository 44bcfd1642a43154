"""The options of MemDPC. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from egotools.config import check_positive, option

if TYPE_CHECKING:
    from egotools.loading.spans import Spans
    from egotools.nn.resnet_2d3d import Depth

SMALL = {"size": 64, "blocks": 5, "predict": 2, "batch_size": 6, "steps": 400}
UCF101 = {"net": "resnet18", "size": 128, "batch_size": 16, "epochs": 500, "schedule": (300, 400)}
KINETICS = {"net": "resnet34", "size": 224, "batch_size": 16, "epochs": 200, "schedule": (120, 160)}


@dataclass(frozen=True)
class Sampling:
    """What a network of MemDPC is shown of a clip: N blocks of L frames, at a stride, as squares of S pixels."""

    net: Literal["resnet18", "resnet34", "resnet50"] = option(
        "resnet18", "Backbone: a residual network, 2D in its first layers, 3D in its last."
    )
    size: int = option(128, "Side of the frames that the network sees, in pixels.")
    blocks: int = option(8, "Blocks of a clip (N).")
    length: int = option(5, "Frames of a block (L).")
    stride: int = option(3, "Every n-th frame is taken; a clip needs one frame more than blocks x length x stride.")
    short_videos: Literal["pad", "drop"] = option(
        "pad", "Clips without so many frames: their last frame is repeated, or they are left out."
    )
    modality: Literal["rgb", "flow"] = option(
        "rgb", "What the files show; flow: folders of JPEGs with x in blue and y in green, of 'egotools frames --flow'."
    )
    flow_flip_sign: bool = option(
        False, "With flow, turn the sign of x round where frames are mirrored; the published code does not."
    )
    flow_jitter: bool = option(True, "With flow, change colors as those of frames, as published; or leave them.")

    def __post_init__(self) -> None:
        check_positive(self, "size", "blocks", "length", "stride")
        if self.modality == "rgb" and (self.flow_flip_sign or not self.flow_jitter):
            raise ValueError("--flow-flip-sign and --no-flow-jitter are for --modality flow")

    @property
    def depth(self) -> Depth:
        """Of the backbone."""
        return self.net

    @property
    def spans(self) -> Spans:
        """Which frames of a clip."""
        from egotools.loading.spans import Spans  # here: it loads torch

        return Spans(self.blocks * self.length, self.stride, self.short_videos)


@dataclass(frozen=True)
class MemDPCOptions(Sampling):
    """Pre-training."""

    short_videos: Literal["pad", "drop"] = option(
        "drop", "Clips without so many frames: left out, or their last frame is repeated, which is easy to predict."
    )
    predict: int = option(3, "Blocks that are predicted from the others (P), in both directions.")
    slots: int = option(1024, "Slots of the memory that predictions are mixed from.")
    batch_size: int = option(4, "Clips a batch, of each process; all others in a batch are negatives.")
    learning_rate: float = option(1e-3, "Of Adam.")
    weight_decay: float = option(1e-5, "Of all parameters, added to the gradient.")
    epochs: int = option(10, "Passes over the clips.")
    steps: int | None = option(None, "Instead of --epochs: steps in all.")
    schedule: tuple[int, ...] = option(
        (300, 400), "Epochs at which the rate becomes a tenth; the last one changes nothing, as published."
    )
    true_schedule: bool = option(False, "Let the last epoch of --schedule count, too.")
    validate_every: int = option(1, "Epochs between two validations, if there are clips of the split val.")
    gather_negatives: bool = option(
        False, "Under torchrun, the clips of all processes are negatives, not only those of its own."
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "reference": UCF101,
        "kinetics": KINETICS,
        "small": SMALL,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "predict", "slots", "batch_size", "learning_rate", "epochs", "steps", "validate_every")
        if not self.weight_decay >= 0:
            raise ValueError(f"--weight-decay must be 0 or above, not {self.weight_decay}")
        if self.predict >= self.blocks:
            raise ValueError(
                f"--predict {self.predict} must be below --blocks {self.blocks}: blocks are predicted from the others"
            )
        if min(self.schedule, default=1) < 1 or list(self.schedule) != sorted({*self.schedule}):
            raise ValueError(f"--schedule must be ascending epochs, not {','.join(map(str, self.schedule))}")
