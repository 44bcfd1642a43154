"""Frame and clip encoders of Transformers as extractors: prepared as published, a row a frame or a window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from egotools.config import option, plain
from egotools.errors import ExtractorError
from egotools.extractors.hf.encoder_options import EncoderOptions
from egotools.extractors.hf.models import Encoder, try_out
from egotools.extractors.hf.processors import agreement, preprocessing_of, resized_by
from egotools.extractors.image import check_sampling
from egotools.pixels.preprocessing import Normalize, Preprocessing, parse_size
from egotools.sampling import check_positive, frame_stacks, single_frames
from egotools.types import Clip, Frame, FrameWindows, VideoInfo


@dataclass(frozen=True)
class VisionModel(EncoderOptions):
    """A vision encoder with its processor: what frame and clip encoders share."""

    resize: str | None = option(None, "Overrides the processor's own: short side, or HxW (then nothing is cropped).")
    crop: str | None = option(None, "Overrides the processor's own: side of the center crop, or HxW.")
    exact: bool = option(False, "Frames are resized by the model's own processor, which is slower.")

    def __post_init__(self) -> None:
        for size in (self.resize, self.crop):
            if size is not None:
                parse_size(size)
        if self.exact and (self.resize or self.crop):
            raise ValueError("--exact is as published; leave out --resize and --crop")
        super().__post_init__()

    @property
    def window_length(self) -> int:
        """Frames per window."""
        return 1

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How frames are prepared: as by the processor, with the sizes overridden."""
        try:
            return preprocessing_of(self.read_processor()).override(self.resize, self.crop)
        except ExtractorError as error:
            raise ExtractorError(f"{self.model}: {error}") from error

    @cached_property
    def own_size(self) -> tuple[int, int]:
        """Height and width that the processor makes."""
        return preprocessing_of(self.read_processor()).size

    def __getstate__(self) -> dict[str, object]:
        """Includes the cached values, so that reading workers need not import the library."""
        _ = self.preprocessing
        return self.__dict__

    def facts(self) -> dict[str, object]:
        """What else belongs to the identity of a recipe: the config, how frames are prepared, the grid of patches."""
        found = {"config": self.checkpoint.config_digest(), "preprocessing": plain(self.preprocessing)}
        return {**found, "grid": self.grid()} if self.pool == "none" else found

    def grid(self) -> list[int]:
        """The patches of a row's window: (times,) rows, columns; rows of a cache are in this order."""
        config = self.checkpoint.settings
        patch, tubelet = config.get("patch_size"), int(config.get("tubelet_size") or 1)
        if patch is None:
            return []
        if isinstance(patch, list):
            *depth, patch = patch
            tubelet = int(depth[0]) if len(depth) == 2 else tubelet
        height, width = (side // int(patch) for side in self.preprocessing.size)
        times = [self.window_length // tubelet] if self.checkpoint.family.kind == "clip" else []
        return [*times, height, width]

    def notes(self) -> list[str]:
        """Where rows differ from the processor run by hand."""
        if self.exact or self.resize or self.crop:
            return []
        found = agreement(self.read_processor(), self.preprocessing)
        if found.is_equal:
            return []
        return [
            f"frames are resized by egotools, not as its processor does (cosine of the pixels {found.worst:.4f}); "
            "--exact runs the processor itself"
        ]

    def prepare(self, frame: Frame) -> Frame:
        """Resized and cropped, uint8 [h, w, 3]."""
        return resized_by(self._kept_processor(), frame) if self.exact else self.preprocessing(frame)

    def _kept_processor(self) -> Any:
        if "_kept" not in self.__dict__:
            self.__dict__["_kept"] = self.read_processor()
        return self.__dict__["_kept"]

    def network(self) -> nn.Module:
        """uint8 [B, L, h, w, 3] to float [B, D], or [B, N, D] with `--pool none`.

        Raises:
            WeightsError: the weights are missing or damaged.
            ExtractorError: the model does not accept such frames, or has no such layer.
        """
        encoder = self.encoder(resized=self.preprocessing.size != self.own_size)
        network = _Network(self.preprocessing, encoder, self.checkpoint.family.kind == "frame").eval()
        height, width = self.preprocessing.size
        try_out(
            network, torch.zeros(1, self.window_length, height, width, 3, dtype=torch.uint8), self.model, self.layer,
            refused=f"windows of {self.window_length} x {height}x{width}",
            instead="choose others, or leave --resize, --crop and --frames out",
        )  # fmt: skip
        return network


class _Network(nn.Module):
    def __init__(self, preprocessing: Preprocessing, encoder: Encoder, is_frame: bool) -> None:
        super().__init__()
        self.normalize = Normalize(preprocessing.mean, preprocessing.std)
        self.encoder, self.is_frame = encoder, is_frame

    def traced_apart(self) -> list[nn.Module]:
        """None: these models cannot be traced."""
        return []

    def forward(self, windows: Tensor) -> Tensor:
        x: Tensor = self.normalize(windows)  # [B, L, 3, h, w]
        return self.encoder(x[:, 0] if self.is_frame else x)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class FrameModel(VisionModel):
    """Features of a frame encoder in the format of Transformers: one row per frame.

    \b
    egotools extract --manifest m.csv --out caches/a hf:openai/clip-vit-base-patch32 --fps 2
    """

    fps: float = option(1.0, "Rows per second; the frame shown at the middle of each interval.")
    frames: int | None = option(None, "Instead of --fps: number of rows per clip, evenly spaced.")
    stride: int | None = option(None, "Instead of --fps: every n-th frame of the file.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sampling(self.fps, self.frames, self.stride)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One frame per row."""
        return single_frames(video, clip, fps=self.fps, frames=self.frames, stride=self.stride)


@dataclass(frozen=True)
class ClipModel(VisionModel):
    """Features of a clip encoder in the format of Transformers: one row per window of frames.

    \b
    egotools extract --manifest m.csv --out caches/a hf:MCG-NJU/videomae-base --fps 15 --hop 1
    """

    frames: int | None = option(None, "Frames per window; by default as the model was trained.")
    fps: float | None = option(None, "Rate of a window's frames, Hz; by default every --stride-th frame of the file.")
    stride: int | None = option(None, "Instead of --fps: every n-th frame of the file; by default as of the family.")
    hop: float | None = option(None, "Seconds from one window to the next; by default they follow without a gap.")
    clips: int | None = option(None, "Instead of --hop: number of windows per clip, evenly spaced.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(fps=self.fps, frames=self.frames, stride=self.stride, hop=self.hop, clips=self.clips)
        if self.hop is not None and self.clips is not None:
            raise ValueError("give one of --hop and --clips")
        if self.fps is not None and self.stride is not None:
            raise ValueError("give one of --fps and --stride")
        if self.frames is None:
            object.__setattr__(self, "frames", self.checkpoint.frames)
        if self.fps is None and self.stride is None:
            object.__setattr__(self, "fps", self.checkpoint.family.fps)
            object.__setattr__(self, "stride", self.checkpoint.family.stride)

    @property
    def window_length(self) -> int:
        """Frames per window."""
        assert self.frames is not None
        return self.frames

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One window of frames per row."""
        fps = self.fps if self.stride is None else video.fps / self.stride if self.stride > 1 else None
        return frame_stacks(video, clip, length=self.window_length, fps=fps, hop=self.hop, clips=self.clips)
