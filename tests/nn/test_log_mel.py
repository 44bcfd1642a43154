"""Log-mel spectra by their definition, by an explicit loop, and as the reference of RepLAI computes them."""

from __future__ import annotations

import cmath
import math
import zlib

import numpy as np
import pytest
import torch

from egotools.nn.log_mel import LogMel, mel_filters


def by_definition(samples, rate, window, step, mels, highest):
    """[T, mels] by loops over spectra, frequencies and bands."""
    top = 2595 * math.log10(1 + highest / 700)
    points = [700 * (10 ** (top * k / (mels + 1) / 2595) - 1) for k in range(mels + 2)]
    rows = []
    for begin in range(0, len(samples) - window + 1, step):
        power = []
        for bin in range(window // 2 + 1):
            total = 0j
            for n in range(window):
                hann = 0.5 - 0.5 * math.cos(2 * math.pi * n / window)
                total += samples[begin + n] * hann * cmath.exp(-2j * math.pi * bin * n / window)
            power.append(abs(total) ** 2)
        row = []
        for low, middle, high in zip(points, points[1:], points[2:], strict=False):
            energy = 0.0
            for bin, value in enumerate(power):
                frequency = bin * rate / window
                weight = min((frequency - low) / (middle - low), (high - frequency) / (high - middle))
                energy += max(weight, 0) * value
            row.append(math.log(max(energy, 1e-10)))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("highest", [None, 3000])
def test_the_definition(rng, highest):
    samples = rng.normal(0, 0.1, 300).astype(np.float32)
    found = LogMel(rate=8000, window=64, step=24, mels=7, highest=highest)(torch.from_numpy(samples)[None])
    wanted = by_definition(samples.tolist(), 8000, 64, 24, 7, highest or 4000)
    assert found.shape == (1, 1 + (300 - 64) // 24, 7)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-4)


def test_silence_is_the_logarithm_of_the_floor():
    found = LogMel(rate=8000, window=64, step=32, mels=5)(torch.zeros(2, 128))
    torch.testing.assert_close(found, torch.full((2, 3, 5), math.log(1e-10)))


def test_a_tone_is_loudest_in_the_band_around_it():
    seconds = torch.arange(16000) / 16000
    spectrum = LogMel(rate=16000, window=512, step=256, mels=80)
    bands = mel_filters(rate=16000, bins=257, mels=80, highest=8000)
    for frequency in (500, 1000, 3000, 7000):
        loudest = int(spectrum(torch.sin(2 * math.pi * frequency * seconds)[None])[0].mean(0).argmax())
        assert bands[round(frequency / 16000 * 512), loudest] > 0


def test_no_band_of_the_usual_eighty_is_empty():
    assert (mel_filters(rate=16000, bins=257, mels=80, highest=8000).sum(0) > 0).all()


def resampled(wave):
    """44.1 kHz to 16 kHz: windowed sinc as torchaudio's default (specification of RepLAI, 1.7, step 2)."""
    old, new, rate = 441, 160, 0.99 * 160
    width = math.ceil(6 * old / rate)
    taps = np.arange(-width, width + old)
    at = np.clip((taps[None] / old - np.arange(new)[:, None] / new) * rate, -6, 6)
    kernels = rate / old * np.sinc(at) * np.cos(math.pi * at / 12) ** 2
    padded = np.pad(wave.astype(np.float64), (width, width + old))
    stretches = np.lib.stride_tricks.sliding_window_view(padded, len(taps))[::old]
    return (stretches @ kernels.T).ravel()[: math.ceil(new * len(wave) / old)]


def test_the_reference_of_replai_gives_the_same_spectra(shared):
    golden = np.load(shared / "goldens/replai/logmel_mono.npz")
    random = np.random.RandomState(zlib.crc32(b"a/input/wave") & 0xFFFFFFFF)  # the golden's own input
    samples = resampled(0.1 * random.standard_normal((1, 88200)).astype(np.float32)[0])
    assert len(samples) == golden["n_resampled"]
    np.testing.assert_allclose(samples[1000:1400], golden["resampled_slice"], atol=1e-5)

    batch = torch.from_numpy(samples.astype(np.float32))[None]
    found = LogMel(rate=16000, window=512, step=256, mels=80, highest=8000)(batch)[0].numpy()
    assert len(found) == golden["n_frames"]
    np.testing.assert_allclose(np.exp(found[:6]).T, golden["mel_power_slice"], rtol=1e-3, atol=1e-6)
    picked = np.linspace(0, len(found) - 1, 125).astype(int)
    np.testing.assert_allclose((found[picked] + 7.03) / 4.66, golden["out"][0], rtol=1e-3, atol=2e-3)
