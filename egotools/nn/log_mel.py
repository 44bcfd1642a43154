"""Log-mel spectrograms of waveforms."""

import torch
from torch import Tensor, nn


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
