"""The options of Memory Storyboard. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from egotools.config import check_positive, option
from egotools.methods.storyboard.views import Viewing

SIMSIAM = ("simsiam", "simsiam-tc")  # methods whose optimizer is SGD; that of the others is Adam
WITH_LABELS = ("simsiam", "simclr", "simsiam-tc", "simclr-tc", "tc", "barlow-twins")  # methods with a temporal term
# The paper's best row of each data set: SimSiam, both memories, segments, and merging.
PAPER = {
    "method": "simsiam",
    "memory": "two-tier",
    "replay_batch_size": 448,
    "short_buffer_size": 5000,
    "long_buffer_size": 45000,
    "norm": "group",
    "merge_threshold": 0.002,
}
SAYCAM = {**PAPER, "fps": 25.0, "class_length": 4500, "subsample": 8, "vertical_flip": True, "height": 320}
SAYCAM |= {"merge_from": 500}
KRISHNACAM = {**PAPER, "fps": 10.0, "class_length": 1800, "subsample": 4, "merge_from": 0}
SCRIPT = {
    "replay_batch_size": 192,
    "short_buffer_size": 1000,
    "long_buffer_size": 10000,
    "subsample": 1,
    "norm": "batch",
    "learning_rate": 0.001,
    "osiris": "storyboard",
    "frames_per_step": "batch",
    "merge_freezes_norm": True,
    "merge_threshold": 0.001,
}


@dataclass(frozen=True)
class StoryboardOptions:
    """One long stream, seen once: what is remembered of it, and what is learned."""

    method: Literal["simsiam", "simclr", "simsiam-tc", "simclr-tc", "tc", "osiris", "barlow-twins"] | None = option(
        None,
        "What is learned: two views of a frame alike (simsiam, simclr, osiris, barlow-twins); -tc and tc: classes.",
    )
    memory: Literal["two-tier", "fifo", "reservoir", "minred", "balanced", "none", "iid"] = option(
        "two-tier",
        "Frames that batches are drawn from: the latest and a sample of all (two-tier), one of both (fifo, reservoir),"
        " the least alike (minred), as many of each class (balanced), only the next (none), or all frames (iid).",
    )
    fps: float | None = option(None, "Frames a second of the stream; by default each video's own.")
    height: int = option(256, "Frames that are higher are reduced to so many pixels.")
    step_batch_size: int = option(64, "Frames that the stream goes on by in a step.")
    curr_batch_size: int = option(64, "Of a batch, frames of the short-term memory.")
    replay_batch_size: int = option(
        448, "Of a batch, frames of the long-term memory. Other memories give batches of both sizes together."
    )
    short_buffer_size: int = option(5000, "Frames of the short-term memory.")
    long_buffer_size: int = option(45000, "Frames of the long-term memory, or of the only one.")
    subsample: int = option(4, "Every n-th frame goes into the short-term memory.")
    frames_per_step: Literal["step", "batch"] = option(
        "step", "With minred and balanced, how far the stream goes on in a step; batch: as far as published."
    )
    class_length: int | None = option(
        None, "Frames of a class before segments are found, also about how long segments are. 0: each clip is a class."
    )
    segment: bool = option(True, "Let segments of the short-term memory be the classes; else stretches of one length.")
    segment_from: int = option(0, "Segment from this class on; before it, classes are stretches of one length.")
    merge_from: int | Literal["never"] = option("never", "Merge classes that look alike from this class on.")
    merge_threshold: float = option(0.001, "Share of the pairs of classes that are alike enough to be merged.")
    merge_freezes_norm: bool = option(False, "Leave batch norm in eval mode after merging, as the published code does.")
    depth: Literal["18", "50"] = option("50", "Layers of the residual network.")
    norm: Literal["group", "batch"] = option("group", "Normalization layers of the backbone.")
    activation: Literal["mish", "relu"] | None = option(
        None, "By default that of the published network: mish with group norm, relu with batch norm."
    )
    crop_size: int = option(112, "Side of what the network sees, in pixels.")
    scale_min: float = option(0.08, "Smallest share of a frame's area that a view shows.")
    scale_max: float = option(1.0, "Largest share.")
    ensure_overlap: bool = option(False, "Draw the second view until it overlaps with the first one.")
    flip: float = option(0.5, "How often a view is mirrored; 0 keeps left and right apart.")
    vertical_flip: bool = option(False, "Turn frames upside down in training, as SAYCam's are; never in evaluation.")
    learning_rate: float | None = option(
        None, "Constant. By default that of the paper: 0.05 (SGD of simsiam) or 0.001 (Adam of the others).", alias="lr"
    )
    curr_loss_coef: float = option(1.0, "Weight of the loss of two views.")
    tc_loss_coef: float = option(1.0, "Weight of the temporal loss of the long-term memory's frames.")
    tc_curr_coef: float = option(0.0, "Weight of that of the short-term memory's.")
    osiris: Literal["published", "storyboard"] = option(
        "published",
        "Osiris with a predictor and the loss of current frames, or as the code of Memory Storyboard has it.",
    )
    num_grads: int = option(1, "Gradient steps with each batch.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "saycam": SAYCAM,
        "krishnacam": KRISHNACAM,
        "script": SCRIPT,
        "small": {
            "method": "simclr",
            "depth": "18",
            "crop_size": 64,
            "height": 128,
            "step_batch_size": 16,
            "curr_batch_size": 16,
            "replay_batch_size": 48,
            "short_buffer_size": 250,
            "long_buffer_size": 1500,
        },
    }

    def __post_init__(self) -> None:
        if self.method is None:
            raise ValueError("--method is needed: simsiam, simclr, ..., or a --preset that has one")
        check_positive(self, "fps", "height", "step_batch_size", "curr_batch_size", "replay_batch_size", "subsample")
        check_positive(self, "short_buffer_size", "long_buffer_size", "crop_size", "learning_rate", "num_grads")
        for name in ("class_length", "segment_from", "curr_loss_coef", "tc_loss_coef", "tc_curr_coef"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{_flag(name)} must be 0 or above, not {value}")
        if self.merge_from != "never" and self.merge_from < 0:
            raise ValueError(f"--merge-from must be 0 or above, or never, not {self.merge_from}")
        _ = self.viewing  # checks its own
        if not 0 <= self.merge_threshold < 0.5:
            raise ValueError(f"--merge-threshold must be from 0 up to 0.5, not {self.merge_threshold}")
        self._check_labels()

    def _check_labels(self) -> None:
        if self.has_labels and self.memory != "iid" and self.class_length is None:
            raise ValueError(
                "--class-length is needed, in frames: the temporal loss learns classes of about that length"
                " (0: each clip is a class; --tc-loss-coef 0: no temporal loss)"
            )
        if self.tc_curr_coef > 0 and self.memory != "two-tier":
            raise ValueError("--tc-curr-coef is of the short-term memory's frames: it needs --memory two-tier")
        if self.method == "osiris" and self.memory != "two-tier":
            raise ValueError("--method osiris compares the two memories' frames: it needs --memory two-tier")
        if self.memory == "none" and self.method == "tc":
            raise ValueError("--method tc needs a memory: with --memory none there is no temporal loss")

    @property
    def has_labels(self) -> bool:
        """Whether there is a temporal term, which learns classes."""
        return self.method in WITH_LABELS and self.memory != "none" and (self.tc_loss_coef > 0 or self.tc_curr_coef > 0)

    @property
    def segments(self) -> bool:
        """Whether segments are found while training."""
        return self.memory == "two-tier" and self.segment and self.has_labels and bool(self.class_length)

    @property
    def merges(self) -> bool:
        """Whether classes are merged; a preset's `merge_from` is idle in a comparison without segments."""
        return self.segments and self.merge_from != "never"

    @property
    def viewing(self) -> Viewing:
        """How frames become views."""
        names = ("crop_size", "scale_min", "scale_max", "ensure_overlap", "flip", "vertical_flip")
        return Viewing(**{name: getattr(self, name) for name in names})

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.learning_rate or (0.05 if self.method in SIMSIAM else 0.001)

    @property
    def batch_size(self) -> int:
        """Frames of a batch, of all memories."""
        return self.curr_batch_size + self.replay_batch_size

    @property
    def current(self) -> int:
        """Of these, how many are of the short-term memory beside a long-term one."""
        return self.curr_batch_size if self.memory == "two-tier" else 0


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
