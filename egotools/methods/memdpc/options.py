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
LINEAR = {"net": "resnet34", "size": 224, "batch_size": 16, "epochs": 100, "schedule": (60, 80)}
FINE_TUNING = {**LINEAR, "finetune": True, "epochs": 500, "schedule": (300, 400)}


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
    interpolation: Literal["nearest", "bilinear"] = option(
        "nearest",
        "How a square of 224 pixels becomes one of --size: nearest as published, or bilinear with antialiasing.",
        absent="nearest",
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
class Training(Sampling):
    """What is told of a training from video beside what it shows."""

    batch_size: int = option(4, "Clips a batch, of each process.")
    learning_rate: float = option(1e-3, "Of Adam.")
    weight_decay: float = option(1e-5, "Of all parameters that learn, added to the gradient.")
    epochs: int = option(10, "Passes over the clips.")
    steps: int | None = option(None, "Instead of --epochs: steps in all.")
    schedule: tuple[int, ...] = option(
        (300, 400), "Epochs at which the rate becomes a tenth; the last one changes nothing, as published."
    )
    true_schedule: bool = option(False, "Let the last epoch of --schedule count, too.")
    validate_every: int = option(1, "Epochs between two validations, if there are clips of the split val.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "batch_size", "learning_rate", "epochs", "steps", "validate_every")
        if not self.weight_decay >= 0:
            raise ValueError(f"--weight-decay must be 0 or above, not {self.weight_decay}")
        if min(self.schedule, default=1) < 1 or list(self.schedule) != sorted({*self.schedule}):
            raise ValueError(f"--schedule must be ascending epochs, not {','.join(map(str, self.schedule))}")


@dataclass(frozen=True)
class MemDPCOptions(Training):
    """Pre-training."""

    short_videos: Literal["pad", "drop"] = option(
        "drop", "Clips without so many frames: left out, or their last frame is repeated, which is easy to predict."
    )
    batch_size: int = option(4, "Clips a batch, of each process; all others in a batch are negatives.")
    predict: int = option(3, "Blocks that are predicted from the others (P), in both directions.")
    slots: int = option(1024, "Slots of the memory that predictions are mixed from.")
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
        check_positive(self, "predict", "slots")
        if self.predict >= self.blocks:
            raise ValueError(
                f"--predict {self.predict} must be below --blocks {self.blocks}: blocks are predicted from the others"
            )


@dataclass(frozen=True)
class ActionOptions(Training):
    """A classifier of clips."""

    finetune: bool = option(False, "Let the whole network learn, not only its last layers.")
    dropout: float | None = option(
        None, "Share of features dropped before the linear layer; by default 0.9 with --finetune, else 0.5."
    )
    backbone_lr_mult: float = option(
        1.0,
        "With --finetune, times the rate for backbone and recurrent networks; 0.1 is what the published code meant.",
    )
    batch_size: int = option(4, "Clips a batch, of each process, two at least.")
    weight_decay: float = option(1e-3, "Of all parameters that learn, added to the gradient.")
    schedule: tuple[int, ...] = option(
        (300, 400),
        "Epochs at which the rate becomes a tenth. As published, one epoch late, and the last one changes nothing.",
    )
    true_schedule: bool = option(False, "Change the rate in each epoch of --schedule.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "reference": FINE_TUNING,
        "linear": LINEAR,
        "small": {"size": 64, "blocks": 5, "batch_size": 6, "epochs": 20, "schedule": (15,)},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "backbone_lr_mult")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout must be 0 or more and below 1, not {self.dropout}")
        if self.batch_size < 2:
            raise ValueError(
                f"--batch-size must be 2 or more, as the last batch norm compares clips, not {self.batch_size}"
            )
        if self.backbone_lr_mult != 1 and not self.finetune:
            raise ValueError("--backbone-lr-mult is for --finetune: without it the backbone does not learn")

    @property
    def dropped(self) -> float:
        """The share of features that are dropped."""
        return (0.9 if self.finetune else 0.5) if self.dropout is None else self.dropout


@dataclass(frozen=True)
class Viewing:
    """How a classifier is evaluated."""

    crops: Literal["center", "five", "ten"] = option(
        "center", "Squares of each frame whose probabilities are averaged: ten are five, and those of mirrored frames."
    )
    jitter: bool = option(False, "Change colors by chance in 3 of 10 clips and crops, as the published test does.")
    batch_size: int = option(8, "Clips that the network sees at a time; it changes nothing else.")
    normalize: bool = True  # colors as in training; the published test does not

    def __post_init__(self) -> None:
        check_positive(self, "batch_size")

    @property
    def views(self) -> tuple[tuple[int, bool], ...]:
        """Number of a square among `five_boxes`, and whether the frame is mirrored first; the center comes first."""
        places = (4,) if self.crops == "center" else (4, 0, 1, 2, 3)
        return tuple((place, flip) for flip in ((False, True) if self.crops == "ten" else (False,)) for place in places)
