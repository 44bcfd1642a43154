"""Color statistics, an extractor without a network; docs/add-an-extractor.md shows how to write one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from egotools.config import option
from egotools.extractors.image import check_sampling
from egotools.sampling import single_frames
from egotools.types import Clip, Frame, FrameWindows, VideoInfo

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Color:
    """Mean, deviation and histogram of red, green and blue: one row of 3 * (2 + bins) numbers per frame.

    \b
    egotools extract --manifest m.csv --out caches/a color --fps 2 --bins 8
    """

    place: ClassVar[Literal["device", "worker"]] = "worker"
    version: ClassVar[int] = 1

    fps: float = option(1.0, "Rows per second; the frame shown at the middle of each interval.")
    frames: int | None = option(None, "Instead of --fps: number of rows per clip, evenly spaced.")
    stride: int | None = option(None, "Instead of --fps: every n-th frame of the file.")
    bins: int = option(8, "Bins of the histogram of each color.")

    def __post_init__(self) -> None:
        check_sampling(self.fps, self.frames, self.stride)
        if not 1 <= self.bins <= 256:
            raise ValueError(f"--bins must be from 1 to 256, not {self.bins}")

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One frame per row."""
        return single_frames(video, clip, fps=self.fps, frames=self.frames, stride=self.stride)

    def prepare(self, frame: Frame) -> Frame:
        """The histogram of each color's 256 values, as the bytes of uint32 [3, 256]: all that is needed."""
        counts = [np.bincount(frame[..., channel].ravel(), minlength=256) for channel in range(3)]
        return np.stack(counts).astype(np.uint32).view(np.uint8)

    def network(self) -> Callable[[Array], Array]:
        """Prepared frames [B, 1, 3, 1024] to float32 [B, 3 * (2 + bins)], colors in [0, 1]."""

        def statistics(windows: Array) -> Array:
            counts = windows[:, 0].view(np.uint32).astype(np.float64)
            shares = counts / counts.sum(axis=2, keepdims=True)  # [B, 3, 256]
            values = np.arange(256) / 255
            mean = shares @ values
            deviation = np.sqrt(np.maximum(shares @ values**2 - mean**2, 0))
            edges = np.arange(self.bins) * 256 // self.bins
            histogram = np.add.reduceat(shares, edges, axis=2)
            rows = np.concatenate([mean[..., None], deviation[..., None], histogram], axis=2)
            return rows.reshape(len(rows), -1).astype(np.float32)

        return statistics
