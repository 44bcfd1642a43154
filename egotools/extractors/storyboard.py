"""Memory Storyboard's networks as extractors: a row a frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torch import nn

from egotools.config import check_positive, option
from egotools.errors import WeightsError
from egotools.extractors.image import check_sampling
from egotools.nn.storyboard import Depth, ResNet
from egotools.pixels.preprocessing import Normalize, Preprocessing, central, squeezed
from egotools.sampling import single_frames
from egotools.training.seeding import seeded
from egotools.types import Clip, Frame, FrameWindows, VideoInfo
from egotools.weights.storyboard import check_backbone, load_storyboard, read_storyboard
from egotools.weights.tensors import random_seed, weights_digest, weights_file

DEPTHS: dict[str, Depth] = {"18": 18, "50": 50}


@dataclass(frozen=True)
class StoryboardModel:
    """Frame features of a network of Memory Storyboard, before its heads: a row a frame, 512-d or 2048-d.

    \b
    egotools extract --manifest m.csv --out caches/a storyboard --weights step_284278.pth --fps 2
    """

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1

    weights: str = option("DEFAULT", "File (step_*.pth, .safetensors, ...), run:<dir>, or random:<seed>.")
    depth: Literal["18", "50"] | None = option(None, "Layers of the network; by default as of the weights, or 50.")
    norm: Literal["group", "batch"] | None = option(None, "Its norm layers; by default as of the weights, or group.")
    activation: Literal["mish", "relu"] | None = option(
        None, "By default that of the published networks: mish with group norm, relu with batch norm."
    )
    crop_size: int = option(112, "Side of what the network sees, in pixels.")
    view: Literal["evaluation", "cluster"] = option(
        "evaluation", "The central square of the frame; or all of it, squeezed into a square, as segments are found."
    )
    vertical_flip: bool = option(False, "With --view cluster: turn frames upside down, as in SAYCam's training.")
    fps: float = option(1.0, "Rows per second; the frame shown at the middle of each interval.")
    frames: int | None = option(None, "Instead of --fps: number of rows per clip, evenly spaced.")
    stride: int | None = option(None, "Instead of --fps: every n-th frame of the file.")

    def __post_init__(self) -> None:
        check_positive(self, "crop_size")
        check_sampling(self.fps, self.frames, self.stride)

    @property
    def preprocessing(self) -> Preprocessing:
        """How frames become squares."""
        return (squeezed if self.view == "cluster" else central)(self.crop_size)

    @property
    def window_length(self) -> int:
        """Frames per window."""
        return 1

    def weights_digest(self) -> str:
        """The digest of the weights' file, or `random:<seed>`."""
        return weights_digest(self.weights, _fetch)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One frame a row."""
        return single_frames(video, clip, fps=self.fps, frames=self.frames, stride=self.stride)

    def prepare(self, frame: Frame) -> Frame:
        """A square of the frame, uint8 [crop_size, crop_size, 3]."""
        square = self.preprocessing(frame)
        return square[::-1].copy() if self.vertical_flip and self.view == "cluster" else square

    def network(self) -> nn.Module:
        """uint8 [B, 1, crop_size, crop_size, 3] to float32 [B, D].

        Raises:
            WeightsError: the weights are not there, or of another backbone.
        """
        own = self.preprocessing
        return nn.Sequential(Normalize(own.mean, own.std), nn.Flatten(0, 1), self._backbone()).eval()

    def _backbone(self) -> ResNet:
        depth = None if self.depth is None else DEPTHS[self.depth]
        seed = random_seed(self.weights)
        published = read_storyboard(weights_file(self.weights, _fetch)) if seed is None else None
        if published is not None:
            check_backbone(published, depth, self.norm)
            depth, norm = published.depth, published.norm
        else:
            depth, norm = depth or 50, self.norm or "group"
        with seeded(seed or 0):  # the numbers that a training of that seed begins with
            network = ResNet(depth, norm=norm, activation=self.activation)
        if published is not None:
            load_storyboard(network, published)
        return network


def _fetch(weights: str) -> Path:
    raise WeightsError(
        f"storyboard has no weights {weights!r}: none were published; give --weights FILE, run:<dir>, or random:<seed>"
    )
