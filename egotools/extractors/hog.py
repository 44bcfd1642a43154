"""Histograms of oriented gradients of frames, as in the memorability system M3-S."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from egotools.config import option
from egotools.extractors.image import check_sampling
from egotools.lowlevel.hog import hog
from egotools.sampling import evenly, single_frames, spread_frames
from egotools.types import Clip, Frame, FrameWindows, VideoInfo

Array = np.ndarray[Any, Any]

SIDE = 256  # pixels


@dataclass(frozen=True)
class HOG:
    """Histograms of oriented gradients of a frame, squashed to 256x256: one row of 34,596 numbers per frame.

    With --frames N the rows are those of N frames spread over the clip, including the first and last; with --frames 1
    the first frame, on which M3-S fits its PCA.

    \b
    egotools extract --manifest m.csv --out caches/fit hog --frames 1
    """

    place: ClassVar[Literal["device", "worker"]] = "worker"
    version: ClassVar[int] = 1

    fps: float = option(1.0, "Rows per second; the frame shown at the middle of each interval.")
    frames: int | None = option(None, "Instead of --fps: number of rows per clip, from its first frame to its last.")
    stride: int | None = option(None, "Instead of --fps: every n-th frame of the file.")

    def __post_init__(self) -> None:
        check_sampling(self.fps, self.frames, self.stride)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One frame per row."""
        if self.frames is None:
            return single_frames(video, clip, fps=self.fps, frames=None, stride=self.stride)
        spread = spread_frames(video, clip, count=self.frames)
        start, end = spread.times[0]
        return FrameWindows(spread.frames.T, evenly(start, end, self.frames))

    def prepare(self, frame: Frame) -> Frame:
        """uint8 [256, 256, 3]."""
        return squashed(frame)

    def network(self) -> Callable[[Array], Array]:
        """Prepared frames [B, 1, 256, 256, 3] to float32 [B, 34596]."""
        return lambda windows: hog(windows[:, 0])


def squashed(frame: Frame) -> Frame:
    """A frame as [256, 256, 3], whatever its shape, by Pillow's bicubic filter, as in the reference."""
    if frame.shape == (SIDE, SIDE, 3):
        return frame
    return np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
