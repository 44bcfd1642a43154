"""Clips as spans of frames at a stride: which frames, and ready examples of them.

Axes: T frames of a span. A span of T frames at a stride of d is T * d frames wide.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from egotools.errors import ClipError
from egotools.loading.files import Files, OpenFiles, Source
from egotools.loading.items import SECONDS
from egotools.pixels.augmentation import Augmentation, cropped
from egotools.sampling import extent, frames_inside
from egotools.types import Clip, Frame, IntArray


@dataclass(frozen=True)
class Spans:
    """How spans are taken from a clip; one as wide as the clip or wider does not fit (as in MemDPC)."""

    frames: int  # of a span
    stride: int
    short: Literal["pad", "drop"] = "drop"  # what becomes of a clip without room: its last frame repeated, or left out

    @property
    def width(self) -> int:
        """How many frames a span covers; a clip needs one more."""
        return self.frames * self.stride

    def fits(self, total: int) -> bool:
        """Whether a clip of so many frames has a span."""
        return total > self.width or (self.short == "pad" and total > 0)

    def drawn(self, total: int, random: np.random.Generator) -> IntArray:
        """Frames [T] of a clip of so many: any start is as likely."""
        return self.at(int(random.integers(max(total - self.width, 1))), total)

    def overlapping(self, total: int) -> IntArray:
        """Frames [spans, T] of all spans that overlap by half of their width, and one frame."""
        step = max(self.width // 2 - 1, 1)
        starts = range(0, max(total - self.width, 0) + 1, step)
        return np.stack([self.at(start, total) for start in starts])

    def at(self, start: int, total: int) -> IntArray:
        """Frames [T] from a start on; the last one of the clip again where it ends before."""
        return np.minimum(start + self.stride * np.arange(self.frames), total - 1)


@dataclass(frozen=True, eq=False)
class Stretch:
    """The frames of one clip: `count` of its file from number `first` on."""

    clip: Clip
    source: Source
    first: int
    count: int


def stretches(clips: Iterable[Clip], files: Files, spans: Spans) -> tuple[list[Stretch], list[Clip], dict[str, str]]:
    """The clips that have a span; those that are too short; and why others cannot be read, by id."""
    found, short, failed = [], [], {}
    for clip in clips:
        if clip.path in files.failed:
            failed[clip.id] = files.failed[clip.path]
            continue
        source = files.sources[clip.path]
        try:
            inside = frames_of(clip, source)
        except ClipError as error:
            failed[clip.id] = str(error)
            continue
        if spans.fits(len(inside)):
            found.append(Stretch(clip, source, int(inside[0]), len(inside)))
        else:
            short.append(clip)
    return found, short, failed


def frames_of(clip: Clip, source: Source) -> IntArray:
    """The frames of a file that belong to a clip, one after the other.

    Raises:
        ClipError: as `seconds_of`.
    """
    return frames_inside(source.info, *seconds_of(clip, source))


def seconds_of(clip: Clip, source: Source) -> tuple[float, float]:
    """The seconds of a file in which a clip has a picture.

    Raises:
        ClipError: the clip lies outside of the file, or goes on after the end of one that is cut short.
    """
    info = source.info
    if source.damage and (clip.end is None or clip.end > info.end):
        raise ClipError(f"{source.path}: {source.damage}")
    return extent(clip, info.times[0], info.end, slack=1 / info.fps)


@dataclass(frozen=True, eq=False)
class SpanExamples:
    """Examples of one drawn span a clip: `frames` uint8 [T, S, S, 3], the entries of `Draw`, and those of `labels`."""

    stretches: Sequence[Stretch]
    spans: Spans
    side: int  # S
    augmentation: Augmentation
    labels: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)  # [clips] each, by the name in a batch
    _open: OpenFiles = field(default_factory=OpenFiles, repr=False)

    def __len__(self) -> int:
        return len(self.stretches)

    def example(self, index: int, random: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """As `Examples.example`."""
        stretch = self.stretches[index]
        began = time.perf_counter()
        frames = read_frames(stretch, self.spans.drawn(stretch.count, random), self._open)
        decoded = time.perf_counter()
        length, height, width = frames.shape[:3]
        draw = self.augmentation.draw(height, width, length, random)
        how = self.augmentation
        pixels = cropped(frames, draw, self.side, crop=how.crop, interpolation=how.interpolation)
        seconds = {"decoding": decoded - began, "resampling": time.perf_counter() - decoded}
        return {
            "frames": pixels,
            **vars(draw),
            **{name: values[index] for name, values in self.labels.items()},
            **{f"{SECONDS}{name}": np.float64(value) for name, value in seconds.items()},
        }


def read_frames(stretch: Stretch, indices: IntArray, opened: OpenFiles) -> Frame:
    """Frames [T, H, W, 3] of a clip by their numbers in it, in any order, some perhaps alike: each is decoded once.

    Raises:
        ClipError: one cannot be decoded.
    """
    needed, places = np.unique(stretch.first + indices, return_inverse=True)
    frames = np.stack(list(opened.frames(stretch.source).frames(needed)))
    return frames if np.array_equal(needed, stretch.first + indices) else frames[places]
