"""Published image networks: one row a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from torch import Tensor, nn

from egotools.config import option
from egotools.extractors.published import Published, published
from egotools.pixels import Normalize, Preprocessing, parse_size
from egotools.sampling import single_frames
from egotools.types import Clip, Frame, FrameWindows, VideoInfo


@dataclass(frozen=True)
class ImageModel:
    """What an image network says of a frame, before its classifier: one row a frame.

    \b
    egotools extract --manifest m.csv --out caches/a torchvision:resnet50 --fps 2
    """

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1

    model: str  # fixed by the extractor's name
    weights: str = option("DEFAULT", "Published name, file (.safetensors, .npz, .pth), or random:<seed>.")
    fps: float = option(1.0, "Rows a second; the frame shown at the middle of each interval.")
    frames: int | None = option(None, "Instead: so many rows a clip, evenly spaced.")
    stride: int | None = option(None, "Instead: every n-th frame of the file.")
    resize: str | None = option(None, "Instead of the weights' own: short side, or HxW (then nothing is cropped).")
    crop: str | None = option(None, "Instead of the weights' own: side of the centre crop, or HxW.")

    def __post_init__(self) -> None:
        check_sampling(self.fps, self.frames, self.stride)
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

    def __getstate__(self) -> dict[str, object]:
        """With the cached values, so that reading workers need not import the library that knows them."""
        _ = self.preprocessing
        return self.__dict__

    def weights_digest(self) -> str:
        """What stands for the weights in a recipe."""
        return self.published.digest(self.weights)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One frame a row."""
        return single_frames(video, clip, fps=self.fps, frames=self.frames, stride=self.stride)

    def prepare(self, frame: Frame) -> Frame:
        """Resized and cropped, uint8 [h, w, 3]."""
        return self.preprocessing(frame)

    def network(self) -> nn.Module:
        """uint8 [B, 1, h, w, 3] to float [B, D]."""
        return _ImageNetwork(self.preprocessing, self.published.features(self.weights))


class _ImageNetwork(nn.Module):
    def __init__(self, preprocessing: Preprocessing, features: nn.Module) -> None:
        super().__init__()
        self.normalize = Normalize(preprocessing.mean, preprocessing.std)
        self.features = features

    def forward(self, windows: Tensor) -> Tensor:
        return self.features(self.normalize(windows[:, 0])).flatten(1)  # type: ignore[no-any-return]


def check_sampling(fps: float | None, frames: int | None, stride: int | None) -> None:
    """Refuses rates and counts that mean nothing.

    Raises:
        ValueError: names the option.
    """
    if frames is not None and stride is not None:
        raise ValueError("give one of --frames and --stride")
    for name, value in (("fps", fps), ("frames", frames), ("stride", stride)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"--{name} must be above 0, not {value}")
