"""Log-mel spectrograms of waveforms."""

import torch
from torch import Tensor, nn

from egotools.sampling import floor_linspace

RATE = 16000  # Hz, of the sound that ReplaiLogMel takes
MELS = 80
MEAN, DEVIATION = -7.03, 4.66


class LogMel(nn.Module):
    """Waveforms [B, L] at `rate` Hz to log-mel spectra [B, T, mels], T = 1 + (L - window) // step.

    Power spectrum of periodic Hann windows, no padding; triangular filters between points evenly spaced in HTK mel,
    not area-normalised; natural logarithm of what is at least 1e-10. `window` and `step` are samples.
    """

    def __init__(self, *, rate: int, window: int, step: int, mels: int, highest: float | None = None) -> None:
        super().__init__()
        self.window, self.step = window, step
        # No buffers: they would be rounded where a network runs in bf16.
        self.hann = torch.hann_window(window)
        self.filters = mel_filters(rate=rate, bins=window // 2 + 1, mels=mels, highest=highest or rate / 2)

    def forward(self, samples: Tensor) -> Tensor:
        with torch.autocast(samples.device.type, enabled=False):  # a logarithm shows what bf16 loses
            frames = samples.float().unfold(1, self.window, self.step) * self.hann.to(samples.device)
            power = torch.fft.rfft(frames).abs().square()  # [B, T, bins]
            mel: Tensor = power @ self.filters.to(samples.device)
            return mel.clamp(min=1e-10).log()


class ReplaiLogMel(nn.Module):
    """Waveforms [B, L] at 16 kHz to the input of RepLAI's audio networks, float32 [B, 1, frames, 80], normalized.

    Spectra of 32 ms every 16 ms, of which `frames` are taken evenly: one for every 16 ms of `duration` seconds, as
    there are fewer (2 s have 124 spectra and give 125 frames). Normalized by the mean and deviation of natural
    logarithms that the reference states, -7.03 and 4.66. No parameters, no random numbers.

    Source:
        Specification of RepLAI, 1.7, steps 3 to 7 (its ResampleLogMelSpectrogram).

    Raises:
        ValueError: a duration below 32 ms; in forward, waveforms shorter than that.
    """

    def __init__(self, duration: float = 2.0) -> None:
        super().__init__()
        self.frames = int(1000 * duration / 16)
        self.spectrum = LogMel(rate=RATE, window=512, step=256, mels=MELS, highest=8000)
        if self.frames < 2:
            raise ValueError(f"a log-mel spectrogram needs at least 0.032 s of sound, not {duration:g} s")

    def forward(self, samples: Tensor) -> Tensor:
        if samples.shape[-1] < self.spectrum.window:
            raise ValueError(f"a spectrum needs {self.spectrum.window} samples, not {samples.shape[-1]}")
        spectra: Tensor = self.spectrum(samples)
        chosen = torch.from_numpy(floor_linspace(spectra.shape[1], self.frames)).to(spectra.device)
        return ((spectra[:, chosen] - MEAN) / DEVIATION)[:, None]


def mel_filters(*, rate: int, bins: int, mels: int, highest: float) -> Tensor:
    """Triangular filters [bins, mels] from 0 Hz to `highest` over the bins of a real spectrum at `rate` Hz.

    Source:
        HTK: mel(f) = 2595 log10(1 + f / 700).
    """
    frequencies = torch.linspace(0, rate / 2, bins, dtype=torch.float64)
    top = 2595 * torch.log10(torch.tensor(1 + highest / 700, dtype=torch.float64))
    points = 700 * (10 ** (torch.linspace(0, float(top), mels + 2, dtype=torch.float64) / 2595) - 1)
    width = points.diff()
    rising = (frequencies[:, None] - points[:-2]) / width[:-1]
    falling = (points[2:] - frequencies[:, None]) / width[1:]
    return torch.minimum(rising, falling).clamp(min=0).float()
