"""Log-mel spectra by their definition, by an explicit loop, and as the reference of RepLAI computes them."""

from __future__ import annotations

import cmath
import json
import math

import numpy as np
import pytest
import torch
from fill import input_of

from egotools.nn.log_mel import LogMel, ReplaiLogMel, mel_filters
from egotools.nn.resampled import resampled


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


@pytest.mark.parametrize("case", ["logmel_mono", "logmel_stereo_short"])
def test_the_input_of_replai_at_every_stage_as_its_reference_computes_it(shared, case):
    golden = np.load(shared / "goldens/replai" / f"{case}.npz", allow_pickle=False)
    shape = json.loads((shared / "goldens/replai" / f"{case}.json").read_text())["inputs"][0]["shape"]
    samples = resampled(0.1 * input_of("wave", *shape).mean(0, keepdim=True), 44100, 16000)
    assert samples.shape == (1, golden["n_resampled"])
    np.testing.assert_allclose(samples[0, 1000:1400], golden["resampled_slice"], atol=1e-6)

    found = ReplaiLogMel(2.0)(samples)
    spectra = LogMel(rate=16000, window=512, step=256, mels=80)(samples)[0].numpy()
    assert len(spectra) == golden["n_frames"]
    np.testing.assert_allclose(np.exp(spectra[:6]).T, golden["mel_power_slice"], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found[0], golden["out"], rtol=1e-3, atol=2e-3)


def test_the_input_of_replai_is_the_same_in_a_batch_and_where_networks_run_in_bf16(rng):
    samples = torch.from_numpy(rng.normal(0, 0.1, (3, 8000)).astype(np.float32))
    spectrum = ReplaiLogMel(0.5)
    together = spectrum(samples)
    assert together.shape == (3, 1, 31, 80)
    torch.testing.assert_close(together, torch.cat([spectrum(one[None]) for one in samples]))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(spectrum(resampled(samples, 16000, 16000)), together)


def test_sound_too_short_for_a_spectrum_is_refused():
    with pytest.raises(ValueError, match=r"0\.032 s"):
        ReplaiLogMel(0.03)
    with pytest.raises(ValueError, match="512 samples"):
        ReplaiLogMel()(torch.zeros(1, 511))
