"""The options of RepLAI. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from egotools.config import check_positive, option
from egotools.pixels.sizes import check_squares

if TYPE_CHECKING:
    from egotools.nn.r2plus1d import Depth

# What the presets set of `Sampling`: the published code's ways, and what a laptop can train.
PUBLISHED_SAMPLING = {"swap_sides": True, "frame_windows": "published", "sound_windows": "published"}
SMALL_SAMPLING = {"size": 48, "min_size": 55, "max_size": 77}
SPECTRUM = 0.032  # seconds that a spectrum is computed from


@dataclass(frozen=True)
class Sampling:
    """What the networks are shown of a clip: frames before and after one of its moments, and the sound around it."""

    size: int = option(112, "Side of the frames that the network sees, in pixels.")
    frames: int = option(8, "Frames of a window.")
    video_duration: float = option(0.5, "Seconds of the window before a moment, and of the one after it.")
    audio_duration: float = option(2.0, "Seconds of sound, with the moment in the middle.")
    delta: float = option(0.1, "Seconds between a moment and the windows on both of its sides.")
    moi: Literal["audio", "random"] = option(
        "audio", "Moments of interaction: those of --moments, or times drawn at random from all of a clip."
    )
    prominence: float = option(1.0, "Least prominence of a moment; --moments holds those from 0.5 on.")
    min_size: int = option(128, "Least shorter side of the frames before a square of --size is cut out of them.")
    max_size: int = option(180, "Largest one; both in pixels.")
    shared_augmentation: bool = option(
        False, "One square, size and mirroring for the windows before and after; as published each has its own."
    )
    swap_sides: bool = option(
        False, "Swap width and height of resized frames in training, which squeezes them, as the published code does."
    )
    eval_interpolation: Literal["nearest", "bilinear"] = option(
        "nearest", "How frames are resized where nothing is drawn: as published, or as in training."
    )
    frame_windows: Literal["exact", "published"] = option(
        "exact",
        "Frames from the start of a window up to its end; published: their number is rounded down, and where there are"
        " more, they begin with a random one.",
    )
    sound_windows: Literal["exact", "published"] = option(
        "exact", "Sound of exactly --audio-duration; published: from up to 46 ms later on, and shorter."
    )

    def __post_init__(self) -> None:
        check_positive(self, "size", "frames", "video_duration", "audio_duration", "min_size")
        for name in ("delta", "prominence"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name} must be 0 or above, not {getattr(self, name)}")
        if not SPECTRUM <= self.audio_duration < math.inf:
            raise ValueError(f"--audio-duration must be {SPECTRUM:g} or above, a spectrum, not {self.audio_duration:g}")
        check_squares(self.size, self.min_size, self.max_size)

    @property
    def margin(self) -> float:
        """Seconds that a moment keeps from both ends of its clip."""
        return self.delta + self.video_duration


# The recipes of the two published trainings, whose batches are those of one of 4 and of 8 GPUs; and of a laptop.
PUBLISHED = {**PUBLISHED_SAMPLING, "torch_order": True}
EGO4D = {"batch_size": 64, "learning_rate": 0.05}
SMALL = {
    **SMALL_SAMPLING,
    "net": "r2plus1d10",
    "batch_size": 8,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "rate_every": "step",
    "steps": 500,
}
OBJECTIVES = ("state-change", "correspondence")


@dataclass(frozen=True)
class ReplaiOptions(Sampling):
    """Pre-training."""

    net: Literal["r2plus1d10", "r2plus1d18", "r2plus1d34"] = option(
        "r2plus1d18", "Network of frames: AVID's (2+1)D convolutions, and how many layers."
    )
    audio_net: Literal["avid", "speccnn"] = option(
        "avid", "Network of sound: AVID's nine convolutions, or those of SpecCNN."
    )
    out_dim: int = option(128, "Numbers that frames and sound are compared by.")
    without: tuple[Literal["moments", "state-change", "correspondence"], ...] = option(
        (),
        "Leave out: moments (times are drawn at random), or one of the two objectives; the other one then has weight"
        " 1. Repeatable.",
    )
    correspondence_weight: float = option(0.5, "Of telling whose sound it is.")
    state_change_weight: float = option(0.5, "Of telling a change from the reversed one by its sound.")
    temperature: float = option(0.07, "Divides the cosines of correspondence.")
    gather_grad: bool = option(
        False,
        "Let gradients of correspondence flow into its targets, too: frames learn from being sought by sounds, not only"
        " from seeking. In the published code, on several GPUs, they do not.",
    )
    batch_size: int = option(32, "Clips a batch, of each process; the others of all processes are negatives.")
    epochs: int = option(100, "Passes over the clips.")
    steps: int | None = option(None, "Instead of --epochs: steps in all.")
    optimizer: Literal["sgd", "adam", "adamw"] = option("sgd", "Optimizer.")
    learning_rate: float = option(0.005, "Of the heads: the highest of the schedule.")
    backbone_lr_mult: float = option(1.0, "Factor of the rate, for both networks below the heads.")
    momentum: float = option(0.9, "Of SGD; --schedule onecycle has its own, 0.95 to 0.85 and back.")
    weight_decay: float = option(1e-4, "Of all parameters.")
    schedule: Literal["onecycle", "cosine", "step"] = option(
        "onecycle", "Of the rate: up in 30 % of the training and down to 0, down only, or to a tenth at --milestones."
    )
    milestones: tuple[int, ...] = option((60, 80), "Epochs at which --schedule step lets the rate become a tenth.")
    rate_every: Literal["epoch", "step"] = option(
        "epoch",
        "When the rate changes: each epoch as published, where onecycle is one epoch ahead and the last epoch past its"
        " end; or each step.",
    )
    torch_order: bool = option(False, "Draw the order of clips as the published sampler does, whatever --seed is.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "reference": PUBLISHED,
        "ego4d": {**PUBLISHED, **EGO4D},
        "small": SMALL,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "out_dim", "correspondence_weight", "state_change_weight", "temperature")
        check_positive(self, "epochs", "steps", "learning_rate", "backbone_lr_mult")
        for name in ("momentum", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be 0 or above, not {getattr(self, name)}")
        if self.batch_size < 2:
            raise ValueError(f"--batch-size must be 2 or more, as sounds are told apart, not {self.batch_size}")
        if min(self.milestones, default=1) < 1 or list(self.milestones) != sorted({*self.milestones}):
            raise ValueError(f"--milestones must be ascending epochs, not {','.join(map(str, self.milestones))}")
        if {*OBJECTIVES} <= {*self.without}:
            raise ValueError("--without state-change and --without correspondence leave nothing to learn")
        is_random = self.moi == "random" or "moments" in self.without  # two ways of saying the same
        object.__setattr__(self, "moi", "random" if is_random else "audio")
        without = {*self.without, *(["moments"] if is_random else [])}
        object.__setattr__(self, "without", tuple(sorted(without)))

    @property
    def depth(self) -> Depth:
        """Of the network of frames."""
        depths: dict[str, Depth] = {"r2plus1d10": 10, "r2plus1d18": 18, "r2plus1d34": 34}
        return depths[self.net]

    @property
    def weights(self) -> tuple[float, float]:
        """Of correspondence and of the state change; 0 for what is left out."""
        if "correspondence" in self.without:
            return 0.0, 1.0
        return (1.0, 0.0) if "state-change" in self.without else (self.correspondence_weight, self.state_change_weight)
