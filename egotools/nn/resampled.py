"""Resampling of waveforms by a windowed sinc."""

import functools
import math

import torch
from torch import Tensor

ZEROS = 6  # zero crossings of the sinc on either side
ROLLOFF = 0.99  # the cut-off, as a part of half the lower rate
LARGEST = 1 << 22  # coefficients of a dense filter; rates with almost no common divisor would need gigabytes
TOGETHER = 1 << 14  # samples computed at once by a sparse one


def resampled(samples: Tensor, rate: int, to: int) -> Tensor:
    """Waveforms float [..., L] at `rate` Hz to float32 [..., ceil(L * to / rate)] at `to` Hz.

    Band-limited interpolation by a sinc within a squared cosine of 6 zero crossings to either side, cut off at 0.99 of
    half the lower rate; zeros outside the waveform. Any two integer rates; equal ones return the input itself.

    Source:
        The defaults of torchaudio.functional.resample; specification of RepLAI, 1.7, step 2.

    Raises:
        ValueError: a rate below 1 Hz.
    """
    if rate < 1 or to < 1:
        raise ValueError(f"rates of sound are above 0 Hz, not {rate} and {to}")
    if rate == to:
        return samples
    divisor = math.gcd(rate, to)
    old, new = rate // divisor, to // divisor
    count = math.ceil(new * samples.shape[-1] / old)
    width = _width(old, new)
    # No convolution: those of GPUs round to TF32 by default, products of matrices do not.
    with torch.autocast(samples.device.type, enabled=False):
        padded = torch.nn.functional.pad(samples.float(), (width, width + old))
        if new * (2 * width + old) <= LARGEST:
            dense = _dense(old, new).to(samples.device)
            return (padded.unfold(-1, 2 * width + old, old) @ dense.T).flatten(-2)[..., :count]
        blocks = [
            torch.arange(first, min(first + TOGETHER, count), device=samples.device)
            for first in range(0, max(count, 1), TOGETHER)
        ]
        return torch.cat([_sparse(padded, each, old, new) for each in blocks], -1)


def _width(old: int, new: int) -> int:
    return math.ceil(ZEROS * old / (ROLLOFF * min(old, new)))


def _filter(taps: Tensor, phases: Tensor, old: int, new: int) -> Tensor:
    """Coefficients float32 of the samples `taps`, counted from the one that phase 0 coincides with."""
    cutoff = ROLLOFF * min(old, new)
    at = ((taps.double() / old - phases.double() / new) * cutoff).clamp(-ZEROS, ZEROS)
    return (cutoff / old * torch.sinc(at) * torch.cos(at * math.pi / ZEROS / 2).square()).float()


@functools.lru_cache(maxsize=8)
def _dense(old: int, new: int) -> Tensor:
    """[new, 2 width + old]: the filter of every phase over all samples that any phase uses."""
    width = _width(old, new)
    return _filter(torch.arange(-width, width + old), torch.arange(new)[:, None], old, new)


def _sparse(padded: Tensor, wanted: Tensor, old: int, new: int) -> Tensor:
    """The samples numbered `wanted` [M], each from the samples near it alone."""
    width, phases = _width(old, new), wanted % new
    nearest = phases * old // new
    taps = nearest[:, None] + torch.arange(-width, width + 2, device=padded.device)
    places = (wanted // new * old)[:, None] + taps + width
    return (padded[..., places.clamp(max=padded.shape[-1] - 1)] * _filter(taps, phases[:, None], old, new)).sum(-1)
