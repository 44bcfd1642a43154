"""Extractors of sound: waveforms, and log-mel spectrograms."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from egotools.config import option
from egotools.nn.log_mel import LogMel
from egotools.sampling import check_positive, extent, intervals, near
from egotools.types import AudioInfo, Clip, SampleWindows

Array = np.ndarray[Any, Any]

STREAM = (
    "Which of a file's audio streams, counted from 0 as in FFmpeg's 0:a:N; by default the one marked as default, "
    "else the first."
)


def stretches(sound: AudioInfo, clip: Clip, *, rate: int, length: float, hop: float | None) -> SampleWindows:
    """One stretch of samples per row, over the part of a clip that has sound; at least one.

    Raises:
        ClipError: the clip lies outside the sound.
    """
    start, end = extent(clip, sound.start, sound.end, slack=0.1)
    times = intervals(start, end, length, hop or length)
    times = times[near(times, np.array(sound.gaps).reshape(-1, 2))]
    return SampleWindows(times[:, 0].copy(), round(length * rate), rate, times)


class _Stretches:
    """Windows of sound of `length` seconds, one every `hop`: what the extractors here share."""

    rate: int
    length: float
    hop: float | None
    stream: int | None

    def __post_init__(self) -> None:
        check_positive(rate=self.rate, length=self.length, hop=self.hop)
        check_samples(self.rate, length=self.length)
        if self.stream is not None and self.stream < 0:
            raise ValueError(f"--stream must be 0 or above, not {self.stream}")

    def sound_windows(self, sound: AudioInfo, clip: Clip) -> SampleWindows:
        return stretches(sound, clip, rate=self.rate, length=self.length, hop=self.hop)


@dataclass(frozen=True)
class Waveform(_Stretches):
    """The sound itself, mono: one row of `length` seconds of samples in [-1, 1]; silence after the clip's end.

    \b
    egotools extract --manifest m.csv --out caches/a waveform --rate 16000 --length 1
    """

    place: ClassVar[Literal["device", "worker"]] = "worker"
    version: ClassVar[int] = 1

    rate: int = option(16000, "Samples per second.")
    length: float = option(1.0, "Seconds per row.")
    hop: float | None = option(None, "Seconds from one row to the next; by default they follow without a gap.")
    stream: int | None = option(None, STREAM, absent=None)

    def network(self) -> Callable[[Array], Array]:
        """The samples, unchanged."""
        return lambda samples: samples


@dataclass(frozen=True)
class LogMelSpectrogram(_Stretches):
    """Log-mel spectrogram of each `length` seconds of sound, mono: one row of (frames * mels) numbers.

    \b
    egotools extract --manifest m.csv --out caches/a log-mel --length 2 --pool mean+std
    """

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1

    rate: int = option(16000, "Samples per second; the sound is resampled to this rate.")
    length: float = option(1.0, "Seconds per row.")
    hop: float | None = option(None, "Seconds from one row to the next; by default they follow without a gap.")
    window: float = option(0.032, "Seconds per spectrum.")
    step: float = option(0.016, "Seconds from one spectrum to the next.")
    mels: int = option(80, "Bands, evenly spaced in mel from 0 to half the rate.")
    pool: Literal["none", "mean", "mean+std"] = option(
        "none", "Pooling over time: none, the mean, or mean and standard deviation."
    )
    stream: int | None = option(None, STREAM, absent=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.step > 0 or not 0 < self.window <= self.length:
            raise ValueError("--step must be above 0 and --window above 0 and not longer than --length")
        check_samples(self.rate, window=self.window, step=self.step)
        if self.mels < 1:
            raise ValueError(f"--mels must be above 0, not {self.mels}")

    def network(self) -> nn.Module:
        """Samples [B, rate * length] to float [B, D]."""
        spectrum = LogMel(
            rate=self.rate, window=round(self.window * self.rate), step=round(self.step * self.rate), mels=self.mels
        )
        return _Pooled(spectrum, self.pool)


class _Pooled(nn.Module):
    def __init__(self, spectrum: nn.Module, pool: str) -> None:
        super().__init__()
        self.spectrum, self.pool = spectrum, pool

    def forward(self, samples: Tensor) -> Tensor:
        x: Tensor = self.spectrum(samples)  # [B, T, mels]
        if self.pool == "none":
            return x.flatten(1)
        if self.pool == "mean":
            return x.mean(1)
        return torch.cat([x.mean(1), x.std(1, correction=0)], dim=1)


def check_samples(rate: int, **seconds: float) -> None:
    """Refuses lengths shorter than a sample.

    Raises:
        ValueError: the message names the option.
    """
    for name, value in seconds.items():
        if round(value * rate) < 1:
            raise ValueError(f"--{name} {value:g} s is less than a sample at {rate} Hz")
