"""Frame and clip encoders of Transformers as extractors: prepared as published, a row a frame or a window."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from egotools.config import digest, option, plain
from egotools.errors import ExtractorError
from egotools.extractors.hf.encoder_options import EncoderOptions
from egotools.extractors.hf.models import Encoder, map_size, refusing
from egotools.extractors.hf.processors import EQUAL, agreement, prepared_by, preprocessing_of
from egotools.extractors.image import OneFrameARow, check_sampling
from egotools.pixels.preprocessing import Normalize, Preprocessing, parse_size
from egotools.sampling import check_positive, frame_stacks
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
    def _processor(self) -> Any:  # Any: the library's own class
        return self.read_processor()

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How frames are prepared: as by the processor, with the sizes overridden."""
        return self._own.override(self.resize, self.crop)

    @cached_property
    def _own(self) -> Preprocessing:
        """As the processor prepares frames."""
        try:
            return preprocessing_of(self._processor, exact=self.exact)
        except ExtractorError as error:
            raise ExtractorError(f"{self.model}: {error}") from error

    def __getstate__(self) -> dict[str, object]:
        """Includes the cached values, so that reading workers need not import the library."""
        _ = self.preprocessing
        return {name: value for name, value in self.__dict__.items() if name != "_processor"}

    def facts(self) -> dict[str, object]:
        """What else belongs to the identity of a recipe: the config, how frames are prepared, the grid of patches."""
        prepared = digest(self._processor.to_dict()) if self.exact else plain(self.preprocessing)
        found = {"config": self.checkpoint.config_digest(), "preprocessing": prepared}
        return {**found, "grid": self.grid()} if self.pool == "none" else found

    def grid(self) -> list[int]:
        """The patches of a row's window: (times,) rows, columns; rows of a cache are in this order.

        Raises:
            ExtractorError: the model has no such layer, or does not take frames of this size.
        """
        found, size = self.checkpoint, self.preprocessing.size
        if found.family.maps:
            with self._refusing():
                return list(map_size(found, size, self.layer))
        sides = [side // found.patch for side in size]
        return [self.window_length // found.tubelet, *sides] if found.family.kind == "clip" else sides

    def notes(self) -> list[str]:
        """Which model it is, and where rows differ from the processor run by hand."""
        said = super().notes()
        if self.exact or self.resize or self.crop:
            return said
        # Ours need not be the processor's: libraries resize in slightly different ways.
        found = agreement(self._processor, self.preprocessing)
        if found > EQUAL:
            return said
        return [
            *said,
            f"frames are resized by egotools, not as its processor does (cosine of the pixels {found:.5f}); "
            "--exact runs the processor itself",
        ]

    def prepare(self, frame: Frame) -> Frame:
        """Resized and cropped, uint8 [h, w, 3]; with `--exact` normalized, too, float32."""
        return prepared_by(self._processor, frame) if self.exact else self.preprocessing(frame)

    def network(self) -> nn.Module:
        """[B, L, h, w, 3] as prepared to float [B, D], or [B, N, D] with `--pool none`.

        Raises:
            WeightsError: the weights are missing or damaged.
            ExtractorError: the model does not accept such frames, or has no such layer.
        """
        encoder = self.encoder(resized=self.preprocessing.size != self._own.size)
        self._check_patches()
        network = _Network(self.preprocessing, encoder, self.checkpoint.family.kind == "frame").eval()
        with self._refusing(), torch.inference_mode():  # a black window: problems are reported before any clip is read
            dtype = torch.float32 if self.exact else torch.uint8
            rows = network(torch.zeros(1, self.window_length, *self.preprocessing.size, 3, dtype=dtype))
        expected = (1, math.prod(self.grid())) if self.pool == "none" else (1,)
        if tuple(rows.shape[:-1]) != expected:
            raise ExtractorError(
                f"{self.model}: gives rows {tuple(rows.shape)} for a window, not {expected}; egotools cannot use it"
            )
        return network

    def _refusing(self) -> AbstractContextManager[None]:
        height, width = self.preprocessing.size
        windows = f"{self.window_length} x {height}x{width}"
        return refusing(self.model, self.layer, windows, "choose others, or leave --resize, --crop and --frames out")

    def _check_patches(self) -> None:
        """Refuses sizes of which a rest at the right and below would not be seen."""
        height, width = self.preprocessing.size
        if self.preprocessing.size == self._own.size or self.checkpoint.family.maps:
            return
        if height % self.checkpoint.patch or width % self.checkpoint.patch:
            raise ExtractorError(
                f"{self.model}: its patches are of {self.checkpoint.patch} pixels, which do not divide {height}x{width}"
            )


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
class FrameModel(OneFrameARow, VisionModel):
    """Features of a frame encoder in the format of Transformers: one row per frame.

    \b
    egotools extract --manifest m.csv --out caches/a hf:openai/clip-vit-base-patch32 --fps 2
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sampling(self.fps, self.frames, self.stride)


@dataclass(frozen=True)
class ClipModel(VisionModel):
    """Features of a clip encoder in the format of Transformers: one row per window of frames.

    \b
    egotools extract --manifest m.csv --out caches/a hf:MCG-NJU/videomae-base --fps 15 --hop 1
    """

    frames: int | None = option(None, "Frames per window; by default as the model was trained.")
    fps: float | None = option(None, "Rate of a window's frames, Hz; by default as in training: V-JEPA 2, 4 Hz.")
    stride: int | None = option(
        None, "Instead of --fps: every n-th frame of the file; by default as in training: VideoMAE, every 4th."
    )
    hop: float | None = option(None, "Seconds from one window to the next; by default they follow without a gap.")
    clips: int | None = option(None, "Instead of --hop: number of windows per clip, evenly spaced.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(fps=self.fps, frames=self.frames, stride=self.stride, hop=self.hop, clips=self.clips)
        if self.hop is not None and self.clips is not None:
            raise ValueError("give one of --hop and --clips")
        if self.fps is not None and self.stride is not None:
            raise ValueError("give one of --fps and --stride")
        self._check_frames()
        if self.fps is None and self.stride is None:
            object.__setattr__(self, "fps", self.checkpoint.family.fps)
            object.__setattr__(self, "stride", self.checkpoint.family.stride)

    def _check_frames(self) -> None:
        found = self.checkpoint
        if self.frames is None:
            object.__setattr__(self, "frames", found.frames)
        if self.frames != found.frames and not found.family.any_length:
            raise ValueError(f"--frames {self.frames}: {self.model} takes windows of {found.frames} frames only")
        if self.window_length % found.tubelet:
            raise ValueError(f"--frames {self.frames}: {self.model} takes a multiple of {found.tubelet}")

    @property
    def window_length(self) -> int:
        """Frames per window."""
        assert self.frames is not None
        return self.frames

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One window of frames per row."""
        fps = self.fps if self.stride is None else video.fps / self.stride if self.stride > 1 else None
        return frame_stacks(video, clip, length=self.window_length, fps=fps, hop=self.hop, clips=self.clips)
