"""What extractors of sound by a network share: windows at the file's own rate, and RepLAI's spectrogram of them."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from egotools.config import option
from egotools.extractors.audio import STREAM, stretches
from egotools.nn.log_mel import RATE, ReplaiLogMel
from egotools.nn.resampled import resampled
from egotools.sampling import check_positive, evenly_begun, extent, near
from egotools.types import AudioInfo, Clip, SampleWindows

COMMON = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000)  # Hz

HOP = "Seconds from one row to the next; by default they follow without a gap."
CLIPS = "Instead of --hop: rows per clip, evenly spaced; a single one is in the middle."


@dataclass(frozen=True)
class SoundWindows:
    """Windows of `length` seconds: one every `hop`, or `clips` evenly spaced."""

    length: float = option(2.0, "Seconds per row.")
    hop: float | None = option(None, HOP)
    clips: int | None = option(None, CLIPS)
    stream: int | None = option(None, STREAM)

    def __post_init__(self) -> None:
        check_windows(self.length, self.hop, self.clips, self.stream)
        if self.length < 2 * 0.032:
            raise ValueError(f"--length {self.length:g} s is too short: a spectrum needs 0.032 s")

    def sound_windows(self, sound: AudioInfo, clip: Clip) -> SampleWindows:
        """At the file's own rate: the network resamples, as in training."""
        return self.windows_at(sound.rate, sound, clip)

    def windows_at(self, rate: int, sound: AudioInfo, clip: Clip) -> SampleWindows:
        """At any rate.

        Raises:
            ClipError: the clip lies outside the sound.
        """
        if self.clips is None:
            return stretches(sound, clip, rate=rate, length=self.length, hop=self.hop)
        start, end = extent(clip, sound.start, sound.end, slack=0.1)
        starts = start + evenly_begun(max(end - start - self.length, 0.0), self.clips)
        times = np.stack([starts, np.minimum(starts + self.length, end)], axis=1)
        times = times[near(times, np.array(sound.gaps).reshape(-1, 2))]
        return SampleWindows(times[:, 0].copy(), round(self.length * rate), rate, times)


def check_windows(length: float | None, hop: float | None, clips: int | None, stream: int | None) -> None:
    """Refuses impossible windows of sound.

    Raises:
        ValueError: the message names the option.
    """
    check_positive(length=length, hop=hop, clips=clips)
    if hop is not None and clips is not None:
        raise ValueError("--hop and --clips exclude each other")
    if stream is not None and stream < 0:
        raise ValueError(f"--stream must be 0 or above, not {stream}")


class SoundNetwork(nn.Module):
    """Samples [B, length * rate], at any rate, to what `network` makes of their log-mel spectrograms [B, 1, T, 80]."""

    def __init__(self, network: nn.Module, length: float) -> None:
        super().__init__()
        self.network, self.spectrum, self.length = network, ReplaiLogMel(length), length

    def traced_apart(self) -> list[nn.Module]:
        """Resampling depends on the number of samples, which cannot be traced; the network can."""
        return [self.network]

    def forward(self, samples: Tensor) -> Tensor:
        rate = rate_of(samples.shape[-1], self.length)
        return self.network(self.spectrum(resampled(samples, rate, RATE)))  # type: ignore[no-any-return]


def rate_of(count: int, length: float) -> int:
    """The rate, Hz, at which so many samples are `length` seconds; a common one if several are.

    >>> rate_of(88200, 2.0), rate_of(5512, 0.5)
    (44100, 11025)
    """
    return next((rate for rate in COMMON if round(length * rate) == count), round(count / length))
