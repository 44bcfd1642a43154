"""Published video networks as extractors: one row per window of frames."""

from dataclasses import dataclass
from functools import cached_property

from egotools.config import option
from egotools.extractors.published_model import PublishedModel
from egotools.sampling import check_positive, frame_stacks, spread_middles
from egotools.types import Clip, FrameWindows, VideoInfo


@dataclass(frozen=True)
class VideoModel(PublishedModel):
    """Features of a published video network, before its classifier: one row per window of frames.

    \b
    egotools extract --manifest m.csv --out caches/a torchvision:r2plus1d_18 --frames 16 --fps 15
    """

    frames: int | None = option(None, "Frames per window; by default as the weights were evaluated.")
    fps: float | None = option(None, "Rate of a window's frames, Hz; by default as the weights were evaluated.")
    hop: float | None = option(None, "Seconds from one window to the next; by default they follow without a gap.")
    clips: int | None = option(None, "Instead of --hop: number of windows per clip, evenly spaced.")
    spread: bool = option(
        False, "One row per clip instead: its frames are the middles of as many equal parts of it.", absent=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(fps=self.fps, frames=self.frames)
        if self.hop is not None and self.clips is not None:
            raise ValueError("give one of --hop and --clips")
        check_positive(hop=self.hop, clips=self.clips)
        if self.spread and (self.fps, self.hop, self.clips) != (None, None, None):
            raise ValueError("--spread takes one row per clip; leave out --fps, --hop and --clips")

    @cached_property
    def window(self) -> tuple[int, float | None]:
        """Frames per window, and their rate in Hz."""
        return self.frames or self.published.frames, self.fps or self.published.fps

    @property
    def window_length(self) -> int:
        """Frames per window."""
        return self.window[0]

    def __getstate__(self) -> dict[str, object]:
        """Includes the window, which only the library knows."""
        _ = self.window
        return super().__getstate__()

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One window of frames per row; with `spread`, one per clip."""
        length, fps = self.window
        if self.spread:
            return spread_middles(video, clip, count=length)
        return frame_stacks(video, clip, length=length, fps=fps, hop=self.hop, clips=self.clips)
