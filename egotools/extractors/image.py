"""Published image networks as extractors: one row per frame."""

from dataclasses import dataclass

from egotools.config import option
from egotools.extractors.published_model import PublishedModel
from egotools.sampling import check_positive, single_frames
from egotools.types import Clip, FrameWindows, VideoInfo


@dataclass(frozen=True)
class OneFrameARow:
    """Which frames have a row: what extractors of single frames share."""

    fps: float = option(1.0, "Rows per second; the frame shown at the middle of each interval.")
    frames: int | None = option(None, "Instead of --fps: number of rows per clip, evenly spaced.")
    stride: int | None = option(None, "Instead of --fps: every n-th frame of the file.")

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One frame per row."""
        return single_frames(video, clip, fps=self.fps, frames=self.frames, stride=self.stride)


@dataclass(frozen=True)
class ImageModel(OneFrameARow, PublishedModel):
    """Features of a published image network, before its classifier: one row per frame.

    \b
    egotools extract --manifest m.csv --out caches/a torchvision:resnet50 --fps 2
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sampling(self.fps, self.frames, self.stride)


def check_sampling(fps: float | None, frames: int | None, stride: int | None) -> None:
    """Refuses meaningless rates and counts.

    Raises:
        ValueError: the message names the option.
    """
    if frames is not None and stride is not None:
        raise ValueError("give one of --frames and --stride")
    check_positive(fps=fps, frames=frames, stride=stride)
