"""Moments as rows of a cache: whose sound and picture decide, and clips in which there are none to find."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import cut, numbered, write_sound, write_tracks, write_video

from egotools.errors import ClipError, NoSound
from egotools.extraction import reading
from egotools.extraction.reading import Reader
from egotools.extractors import moments as module
from egotools.extractors.audio import LogMelSpectrogram
from egotools.extractors.color import Color
from egotools.extractors.moments import Moments
from egotools.lowlevel.moments import moments
from egotools.media.audio import open_sound, read_sound
from egotools.types import Clip

KNOCKS = (0.9, 1.7, 2.6)  # seconds


def knocks(rate: int, seconds: float, channels: int = 1, at: tuple[float, ...] = KNOCKS) -> np.ndarray:
    """[C, N]: faint noise with short loud bursts."""
    times, noise = np.arange(round(rate * seconds)) / rate, np.random.default_rng(0).normal(size=round(rate * seconds))
    loud = 0.002 + sum(0.2 * np.exp(-(times - begin) / 0.02) * (times >= begin) for begin in at)
    return np.repeat((loud * noise)[None], channels, axis=0)


def film(path: Path, samples: np.ndarray, rate: int, *, frames: int = 32, begins: float = 0.0) -> Path:
    """A video of 8 frames per second, with AAC that begins at a time."""
    layout = {1: "mono", 2: "stereo"}[len(samples)]
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=8)
        picture.height, picture.width, picture.pix_fmt = 64, 96, "yuv420p"
        sound = container.add_stream("aac", rate=rate, layout=layout, options={"aac_pns": "0"})
        for index in range(frames):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(numbered(index), format="rgb24")))
        container.mux(picture.encode())
        for first in range(0, samples.shape[1], 1024):
            piece = np.ascontiguousarray(samples[:, first : first + 1024], np.float32)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, first + round(begins * rate), Fraction(1, rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


def found(path: Path, start: float = 0.0, end: float | None = None, **options: object) -> np.ndarray:
    """[M, 4]: seconds of the file, prominence, activity, D."""
    rows = Moments(**options).rows(Clip("a", path, start, end))  # type: ignore[arg-type]
    assert (rows.times[:, 0] == rows.times[:, 1]).all()
    return np.column_stack([rows.times[:, 0], rows.values])


def loud(rows: np.ndarray, lowest: float = 2.0) -> list[float]:
    return rows[rows[:, 1] >= lowest, 0].tolist()


@pytest.mark.parametrize(
    ("rate", "channels"), [(8000, 1), (16000, 2), (44100, 1), (48000, 2)], ids=["8k", "16k stereo", "44k", "48k stereo"]
)
def test_moments_are_found_in_the_sound_at_its_own_rate_and_d_is_of_the_picture(tmp_path, rate, channels):
    path = film(tmp_path / "a.mp4", knocks(rate, 4.0, channels), rate)
    rows = found(path)
    assert loud(rows) == pytest.approx(KNOCKS, abs=256 / rate + 0.02)
    samples, read_rate = read_sound(path)
    assert read_rate == rate
    np.testing.assert_allclose(rows[:, 0], moments(samples, rate).times, atol=1e-9)
    np.testing.assert_allclose(rows[:, 3], 4.0, atol=1e-6)
    np.testing.assert_array_equal(found(path, rate=96000), rows)  # not raised
    lowered = found(path, rate=8000)
    assert (len(lowered) == len(rows) and (lowered == rows).all()) == (rate == 8000)


def test_times_are_the_files_and_a_clip_is_compared_with_itself_alone(tmp_path):
    path = film(tmp_path / "a.mp4", knocks(16000, 4.0), 16000)
    rows = found(path, 1.25, 3.5)
    assert loud(rows) == pytest.approx(KNOCKS[1:], abs=0.04)
    np.testing.assert_allclose(rows[:, 3], 2.25)
    samples, _ = read_sound(path, 1.25, 3.5)
    np.testing.assert_allclose(rows[:, 0], 1.25 + moments(samples, 16000).times, atol=1e-9)


def test_sound_may_begin_later_than_the_picture_and_end_before_it(tmp_path):
    rows = found(film(tmp_path / "late.mp4", knocks(16000, 2.5), 16000, begins=1.0), 0.0, 4.0)
    assert loud(rows) == pytest.approx([1.9, 2.7], abs=0.04)  # the third is cut off
    np.testing.assert_allclose(rows[:, 3], 4.0)
    short = film(tmp_path / "short.mp4", knocks(16000, 2.0), 16000)
    assert loud(found(short, 0.0, 4.0)) == pytest.approx(KNOCKS[:2], abs=0.04)
    assert found(short, 3.0, 4.0).shape == (0, 4)  # no failure: its picture is there
    longer = found(film(tmp_path / "longer.mp4", knocks(16000, 4.0), 16000, frames=16))
    np.testing.assert_allclose(longer[:, 3], 2.0)
    assert len(loud(longer)) == 3


def test_a_clip_outside_its_file_or_too_long_is_refused(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", knocks(16000, 4.0), 16000)
    with pytest.raises(ClipError, match=r"begins at 9 s, the file ends at 4\.000 s"):
        found(path, 9.0, 10.0)
    with pytest.raises(ClipError, match=r"ends at 10 s, the file at 4\.000 s"):
        found(path, 0.0, 10.0)
    monkeypatch.setattr(module, "MOST_SAMPLES", 32000)
    with pytest.raises(ClipError, match=r"4 s of sound, at most 2 s .*egotools manifest windows"):
        found(path)


def test_a_file_with_sound_only_lasts_as_long_as_its_sound_and_one_without_has_nothing(tmp_path):
    rows = found(write_sound(tmp_path / "a.wav", knocks(16000, 3.5), 16000))
    assert loud(rows) == pytest.approx(KNOCKS, abs=0.04)
    np.testing.assert_allclose(rows[:, 3], 3.5)
    assert found(write_sound(tmp_path / "silence.wav", np.zeros((1, 16000)), 16000)).shape == (0, 4)
    with pytest.raises(NoSound):
        found(write_video(tmp_path / "b.mp4", 8))


def test_the_public_file_has_the_moments_that_the_reference_finds(shared):
    golden = np.load(shared / "goldens/replai/moi_real_8k.npz", allow_pickle=False)
    rows = found(shared / "data/videos/v_GGSY1Qvo990.mp4")
    np.testing.assert_allclose(rows[rows[:, 1] >= 1, 0], golden["full44k_peak_time"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "text"),
    [({"prominence": 0.0}, "--prominence"), ({"rate": 0}, "--rate"), ({"stream": -1}, "--stream must be 0")],
)
def test_options_that_mean_nothing_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        Moments(**options)


def read(reader: Reader, clip: Clip, *, strict: bool = False) -> list[object]:
    return list(reader.read(clip, range(len(reader.extractors)), 0, 0, strict=strict))


def test_clips_of_one_file_share_its_open_sound_beside_other_extractors(tmp_path, monkeypatch):
    path, opened = film(tmp_path / "a.mp4", knocks(16000, 4.0), 16000), []
    monkeypatch.setattr(reading, "open_sound", lambda *where: opened.append(where) or open_sound(*where))
    reader = Reader([Moments(), LogMelSpectrogram(), Color(frames=1, fps=None)], 32)
    for start in (0.0, 1.0, 2.0):
        clip = Clip("a", path, start, start + 2.0)
        piece, color, spectra = read(reader, clip)
        alone = Moments().rows(clip)
        np.testing.assert_array_equal(piece.units, alone.values)
        np.testing.assert_array_equal(piece.times, alone.times)
        assert (piece.is_computed, len(color.rows), len(spectra.rows)) == (True, 1, 2)
    reader.close()
    assert opened == [(path, None)]


def test_a_clip_without_sound_is_valid_and_one_that_cannot_be_read_is_named(tmp_path):
    reader = Reader([Moments()], 32)
    (silent,) = read(reader, Clip("silent", write_video(tmp_path / "b.mp4", 8)))
    assert (silent.total, silent.is_computed) == (0, True)
    (gone,) = read(reader, Clip("gone", tmp_path / "c.mp4"))
    assert "c.mp4: no such file" in gone.reason
    (torn,) = read(reader, Clip("torn", cut(film(tmp_path / "d.mp4", knocks(16000, 4.0), 16000), 0.5)))
    assert "d.mp4: " in torn.reason
    assert "truncated" in torn.reason


def test_remarks_on_a_file_are_passed_on_and_refused_where_strictness_is_asked_for(tmp_path):
    path = write_tracks(tmp_path / "a.mkv", 0.1, 0.5, default=None)
    clip, reader = Clip("a", path), Reader([Moments()], 32)
    _, remarks = read(reader, clip)
    assert "number 0 (counted from 0) is read" in remarks.remarks[0]
    (refused,) = read(reader, clip, strict=True)
    assert "refused because of --strict" in refused.reason
    assert len(read(Reader([Moments(stream=1)], 32), clip, strict=True)) == 1
