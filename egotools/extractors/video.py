"""Published video networks: one row a stack of frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from torch import Tensor, nn

from egotools.config import option
from egotools.extractors.image import check_sampling
from egotools.extractors.published import Published, published
from egotools.pixels import Normalize, Preprocessing, parse_size
from egotools.sampling import frame_stacks
from egotools.types import Clip, Frame, FrameWindows, VideoInfo


@dataclass(frozen=True)
class VideoModel:
    """What a video network says of a stack of frames, before its classifier: one row a window.

    \b
    egotools extract --manifest m.csv --out caches/a torchvision:r2plus1d_18 --frames 16 --fps 15
    """

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1

    model: str  # fixed by the extractor's name
    weights: str = option("DEFAULT", "Published name, file (.safetensors, .npz, .pth), or random:<seed>.")
    frames: int | None = option(None, "Frames of a window; by default what the weights were judged with.")
    fps: float | None = option(None, "Rate of a window's frames, Hz; by default what the weights were judged with.")
    hop: float | None = option(None, "Seconds from one window to the next; by default they follow without a gap.")
    clips: int | None = option(None, "Instead: so many windows a clip, evenly spaced.")
    resize: str | None = option(None, "Instead of the weights' own: short side, or HxW (then nothing is cropped).")
    crop: str | None = option(None, "Instead of the weights' own: side of the centre crop, or HxW.")

    def __post_init__(self) -> None:
        check_sampling(self.fps, self.frames, None)
        if self.hop is not None and self.clips is not None:
            raise ValueError("give one of --hop and --clips")
        for name, value in (("hop", self.hop), ("clips", self.clips)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"--{name} must be above 0, not {value}")
        for size in (self.resize, self.crop):
            if size is not None:
                parse_size(size)

    @property
    def published(self) -> Published:
        """The network that the name means."""
        return published(self.model)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How a frame is prepared: the weights' own way, with the sizes overridden."""
        return self.published.preprocessing(self.weights).override(self.resize, self.crop)

    @cached_property
    def window(self) -> tuple[int, float | None]:
        """Frames of a window and their rate in Hz."""
        return self.frames or self.published.frames, self.fps or self.published.fps

    def __getstate__(self) -> dict[str, object]:
        """With the cached values, so that reading workers need not import the library that knows them."""
        _ = (self.preprocessing, self.window)
        return self.__dict__

    def weights_digest(self) -> str:
        """What stands for the weights in a recipe."""
        return self.published.digest(self.weights)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """A stack of frames a row."""
        length, fps = self.window
        return frame_stacks(video, clip, length=length, fps=fps, hop=self.hop, clips=self.clips)

    def prepare(self, frame: Frame) -> Frame:
        """Resized and cropped, uint8 [h, w, 3]."""
        return self.preprocessing(frame)

    def network(self) -> nn.Module:
        """uint8 [B, L, h, w, 3] to float [B, D]."""
        return _VideoNetwork(self.preprocessing, self.published.features(self.weights))


class _VideoNetwork(nn.Module):
    def __init__(self, preprocessing: Preprocessing, features: nn.Module) -> None:
        super().__init__()
        self.normalize = Normalize(preprocessing.mean, preprocessing.std)
        self.features = features

    def forward(self, windows: Tensor) -> Tensor:
        stacks = self.normalize(windows).transpose(1, 2)  # [B, 3, L, h, w], channels last in memory
        return self.features(stacks).flatten(1)  # type: ignore[no-any-return]
