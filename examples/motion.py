"""How much moves from one frame to the next: an extractor of one's own, which docs/add-an-extractor.md walks through.

egotools extract --manifest m.csv --out caches/mine examples/motion.py:Motion --grid 4
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from egotools.config import option
from egotools.sampling import frame_stacks
from egotools.types import Clip, Frame, FrameWindows, VideoInfo

SIDE = 64  # pixels of a prepared frame


@dataclass(frozen=True)
class Motion:
    """Mean absolute difference of neighboring frames in each cell of a grid: grid * grid numbers per window."""

    place: ClassVar[str] = "worker"  # network() is NumPy and runs where frames are read
    version: ClassVar[int] = 1  # raise it when the numbers change

    length: int = option(8, "Frames of a window.")
    fps: float = option(8.0, "Rate at which the frames of a window are taken.")
    grid: int = option(4, "Cells along each side.")

    def __post_init__(self) -> None:
        if self.length < 2 or not self.fps > 0:
            raise ValueError("--length must be 2 or more and --fps above 0")
        if not 1 <= self.grid <= SIDE or SIDE % self.grid:
            raise ValueError(f"--grid must divide {SIDE}, not be {self.grid}")

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """Windows of `length` frames that follow each other without a gap."""
        return frame_stacks(video, clip, length=self.length, fps=self.fps, hop=None, clips=None)

    def prepare(self, frame: Frame) -> Frame:
        """Grey and small, uint8 [64, 64]: once a frame, however many windows show it."""
        return np.asarray(Image.fromarray(frame).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))

    def network(self) -> Callable[[np.ndarray], np.ndarray]:
        """Prepared windows uint8 [B, L, 64, 64] to float32 [B, grid * grid], in [0, 1]."""
        cell = SIDE // self.grid

        def motion(windows: np.ndarray) -> np.ndarray:
            change = np.abs(np.diff(windows.astype(np.float32) / 255, axis=1)).mean(axis=1)  # [B, 64, 64]
            cells = change.reshape(len(change), self.grid, cell, self.grid, cell)
            return cells.mean(axis=(2, 4)).reshape(len(change), -1)

        return motion
