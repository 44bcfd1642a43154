"""Sounds that tell their own time: a ramp or a chirp has a different value at every sample."""

from __future__ import annotations

import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import write_sound, write_video

import egotools.media.audio
import egotools.media.sound.sound_file
from egotools.errors import ClipError
from egotools.media.audio import open_sound, read_sound
from egotools.media.sound.steady_sound import PIECE


def sines(rate: int, seconds: float, frequencies: tuple[float, ...] = (440.0,)) -> np.ndarray:
    """[C, N]: one sine a channel."""
    moments = np.arange(round(rate * seconds)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * frequency * moments) for frequency in frequencies])


def noise(rng: np.random.Generator, count: int, channels: int = 1) -> np.ndarray:
    return np.round(rng.uniform(-0.9, 0.9, (channels, count)) * 32768) / 32768  # what 16 bits can hold


def all_windows(path: Path, starts: Any, length: int, rate: int, **options: Any) -> np.ndarray:
    sound = open_sound(path)
    try:
        return np.array(list(sound.windows(np.asarray(starts, float), length, rate, **options)))
    finally:
        sound.close()


@pytest.fixture
def jumps_soon(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Jumps already over two seconds; a list of one number: how many frames were decoded."""
    monkeypatch.setattr(egotools.media.audio, "JUMP_SECONDS", 2.0)
    count = [0]
    real = egotools.media.sound.sound_file.decoded

    def counting(*arguments: Any, **options: Any) -> Iterator[Any]:
        for frame in real(*arguments, **options):
            count[0] += 1
            yield frame

    monkeypatch.setattr(egotools.media.sound.sound_file, "decoded", counting)
    return count


def test_windows_at_the_files_rate_are_its_samples(tmp_path: Path, rng: np.random.Generator) -> None:
    samples = noise(rng, 20000)
    path = write_sound(tmp_path / "a.wav", samples, 8000)
    sound = open_sound(path)
    assert (sound.info.rate, sound.info.channels, sound.info.start, sound.info.end) == (8000, 1, 0.0, 2.5)
    starts = np.array([0.0, 0.1, 0.1, 0.15, 1.0, 2.0])
    for start, window in zip(starts, sound.windows(starts, 1600, 8000), strict=True):
        first = round(start * 8000)
        assert window.dtype == np.float32
        np.testing.assert_array_equal(window, samples[0, first : first + 1600])


def test_outside_the_stream_is_silence(tmp_path: Path, rng: np.random.Generator) -> None:
    samples = noise(rng, 4000)
    path = write_sound(tmp_path / "a.wav", samples, 8000)
    before, across, after, beyond = all_windows(path, [-1.0, -0.1, 0.4, 7.0], 1600, 8000)
    assert not before.any()
    assert not beyond.any()
    np.testing.assert_array_equal(across, np.concatenate([np.zeros(800), samples[0, :800]]))
    np.testing.assert_array_equal(after, np.concatenate([samples[0, 3200:], np.zeros(800)]))


@pytest.mark.parametrize(("source", "rate"), [(44100, 16000), (48000, 16000), (8000, 16000), (22050, 44100)])
def test_a_sine_stays_the_same_sine_at_another_rate(source: int, rate: int, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", sines(source, 3.0), source)
    starts = [0.25, 0.5, 1.7]
    for start, window in zip(starts, all_windows(path, starts, rate // 2, rate), strict=True):
        moments = round(start * rate) / rate + np.arange(rate // 2) / rate
        # 16 bits and the filter's ripple; one sample off would be 0.5 * 2 pi * 440 / rate, at least 0.03
        np.testing.assert_allclose(window, 0.5 * np.sin(2 * np.pi * 440 * moments), atol=2e-3)


def test_mono_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    samples = sines(16000, 1.0, (300.0, 900.0))
    path = write_sound(tmp_path / "a.wav", samples, 16000)
    mono = all_windows(path, [0.0], 16000, 16000)[0]
    both = all_windows(path, [0.0], 16000, 16000, mono=False)[0]
    np.testing.assert_allclose(both, samples, atol=1 / 32768)
    np.testing.assert_allclose(mono, samples.mean(axis=0), atol=1 / 32768)
    assert all_windows(path, [0.2], 800, 8000, mono=False)[0].shape == (2, 800)


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [("a.wav", "pcm_s16le", "s16"), ("a.flac", "flac", "s16"), ("a.mp4", "aac", "fltp"), ("a.mkv", "aac", "fltp"),
     ("a.mp3", "libmp3lame", "fltp"), ("a.ogg", "libopus", "flt"), ("a.mov", "pcm_f32le", "flt")],
)  # fmt: skip
def test_a_late_window_is_the_same_whether_read_up_to_or_opened_at(
    name: str, codec: str, format: str, tmp_path: Path, jumps_soon: list[int], rng: np.random.Generator
) -> None:
    path = write_sound(tmp_path / name, noise(rng, 48000 * 9) * 0.5, 48000, codec=codec, format=format)
    every = np.arange(0, 9, 0.5)
    for rate in (16000, 48000):
        jumps_soon[0] = 0
        in_order = all_windows(path, every, rate // 2, rate)
        whole = jumps_soon[0]
        jumps_soon[0] = 0
        late = all_windows(path, [7.5], rate // 2, rate)[0]
        assert np.abs(late).max() > 0.1
        np.testing.assert_array_equal(late, in_order[15])
        if name.endswith((".wav", ".flac", ".mp4", ".mov")):
            assert jumps_soon[0] < 0.5 * whole
        again = all_windows(path, [1.0, 7.5], rate // 2, rate)
        np.testing.assert_array_equal(again, in_order[[2, 15]])


def test_windows_of_one_file_in_order_cost_one_decode(tmp_path: Path, jumps_soon: list[int]) -> None:
    sound = open_sound(write_sound(tmp_path / "a.wav", sines(8000, 6.0), 8000))
    list(sound.windows(np.array([0.0]), 48000, 8000))
    whole = jumps_soon[0]
    for start in np.arange(0, 6, 0.5):
        list(sound.windows(np.array([start]), 4000, 16000))
    assert jumps_soon[0] <= 2 * whole + 2


def test_memory_is_bounded_by_the_windows(tmp_path: Path, rng: np.random.Generator) -> None:
    sound = open_sound(write_sound(tmp_path / "a.wav", noise(rng, 8000 * 60), 8000))
    for window in sound.windows(np.arange(0, 60, 0.5), 8000, 8000):
        assert window.shape == (8000,)
        reading = sound._reading or pytest.fail("the reading goes on")
        assert sum(piece.shape[1] for piece in reading.held[8000].pieces) <= 8000 + 2 * PIECE


def test_a_sound_that_begins_late_keeps_its_time(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mkv", np.full((1, 16000), 0.5), 16000, codec="pcm_s16le", first=24000)
    sound = open_sound(path)
    assert sound.info.start == pytest.approx(1.5)
    window = next(sound.windows(np.array([1.0]), 16000, 16000))
    np.testing.assert_allclose(window, np.repeat([0.0, 0.5], 8000), atol=1e-4)


def test_starts_that_descend_and_empty_windows_are_refused(tmp_path: Path) -> None:
    sound = open_sound(write_sound(tmp_path / "a.wav", np.zeros((1, 800)), 8000))
    for starts, length, rate in [([1.0, 0.5], 10, 8000), ([float("nan")], 10, 8000), ([0.0], 0, 8000), ([0.0], 1, 0)]:
        with pytest.raises(ValueError, match=r"ascend|at least"):
            list(sound.windows(np.array(starts), length, rate))


def test_files_without_sound_are_said_plainly(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "text.wav").write_text("no sound at all\n" * 99)
    (tmp_path / "empty.wav").write_bytes(b"")
    write_video(tmp_path / "silent.mp4", 5)
    write_sound(tmp_path / "one.wav", noise(rng, 800), 8000)
    messages = {
        "text.wav": "not a video or sound file",
        "empty.wav": "the file is empty",
        "none.wav": "no such file",
        "silent.mp4": "no audio stream in this file",
    }
    for name, message in messages.items():
        with pytest.raises(ClipError, match=f"{name}: {message}"):
            open_sound(tmp_path / name)
    with pytest.raises(ClipError, match="no audio stream 1; the file has 1"):
        open_sound(tmp_path / "one.wav", 1)


def test_a_sound_cut_short_has_what_is_left(tmp_path: Path, rng: np.random.Generator) -> None:
    samples = noise(rng, 16000)
    path = write_sound(tmp_path / "a.wav", samples, 8000)
    path.write_bytes(path.read_bytes()[: 44 + 16000])
    window = all_windows(path, [0.0], 16000, 8000)[0]
    assert 6000 <= np.flatnonzero(window)[-1] < 8100
    np.testing.assert_array_equal(window[:6000], samples[0, :6000])


def test_a_part_of_a_file_is_read_at_once(tmp_path: Path, rng: np.random.Generator) -> None:
    samples = noise(rng, 16000, 2)
    path = write_sound(tmp_path / "a.wav", samples, 8000)
    part, rate = read_sound(path, 0.5, 1.0, mono=False)
    assert rate == 8000
    np.testing.assert_array_equal(part, samples[:, 4000:8000])
    assert read_sound(path, rate=16000)[0].shape == (32000,)


def test_real_digits_are_read_as_the_wave_module_reads_them(shared: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "data/audio/fsdd.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".wav")][::90]
        archive.extractall(tmp_path, names)
    for name in names:
        with wave.open(str(tmp_path / name)) as file:
            expected = np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(32768)
        samples, rate = read_sound(tmp_path / name)
        assert rate == 8000
        np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize(
    ("name", "stream", "rate", "channels", "seconds"),
    [
        ("nasa_13013.mp4", 0, 8000, 2, 13.0),
        ("nasa_13013.mp4", 1, 16000, 2, 13.0),
        ("flipping_a_pancake.mkv", 0, 48000, 1, 10.37),
        ("big_buck_bunny_0_30.webm", 0, 44100, 2, 30.0),
        ("apply_eye_makeup.avi", 0, 44100, 2, 6.56),
        ("gopro_max_walk.mp4", 0, 48000, 2, 10.5),
    ],
)
def test_real_videos_have_their_sound(
    name: str, stream: int, rate: int, channels: int, seconds: float, shared: Path
) -> None:
    sound = open_sound(shared / "data/videos" / name, stream)
    assert (sound.info.rate, sound.info.channels) == (rate, channels)
    assert sound.info.end == pytest.approx(seconds, abs=0.1)
    windows = list(sound.windows(np.arange(0, seconds, 1.0), 16000, 16000))
    assert sum(window.std() > 1e-3 for window in windows) > 0.6 * len(windows)
