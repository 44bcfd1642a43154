"""Clips as what an R(2+1)D network is shown: windows of frames, drawn or evenly spaced, and ready tensors.

Axes: B clips, K windows of a clip of T frames, S x S pixels.

Source:
    RepLAI's linear probe on EPIC-KITCHENS-100 and Ego4D forecasting's recognition (`replai.md`, 6 and 7.3).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from egotools.errors import ClipError
from egotools.extractors.avid import STATISTICS
from egotools.loading.files import OpenFiles
from egotools.loading.items import SECONDS, Arrays, unread
from egotools.loading.loader import Tensors
from egotools.loading.spans import Stretch, read_frames
from egotools.methods.recognition.options import Watching
from egotools.pixels.preprocessing import Normalize
from egotools.pixels.resized_squares import ResizedSquare, SquareDraws, middle_square, squares
from egotools.sampling import window_frames
from egotools.types import Frame, IntArray


@dataclass(frozen=True, eq=False)
class WindowExamples:
    """Examples of one window a clip, at a drawn time: `frames` uint8 [T, S, S, 3] and `labels` int64 [heads]."""

    stretches: Sequence[Stretch]
    watching: Watching
    labels: IntArray  # [clips, heads]
    is_learned: bool = True  # False: the square in the middle, not mirrored
    _open: OpenFiles = field(default_factory=OpenFiles, repr=False)

    def __len__(self) -> int:
        return len(self.stretches)

    def example(self, index: int, random: np.random.Generator) -> Arrays:
        """As `Examples.example`."""
        stretch, began = self.stretches[index], time.perf_counter()
        frames = read_frames(stretch, numbers_at(stretch, self.watching, random.random()), self._open)
        decoded = time.perf_counter()
        pixels = self._drawn(frames, random) if self.is_learned else central(frames, self.watching)
        seconds = {"decoding": decoded - began, "resampling": time.perf_counter() - decoded}
        return {
            "frames": pixels,
            "labels": self.labels[index],
            **{f"{SECONDS}{name}": np.float64(value) for name, value in seconds.items()},
        }

    def _drawn(self, frames: Frame, random: np.random.Generator) -> Frame:
        square = drawn_square(frames.shape[1], frames.shape[2], self.watching, random)
        return squares(frames, square, "bilinear", antialias=self.watching.resizing == "antialiased")


@dataclass(frozen=True, eq=False)
class EvaluatedExamples:
    """An example is several windows of a clip: `frames` uint8 [K, T, S, S, 3] and `clip` [], its number.

    For a clip that cannot be decoded, only `failed` uint8 [bytes], why, and `clip`; batches are of one example. All
    frames of a clip are decoded in one pass.
    """

    stretches: Sequence[Stretch]
    watching: Watching
    counts: Sequence[int]  # so many windows each, evenly spaced; 1: one at a drawn time
    seed: int = 0
    _open: OpenFiles = field(default_factory=OpenFiles, repr=False)

    def __len__(self) -> int:
        return len(self.stretches)

    def windows_of(self, count: int) -> slice:
        """Which of the K windows belong to a count."""
        begin = sum(self.counts[: self.counts.index(count)])
        return slice(begin, begin + count)

    def example(self, index: int, _: np.random.Generator) -> Arrays:
        """As `Examples.example`, but that nothing is left to its chance."""
        try:
            return {"frames": self._windows(self.stretches[index]), "clip": np.array(index)}
        except ClipError as error:
            return unread(error, index)

    def _windows(self, stretch: Stretch) -> Frame:
        chosen = np.stack([numbers_at(stretch, self.watching, place) for place in self._places(stretch.clip.id)])
        needed, at = np.unique(chosen, return_inverse=True)
        decoded = self._open.frames(stretch.source).frames(stretch.first + needed)
        found = np.concatenate([central(frame[None], self.watching) for frame in decoded])
        return found[at.reshape(chosen.shape)]

    def _places(self, id: str) -> list[float]:
        drawn = np.random.default_rng([self.seed, zlib.crc32(id.encode())]).random()  # whatever else is evaluated
        return [float(place) for count in self.counts for place in (np.linspace(0, 1, count) if count > 1 else [drawn])]


def numbers_at(stretch: Stretch, watching: Watching, place: float) -> IntArray:
    """Frames [T] of a window, counted from the clip's first one.

    Args:
        stretch: the clip. One that is shorter than a window has its frames again from the first one on.
        watching: which frames.
        place: 0: the window begins with the clip; 1: it ends with it.
    """
    info, (first, last) = stretch.source.info, times_of(stretch)
    start = first + place * max(last - first - watching.video_duration, 0.0)
    end = start + watching.video_duration
    if watching.frame_rule == "all":
        end = min(end, last)
    found = window_frames(info, start, end, watching.frames, rule=watching.frame_rule, last=last)
    return np.clip(found - stretch.first, 0, stretch.count - 1)


def times_of(stretch: Stretch) -> tuple[float, float]:
    """When the frames of a clip begin and end, seconds of the file."""
    info = stretch.source.info
    return float(info.times[stretch.first]), float(info.ends[stretch.first + stretch.count - 1])


def drawn_square(height: int, width: int, watching: Watching, random: np.random.Generator) -> ResizedSquare:
    """A square as training has it, of frames of this size."""
    shortest, longest = watching.min_size, watching.max_size
    draws = SquareDraws(watching.size, shortest, longest, watching.flip, watching.swap_sides)
    if watching.resizing == "antialiased":
        return draws.draw(height, width, random)
    return draws.placed(height, width, float(random.integers(shortest, longest, endpoint=True)), random)


def central(frames: Frame, watching: Watching) -> Frame:
    """The square in the middle of frames [L, H, W, 3], as evaluation has it: uint8 [L, S, S, 3]."""
    square = middle_square(frames.shape[1], frames.shape[2], side=watching.size, shorter=watching.min_size)
    return squares(frames, square, watching.eval_interpolation, antialias=watching.resizing == "antialiased")


def clips_of(frames: Tensor, watching: Watching, device: torch.device) -> Tensor:
    """Frames uint8 [B, T, S, S, 3] as normalized clips float32 [B, 3, T, S, S] on a device."""
    pixels = frames.to(device, non_blocking=True)
    found: Tensor = Normalize(*STATISTICS[watching.statistics])(pixels)
    return found.transpose(1, 2).contiguous()


def labeled_clips_of(batch: Tensors, *, watching: Watching, device: torch.device) -> Tensors:
    """A batch of `WindowExamples` as the network takes it: `clips` and `labels` int64 [B, heads]."""
    labels = batch["labels"].to(device, non_blocking=True)
    return {"clips": clips_of(batch["frames"], watching, device), "labels": labels}
