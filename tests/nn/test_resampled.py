"""Resampling of waveforms: by its definition, and what a tone and any pair of rates become."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from egotools.nn import resampled as module
from egotools.nn.resampled import resampled


def by_definition(wave, rate, to):
    """Each sample as a sum over the whole waveform (specification of RepLAI, 1.7, step 2)."""
    cutoff = 0.99 * min(rate, to)
    found = []
    for index in range(math.ceil(to * len(wave) / rate)):
        u = (np.arange(len(wave)) / rate - index / to) * cutoff
        weights = np.where(abs(u) < 6, np.sinc(u) * np.cos(np.pi * np.clip(u, -6, 6) / 12) ** 2, 0)
        found.append(cutoff / rate * (weights @ wave))
    return np.array(found)


@pytest.mark.parametrize("largest", [1 << 22, 0], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    ("rate", "to"), [(44100, 16000), (48000, 16000), (8000, 16000), (22050, 16000), (16001, 16000)]
)
def test_the_definition(rng, monkeypatch, rate, to, largest):
    monkeypatch.setattr(module, "LARGEST", largest)
    wave = rng.normal(0, 0.1, 331).astype(np.float32)
    found = resampled(torch.from_numpy(wave), rate, to)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, by_definition(wave.astype(np.float64), rate, to), atol=1e-6)


def test_a_tone_stays_that_tone_and_what_lies_above_the_new_rate_vanishes():
    times = torch.arange(44100) / 44100
    stereo = torch.stack([torch.sin(2 * math.pi * 1000 * times), torch.sin(2 * math.pi * 12000 * times)])
    found = resampled(stereo, 44100, 16000)
    assert found.shape == (2, 16000)
    wanted = torch.sin(2 * math.pi * 1000 * torch.arange(16000) / 16000)
    inside = slice(100, -100)
    assert (found[0] - wanted)[inside].abs().max() < 2e-3
    assert found[1, inside].abs().max() < 5e-3  # -46 dB, of this filter


def test_equal_rates_return_the_input_and_impossible_ones_are_refused():
    samples = torch.zeros(5)
    assert resampled(samples, 16000, 16000) is samples
    with pytest.raises(ValueError, match="above 0 Hz, not 0 and 16000"):
        resampled(samples, 0, 16000)


def test_rates_without_a_common_divisor_need_little_memory():
    found = resampled(torch.ones(44101), 44101, 16000)
    assert found.shape == (16000,)
    assert (found[100:-100] - 1).abs().max() < 1e-2
    assert module._dense.cache_info().currsize <= 8
