"""Small pictures as features: what a network has to beat."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from egotools.config import option
from egotools.extractors.image import check_sampling
from egotools.sampling import single_frames
from egotools.types import Clip, Frame, FrameWindows, VideoInfo

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Pixels:
    """The frame itself, squashed to SIZE x SIZE: one row of 3 * SIZE * SIZE numbers from 0 to 1, or SIZE * SIZE gray.

    Rows of the picture from top to bottom, in them pixels from left to right, in them red, green, blue.

    \b
    egotools extract --manifest m.csv --out caches/a pixels --size 16 --fps 10
    """

    place: ClassVar[Literal["device", "worker"]] = "worker"
    version: ClassVar[int] = 1

    fps: float = option(1.0, "Rows per second; the frame shown at the middle of each interval.")
    frames: int | None = option(None, "Instead of --fps: number of rows per clip, evenly spaced.")
    stride: int | None = option(None, "Instead of --fps: every n-th frame of the file.")
    size: int = option(16, "Pixels of each side.")
    gray: bool = option(False, "One number a pixel, the luminance (BT.601).")

    def __post_init__(self) -> None:
        check_sampling(self.fps, self.frames, self.stride)
        if not 1 <= self.size <= 256:
            raise ValueError(f"--size must be from 1 to 256, not {self.size}")

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One frame per row."""
        return single_frames(video, clip, fps=self.fps, frames=self.frames, stride=self.stride)

    def prepare(self, frame: Frame) -> Frame:
        """uint8 [SIZE, SIZE, 3], or [SIZE, SIZE] if gray; by Pillow's bilinear filter, which averages."""
        picture = Image.fromarray(frame).convert("L") if self.gray else Image.fromarray(frame)
        return np.asarray(picture.resize((self.size, self.size), Image.Resampling.BILINEAR))

    def network(self) -> Callable[[Array], Array]:
        """Prepared frames [B, 1, SIZE, SIZE, ...] to float32 [B, D]."""
        return lambda windows: windows.reshape(len(windows), -1).astype(np.float32) / 255
