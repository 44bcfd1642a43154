"""Moments of interaction: as the reference finds them, and what they must not depend on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fill import DATA, normal

from egotools.lowlevel.moments import activity, frame_times, log_spectrogram, moments, peaks_of

GOLDENS = DATA / "replai"


def wave_of(case):
    """[C, N] float32: the input of a case, as its description says."""
    about = json.loads((GOLDENS / f"{case}.json").read_text())["inputs"][0]
    if "events" not in about:
        stored = np.load(GOLDENS / f"{case}.npz", allow_pickle=False)
        return stored["wave_int16"][None] / np.float32(32767) if "wave_int16" in stored else np.zeros(about["shape"])
    count, rate = about["shape"][1], about["fps"]
    seconds, burst = np.arange(count) / rate, normal("input/burst", (count,)).astype(np.float64)
    events = np.zeros(count)
    for begin, loud, fading, pitch in about["events"]:
        after = np.clip(seconds - begin, 0, None)
        tone = np.exp(-after / fading) * np.sin(2 * np.pi * pitch * after)
        events += np.where(seconds >= begin, loud * (tone + 0.5 * np.exp(-after / (0.25 * fading)) * burst), 0)
    noises = [normal(f"input/noise{channel}", (count,)).astype(np.float64) for channel in range(about["channels"])]
    return np.stack([about["noise"] * noise + events for noise in noises]).astype(np.float32)


@pytest.mark.parametrize("case", ["moi_synthetic_44k_mono", "moi_synthetic_16k_stereo", "moi_silence", "moi_real_8k"])
def test_moments_are_those_of_the_reference(case):
    golden = np.load(GOLDENS / f"{case}.npz", allow_pickle=False)
    about = json.loads((GOLDENS / f"{case}.json").read_text())["constructor"]
    rate, samples = about["audio_rate"], wave_of(case).mean(0)

    spectra = log_spectrogram(samples, rate)
    trace = activity(spectra)
    assert trace.shape == golden["trace"].shape
    np.testing.assert_allclose(trace, golden["trace"], rtol=0, atol=2e-2)
    shown = frame_times(np.array([0, 1, len(trace) - 1]), rate)
    np.testing.assert_allclose(shown, golden["frame_times"], rtol=0, atol=1e-9)

    for prominence, key in ((0.5, "peak_index_prom0.5"), (1.0, "peak_index"), (2.0, "peak_index_prom2.0")):
        found = moments(samples, rate, prominence)
        np.testing.assert_allclose(found.times, frame_times(golden[key], rate), rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.activity, trace[golden[key]])
    found = moments(samples, rate, 1.0)
    np.testing.assert_allclose(found.times, golden["peak_time"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.prominences, golden["peak_prominence"], rtol=0, atol=2e-2)


def test_moments_of_a_higher_prominence_are_those_of_a_lower_one_filtered():
    samples = wave_of("moi_real_8k")[0]
    low, high = moments(samples, 8000, 0.5), moments(samples, 8000, 1.3)
    kept = low.prominences >= 1.3
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(low.times[kept], high.times)
    np.testing.assert_array_equal(low.prominences[kept], high.prominences)


def test_long_sound_is_transformed_in_parts_without_a_trace(rng, monkeypatch):
    samples = rng.normal(0, 0.1, 5000).astype(np.float32)
    whole = log_spectrogram(samples, 8000)
    monkeypatch.setattr("egotools.lowlevel.moments.TOGETHER", 3)
    np.testing.assert_allclose(log_spectrogram(samples, 8000), whole, rtol=1e-12)


@pytest.mark.parametrize("count", [0, 1, 255, 256, 300])
def test_sound_too_short_for_a_peak_has_no_moments(count):
    found = moments(np.ones(count, np.float32), 44100)
    assert found.times.shape == found.prominences.shape == found.activity.shape == (0,)


def test_moments_are_at_least_ten_frames_apart_and_the_highest_stays():
    trace = np.zeros(60)
    trace[[20, 26, 40]] = 3, 4, 3
    assert peaks_of(trace, 224, 0.5).times.tolist() == frame_times(np.array([26, 40]), 224).tolist()
