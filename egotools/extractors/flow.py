"""How much moves: the mean length of optical flow, an extractor without a network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from egotools.config import option
from egotools.extractors.hog import SIDE, squashed
from egotools.extractors.image import check_sampling
from egotools.extractors.optical_flow import check_opencv, mean_flow
from egotools.sampling import frames_inside, single_frames
from egotools.types import Clip, Frame, FrameWindows, VideoInfo

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Flow:
    """Mean length of the optical flow from a frame to the next one of the file: one number per row.

    In pixels of frames squashed to 256x256, averaged over them; the clip's last frame is compared with the one before,
    and a clip of one frame has 0. 'egotools frames --flow' writes the flow itself.

    \b
    egotools extract --manifest m.csv --out caches/a flow --fps 2
    """

    place: ClassVar[Literal["device", "worker"]] = "worker"
    version: ClassVar[int] = 1

    fps: float = option(1.0, "Rows per second; the frame shown at the middle of each interval.")
    frames: int | None = option(None, "Instead of --fps: number of rows per clip, evenly spaced.")
    stride: int | None = option(None, "Instead of --fps: every n-th frame of the file.")
    method: Literal["dis", "farneback", "tvl1"] = option(
        "dis", "Dense inverse search (preset medium), Farneback's method, or dual TV-L1 (slow)."
    )

    def __post_init__(self) -> None:
        check_sampling(self.fps, self.frames, self.stride)

    def weights_digest(self) -> None:
        """None, for it has no weights. Called before any clip is read.

        Raises:
            MissingExtra: OpenCV is not installed.
            ExtractorError: it lacks the method.
        """
        check_opencv("flow needs", self.method)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """Each row's frame and the next one of the clip."""
        rows = single_frames(video, clip, fps=self.fps, frames=self.frames, stride=self.stride)
        inside = frames_inside(video, clip.start, video.end if clip.end is None else clip.end)
        first = np.clip(rows.frames, inside[0], max(inside[-1] - 1, inside[0]))
        return FrameWindows(np.hstack([first, np.minimum(first + 1, inside[-1])]), rows.times)

    def prepare(self, frame: Frame) -> Frame:
        """uint8 [256, 256, 3]."""
        return squashed(frame)

    def network(self) -> Callable[[Array], Array]:
        """Prepared frames [B, 2, 256, 256, 3] to float32 [B, 1], pixels."""
        return lambda windows: np.array([[mean_flow(pair, self.method) / SIDE**2] for pair in windows], np.float32)
