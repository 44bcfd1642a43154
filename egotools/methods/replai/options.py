"""The options of RepLAI. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from egotools.config import check_positive, option

# What the presets set of `Sampling`: the published code's ways, and what a laptop can train.
PUBLISHED_SAMPLING = {"swap_sides": True, "frame_windows": "published", "sound_windows": "published"}
SMALL_SAMPLING = {"size": 48, "min_size": 55, "max_size": 77}


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
        "Frames from the start of a window up to its end; published: those of its length rounded down, from a random"
        " one of them on.",
    )
    sound_windows: Literal["exact", "published"] = option(
        "exact", "Sound of exactly --audio-duration; published: from up to 46 ms later on, and shorter."
    )

    def __post_init__(self) -> None:
        check_positive(self, "size", "frames", "video_duration", "audio_duration", "min_size")
        for name in ("delta", "prominence"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name} must be 0 or above, not {getattr(self, name)}")
        if not self.size <= self.min_size:
            raise ValueError(f"--size {self.size} must be at most --min-size {self.min_size}: it is cut out of that")
        if not self.min_size <= self.max_size:
            raise ValueError(f"--min-size {self.min_size} must be at most --max-size {self.max_size}")

    @property
    def margin(self) -> float:
        """Seconds that a moment keeps from both ends of its clip."""
        return self.delta + self.video_duration
