"""The options of recognition by an R(2+1)D network. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from egotools.config import check_positive, option
from egotools.pixels.sizes import check_squares

# RepLAI's two protocols: a linear probe on EPIC-KITCHENS-100, and Ego4D's network learning as a whole.
EGO4D = {
    "net": "r2plus1d18",
    "finetune": True,
    "size": 224,
    "frames": 32,
    "video_duration": 64 / 30,
    "frame_rule": "all",
    "min_size": 256,
    "max_size": 320,
    "resizing": "plain",
    "eval_interpolation": "bilinear",
    "statistics": "ego4d",
    "pool": "average",
    "dropout": 0.5,
    "loss": "sum",
    "batch_size": 4,
    "learning_rate": 0.01,
    "nesterov": True,
    "weight_decay": 1e-4,
    "bn_decay": False,
    "decay": "cosine",
    "warmup": 1000,
    "precise_bn": 200,
}
EPIC = {"net": "r2plus1d18"}
EPIC_CODE = {"swap_sides": True, "bn_mode": "train", "validate_every": 5}
SMALL = {"net": "r2plus1d10", "size": 48, "min_size": 55, "max_size": 77, "batch_size": 8, "epochs": 10}


@dataclass(frozen=True)
class Watching:
    """What an R(2+1)D network is shown of a clip: frames of a window, as squares."""

    net: Literal["r2plus1d10", "r2plus1d18", "r2plus1d34"] = option(
        "r2plus1d18", "RepLAI's and AVID's network: (2+1)D convolutions, and how many."
    )
    size: int = option(112, "Side of the frames that the network sees, in pixels.")
    frames: int = option(8, "Frames of a window, evenly spaced.")
    video_duration: float = option(0.5, "Seconds of a window; drawn anew for each clip and epoch.")
    frame_rule: Literal["rate", "all"] = option(
        "rate",
        "The frames of a window: as many from its start on as its length and the frame rate say, as on EPIC-KITCHENS;"
        " or all up to its end, that one included, as on Ego4D.",
    )
    min_size: int = option(
        128, "Least shorter side of the frames before a square of --size is cut out of them; that of all evaluation."
    )
    max_size: int = option(180, "Largest one; both in pixels.")
    resizing: Literal["antialiased", "plain"] = option(
        "antialiased",
        "How frames are resized in training: as Pillow does, or with whole sizes and without antialiasing, as Ego4D's"
        " code does.",
    )
    eval_interpolation: Literal["nearest", "bilinear"] = option(
        "nearest", "How frames are resized where nothing is drawn: as published, or as in training."
    )
    swap_sides: bool = option(
        False, "Swap width and height of resized frames in training, which squeezes them, as the published code does."
    )
    flip: float = option(0.5, "Share of clips that are mirrored in training; Ego4D's code mirrors all of them.")
    statistics: Literal["imagenet", "ego4d"] = option(
        "imagenet", "Mean and deviation of colors: those of ImageNet, or 0.45 and 0.225 of each."
    )
    pool: Literal["max", "average"] = option("max", "What is taken of the last layer's map.")

    def __post_init__(self) -> None:
        check_positive(self, "size", "frames", "video_duration", "min_size")
        check_squares(self.size, self.min_size, self.max_size)
        if not 0 <= self.flip <= 1:
            raise ValueError(f"--flip must be from 0 to 1, not {self.flip}")
        if self.swap_sides and self.resizing == "plain":
            raise ValueError("--swap-sides is for --resizing antialiased")

    @property
    def depth(self) -> Literal[10, 18, 34]:
        """Of the network."""
        depths: dict[str, Literal[10, 18, 34]] = {"r2plus1d10": 10, "r2plus1d18": 18, "r2plus1d34": 34}
        return depths[self.net]


@dataclass(frozen=True)
class RecognitionOptions(Watching):
    """A classifier of clips on top of R(2+1)D."""

    finetune: bool = option(False, "Let the whole network learn, not only its last layers.")
    bn_mode: Literal["eval", "train"] = option(
        "eval",
        "Batch norm below last layers that learn alone: as in evaluation, or over each batch, as the published code.",
    )
    normalize_features: Literal["none", "vector", "scalar"] = option(
        "none", "Scale a clip's features to the length 1; scalar: each number to 1, as the published code does."
    )
    dropout: float = option(0.0, "Share of features dropped before the last layers.")
    loss: Literal["mean", "sum"] = option("mean", "Of several --label: the mean of their losses, or the sum.")
    batch_size: int = option(32, "Clips a batch, of each process.")
    learning_rate: float = option(0.005, "Of SGD with a momentum of 0.9.")
    nesterov: bool = option(False, "Nesterov's momentum.")
    weight_decay: float = option(0.0, "Of all parameters that learn, added to the gradient.")
    bn_decay: bool = option(True, "Decay weights whose name has 'bn', too; the first batch norm's name does not.")
    epochs: int = option(30, "Passes over the clips.")
    steps: int | None = option(None, "Instead of --epochs: steps in all.")
    decay: Literal["step", "cosine"] = option(
        "step", "How the rate falls: to a tenth at epochs of --schedule, or in each step, along a cosine to 0."
    )
    schedule: tuple[int, ...] = option((18, 24), "Epochs at which the rate becomes a tenth.  [--decay step]")
    warmup: int = option(0, "Steps in which the rate rises from 0.  [--decay cosine]")
    precise_bn: int = option(
        0,
        "Batches from which the statistics of batch norm are computed before each evaluation; 0: they are as learned.",
    )
    validate_every: int = option(1, "Epochs between two validations, if there are clips of the split val.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "epic": EPIC,
        "epic-reference": {**EPIC, **EPIC_CODE},
        "ego4d": EGO4D,
        "ego4d-reference": {**EGO4D, "flip": 1.0},
        "small": SMALL,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "batch_size", "learning_rate", "epochs", "steps", "validate_every")
        for name in ("weight_decay", "warmup", "precise_bn"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be 0 or above, not {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout must be 0 or more and below 1, not {self.dropout}")
        if min(self.schedule, default=1) < 1 or list(self.schedule) != sorted({*self.schedule}):
            raise ValueError(f"--schedule must be ascending epochs, not {','.join(map(str, self.schedule))}")
        if self.warmup and self.decay == "step":
            raise ValueError("--warmup is for --decay cosine")
        if self.finetune and self.bn_mode == "train":
            raise ValueError("--bn-mode is for last layers that learn alone: with --finetune batch norm learns, too")
        if self.precise_bn and not self.finetune:
            raise ValueError("--precise-bn is for --finetune: without it the network does not change")
