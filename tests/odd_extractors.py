"""Extractors of a user's own, as a file: `tests/odd_extractors.py:NAME`. Each does one odd thing."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from egotools.config import option
from egotools.errors import ClipError
from egotools.types import Clip, FrameWindows, Rows, VideoInfo


@dataclass(frozen=True)
class Brightness:
    """Mean brightness of every frame: one row a frame, [1]."""

    place: ClassVar[Literal["device", "worker"]] = "worker"

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        frames = np.flatnonzero((video.times >= clip.start - 1e-6) & (video.times < (clip.end or np.inf) - 1e-6))
        edges = np.append(video.times, video.end)
        return FrameWindows(frames[:, None], np.stack([edges[frames], edges[frames + 1]], axis=1))

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        return frame.mean(axis=(0, 1)).round().astype(np.uint8)

    def network(self) -> Any:
        return lambda windows: windows[:, 0].mean(axis=1, keepdims=True).astype(np.float32)


@dataclass(frozen=True)
class Backwards(Brightness):
    """The same rows, whose windows are asked for in reverse, three frames each; the first frame says which row."""

    place: ClassVar[Literal["device", "worker"]] = "device"

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        count = len(video)
        first = np.arange(count)[::-1]
        frames = np.minimum(first[:, None] + np.arange(3), count - 1)
        return FrameWindows(frames, np.stack([video.times[first], video.times[first]], axis=1))

    def network(self) -> Any:
        return lambda windows: windows.float().mean(dim=2)  # [B, 3]


@dataclass(frozen=True)
class Crashing(Brightness):
    """Kills its worker on clips whose id begins with `crash`: each time, or, with `once`, only the first time."""

    marker: Path = option(Path("crashed"), "File that remembers the crash.")
    once: bool = option(False, "Only the first time.")

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        if clip.id.startswith("crash") and not (self.once and self.marker.exists()):
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().windows(video, clip)


@dataclass(frozen=True)
class NotFinite(Brightness):
    """Gives NaN for clips whose frames are bright."""

    def network(self) -> Any:
        return lambda windows: np.where(windows[:, 0, :1] > 100, np.nan, 1).astype(np.float32)


@dataclass(frozen=True)
class Nothing(Brightness):
    """No window of any clip."""

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        return FrameWindows(np.empty((0, 1), np.int64), np.empty((0, 2)))


@dataclass(frozen=True)
class FlatRows(Brightness):
    """A network that forgets the width."""

    place: ClassVar[Literal["device", "worker"]] = "device"

    def network(self) -> Any:
        return lambda windows: windows.float().mean(dim=(1, 2))


@dataclass(frozen=True)
class Slow(Brightness):
    """A network that takes a while."""

    place: ClassVar[Literal["device", "worker"]] = "device"

    def network(self) -> Any:
        def network(windows: torch.Tensor) -> torch.Tensor:
            time.sleep(0.2)
            return windows[:, 0].float()

        return network


@dataclass(frozen=True)
class Stopped(Brightness):
    """Ctrl-C once, after some rows; `computed` collects how many rows each call of the network makes."""

    place: ClassVar[Literal["device", "worker"]] = "device"
    after: int = option(30, "Windows until Ctrl-C.")
    each: int = option(1, "Rows of a window.")
    place_of_marks: Path = option(Path(), "Folder of `stopped`, which exists after Ctrl-C, and of `computed`.")

    def network(self) -> Any:
        count = 0

        def network(windows: torch.Tensor) -> torch.Tensor:
            nonlocal count
            if count >= self.after and not (self.place_of_marks / "stopped").exists():
                (self.place_of_marks / "stopped").touch()
                raise KeyboardInterrupt
            count += len(windows)
            with (self.place_of_marks / "computed").open("a") as file:
                file.write(f"{len(windows)}\n")
            rows = windows[:, 0].float()
            return rows if self.each == 1 else torch.stack([rows + at for at in range(self.each)], dim=1)

        return network

    def row_times(self, times: np.ndarray, each: int) -> np.ndarray:
        return np.repeat(times, each, axis=0) + np.tile(np.arange(each) / 1000, len(times))[:, None]


@dataclass(frozen=True)
class CrashingLate(Brightness):
    """Kills its worker once, in the middle of a clip."""

    marker: Path = option(Path("crashed"), "File that remembers the crash.")

    def network(self) -> Any:
        def network(windows: np.ndarray) -> np.ndarray:
            if windows.mean() > 90 and not self.marker.exists():
                self.marker.touch()
                time.sleep(0.3)  # so that what was sent before has arrived
                os.kill(os.getpid(), signal.SIGSEGV)
            return super(CrashingLate, self).network()(windows)

        return network


@dataclass(frozen=True)
class Buggy(Brightness):
    """A mistake in the extractor's own code."""

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("a mistake in prepare")


@dataclass(frozen=True)
class FileSize:
    """The size of the file, for extractors that need it whole."""

    def rows(self, clip: Clip) -> Rows:
        if clip.id == "refused":
            raise ClipError(f"{clip.path}: refused")
        return Rows(np.array([[clip.path.stat().st_size]], np.float32), np.zeros((1, 2)))


@dataclass(frozen=True)
class Heavy(Brightness):
    """64 KiB a row: a clip of more than 64 frames has a block on disk before it is whole."""

    def network(self) -> Any:
        factors = np.arange(16384, dtype=np.float32)
        return lambda windows: windows[:, 0].mean(axis=1, keepdims=True).astype(np.float32) * factors


@dataclass(frozen=True)
class Deadly(Brightness):
    """A network that kills its process on bright frames, as a driver of a GPU may."""

    place: ClassVar[Literal["device", "worker"]] = "device"

    def network(self) -> Any:
        def network(windows: torch.Tensor) -> torch.Tensor:
            if windows.max() > 180:
                os.kill(os.getpid(), signal.SIGKILL)
            return windows[:, 0].float()

        return network
