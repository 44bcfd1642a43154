"""The basic types: clips, windows of frames or samples, rows of features, and the extractor protocols.

Axes: T rows (one per window), L frames or samples of a window, D features, F frames of a file, B batch, H, W pixels.
Times are seconds of the file; frame indices count from 0 in the file.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from egotools.errors import ManifestError
from egotools.texts import composed

if TYPE_CHECKING:  # manifests and stores must start without torch
    from torch import Tensor

FloatArray = npt.NDArray[np.floating[Any]]  # any float width: float16 and float32 rows share their code
IntArray = npt.NDArray[np.int64]
Frame = npt.NDArray[np.uint8]

LONGEST_ID = 400  # bytes of UTF-8; LMDB keys end at 511
MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Clip:
    """A span of one video (or frame folder, image, audio file): the unit that is read, cached and labeled.

    Raises:
        ManifestError: an id that is empty or longer than 400 bytes, times that are negative or out of order.
    """

    id: str  # the only join key, in Unicode normal form NFC; may hold "/"
    path: Path
    start: float = 0.0  # seconds of the file
    end: float | None = None  # seconds of the file; None: to the end of the file
    split: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)  # all other manifest columns, as text
    fps: float | None = None  # frames per second of a frame folder or stack, which store none themselves

    def __post_init__(self) -> None:
        if not self.id:
            raise ManifestError("a clip needs an id")
        if not self.id.isascii():
            object.__setattr__(self, "id", composed(self.id))  # the class is frozen
        try:
            size = len(self.id.encode())
        except UnicodeEncodeError:
            raise ManifestError(f"clip {self.id!r}: the id cannot be encoded in UTF-8") from None
        if size > LONGEST_ID:
            raise ManifestError(f"clip {self.id[:40]!r}...: the id is longer than {LONGEST_ID} bytes")
        if not 0 <= self.start < inf:
            raise ManifestError(f"clip {self.id!r}: start {self.start} is not a time in seconds, 0 or more")
        if self.end is not None and not self.start < self.end < inf:
            raise ManifestError(f"clip {self.id!r}: end {self.end} s is not after start {self.start} s")


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a manifest, numbered from 1; as text `3/64`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that `K/N` names.

        Raises:
            ValueError: it names none.
        """
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        number, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= count <= MOST_SHARDS:
            raise ValueError(
                f"{text!r} is not K/N, such as 3/64: part K of N, from 1/64 to 64/64; N up to {MOST_SHARDS}"
            )
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, eq=False)
class Rows:
    """The features of one clip: `values` [T, D] float32 or float16, `times` [T, 2] float64 seconds. T = 0 is valid."""

    values: FloatArray
    times: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.times.shape != (len(self.values), 2):
            raise ValueError(
                f"rows need values [T, D] and times [T, 2], not {self.values.shape} and {self.times.shape}"
            )


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """What is known about a video before its frames are decoded.

    `times` [F] float64 are the times at which the frames appear, in display order; `end` is when the last one ends.
    `width` and `height` are those of the upright frame. `gaps` [G, 2] are spans in seconds without a frame nearby: the
    last frame before a gap ends at the gap, although the file shows it longer.
    """

    times: npt.NDArray[np.float64]
    end: float
    width: int
    height: int
    gaps: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))

    def __len__(self) -> int:
        return len(self.times)

    @property
    def fps(self) -> float:
        """Mean frame rate, Hz, outside gaps."""
        return len(self.times) / float(self.end - self.times[0] - np.diff(self.gaps).sum())

    @property
    def ends(self) -> npt.NDArray[np.float64]:
        """When each frame ends [F], seconds: at the next one, at a gap, or at the end."""
        ends = np.append(self.times[1:], self.end)
        if len(self.gaps):
            ends[np.searchsorted(self.times, self.gaps[:, 0]) - 1] = self.gaps[:, 0]
        return ends

    def at(self, seconds: npt.ArrayLike) -> IntArray:
        """Indices of the frames shown at the given times, of the same shape; times outside take the nearest frame."""
        # Containers round timestamps to their own ticks: a frame that begins a tenth of a millisecond late is shown.
        shown = np.searchsorted(self.times, np.asarray(seconds, np.float64) + 1e-4, side="right") - 1
        return np.clip(shown, 0, len(self.times) - 1)


@dataclass(frozen=True)
class AudioInfo:
    """What is known about an audio stream: `rate` in Hz, `channels`, and the seconds of the file it covers.

    `gaps` are seconds without sound that no recorder produces: the timestamps there are wrong, and no rows are made.
    """

    rate: int
    channels: int
    start: float
    end: float
    gaps: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class FrameWindows:
    """One window of frames per row: indices `frames` [T, L] int64, and `times` [T, 2] float64 that each row covers."""

    frames: IntArray
    times: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.frames.ndim != 2 or self.times.shape != (len(self.frames), 2):
            raise ValueError(
                f"windows need frames [T, L] and times [T, 2], not {self.frames.shape} and {self.times.shape}"
            )


@dataclass(frozen=True, eq=False)
class SampleWindows:
    """One window of sound per row: `starts` [T] seconds, each `length` samples at `rate` Hz; `times` [T, 2] seconds.

    Samples outside the audio stream are silence.
    """

    starts: npt.NDArray[np.float64]
    length: int
    rate: int
    times: npt.NDArray[np.float64]


@runtime_checkable
class FrameExtractor(Protocol):
    """Features of frames. A frozen dataclass: its fields are its options; the constructor does no work."""

    @property
    def place(self) -> Literal["device", "worker"]:
        """Where network() runs: with the other models on the device, or in the reading worker (NumPy, OpenCV)."""

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """The frames of each row."""

    def prepare(self, frame: Frame) -> Frame:
        """One decoded frame [H, W, 3], upright RGB, to uint8 of one fixed shape. Runs in a worker, once per frame."""

    def network(self) -> Callable[[Any], Any]:
        """[B, L, ...] of prepared frames to float32 [B, D]; row i depends on window i only. Built once per process.

        With `place` "device" a torch module from tensor to tensor, which may also give [B, N, D]: N rows a window, with
        the window's times. With "worker" a function from array to array.
        """


@runtime_checkable
class AudioExtractor(Protocol):
    """Features of sound; like `FrameExtractor`, but with windows of samples and float32 waveforms [B, L].

    An optional field `stream: int | None` says which of a file's audio streams is read.
    """

    @property
    def place(self) -> Literal["device", "worker"]:
        """Where network() runs."""

    def sound_windows(self, sound: AudioInfo, clip: Clip) -> SampleWindows:
        """The samples of each row."""

    def network(self) -> Callable[[Any], Any]:
        """[B, L] float32 waveforms, mono, in [-1, 1], to float32 [B, D], or [B, N, D]: N rows a window.

        An optional method `row_times(times, rows)` gives the times of the latter; without it they are the window's.
        """


@runtime_checkable
class ClipExtractor(Protocol):
    """Features that need the complete file. Runs in a worker.

    An optional method `sound_rows(sound, picture, clip)` is called instead of `rows` with the file's open sound, a
    `media.audio.Sound`, which many clips of a file share, and the `VideoInfo` of its picture (None: sound only). An
    optional field `stream: int | None` says which of a file's audio streams that is.
    """

    def rows(self, clip: Clip) -> Rows:
        """All rows of a clip."""


Extractor = FrameExtractor | AudioExtractor | ClipExtractor
Network = Callable[["Tensor"], "Tensor"]
