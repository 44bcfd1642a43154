"""A stretch of sound alone: the samples asked for, the same bits whatever was read before."""

from __future__ import annotations

import json
import pickle
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from audible import sounding, write_audible
from sounds import encoded

from egotools.media.audio import Sound
from egotools.media.sound.known_sound import KnownSound, as_json, from_json

RATE = 16000


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of picture, three of sound in stereo."""
    return write_audible(tmp_path_factory.mktemp("sound") / "a.mp4", sound=3.0, channels=2, size=(32, 64))


def known(path: Path) -> KnownSound:
    with closing(Sound(path)) as sound:
        return sound.known


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_samples_are_those_of_the_file(suffix, tmp_path, lossless):
    path = lossless if suffix == ".mp4" else write_audible(tmp_path / "a.mkv", sound=3.0, channels=2, size=(32, 64))
    whole = sounding(3.0, RATE, 2).mean(0)
    with closing(Sound(path)) as sound:
        for start, end in [(1.2, 2.7), (0.0, 0.5), (0.30001, 0.30001 + 1.5), (2.9, 3.0)]:
            first, last = round(start * RATE), round(end * RATE)
            found = sound.alone(start, end)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, whole[first:last], atol=2e-4)  # 16 bits


def test_outside_of_the_sound_there_is_silence(lossless):
    with closing(Sound(lossless)) as sound:
        before, after = sound.alone(-0.5, 0.5), sound.alone(2.5, 4.0)
        assert [len(before), len(after)] == [RATE, 1.5 * RATE]
        assert not before[: RATE // 2].any()
        assert not after[RATE // 2 :].any()
        assert np.abs(before[RATE // 2 :]).min() < np.abs(before).max()
        np.testing.assert_array_equal(before[RATE // 2 :], sound.alone(0.0, 0.5))
        assert not sound.alone(3.5, 4.0).any()
        assert not sound.alone(-3.0, -1.0).any()


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "flac"])
def test_the_bits_do_not_depend_on_what_was_read_before(codec, tmp_path):
    path = encoded(tmp_path / "a.mp4", codec)  # AAC with noise that is drawn anew after a jump
    about = known(path)
    with closing(Sound(path, known=about)) as fresh:
        once = fresh.alone(2.4, 3.1)
    with closing(Sound(path)) as used:
        used.alone(0.2, 0.6)
        next(used.windows(np.array([1.0]), 1000, 8000))
        np.testing.assert_array_equal(used.alone(2.4, 3.1), once)
        np.testing.assert_array_equal(used.alone(2.4, 3.1), once)


def test_aac_is_decoded_exactly_after_a_jump(tmp_path):
    path = write_audible(tmp_path / "a.mp4", codec="aac", channels=2, size=(32, 64))
    with closing(Sound(path)) as sound:
        whole = sound.alone(0.0, 4.0)
        for start in (0.2, 0.9, 1.7, 2.6):
            np.testing.assert_array_equal(
                sound.alone(start, start + 1), whole[round(start * RATE) : round((start + 1) * RATE)]
            )


def test_what_is_known_opens_a_file_without_reading_it_through(lossless, tmp_path, monkeypatch):
    about = known(lossless)
    assert (about.rate, about.start, about.end, about.layout) == (RATE, 0.0, 3.0, "stereo")
    kept = from_json(json.loads(json.dumps(as_json(about))))
    monkeypatch.setattr("egotools.media.sound.sound_file.index_sound", None)
    for each in (about, kept, pickle.loads(pickle.dumps(about))):
        with closing(Sound(lossless, known=each)) as sound:
            assert (sound.info.rate, sound.info.channels, sound.info.end) == (RATE, 2, 3.0)
            np.testing.assert_allclose(
                sound.alone(1.0, 2.0), sounding(3.0, RATE, 2).mean(0)[RATE : 2 * RATE], atol=2e-4
            )


def test_what_is_no_such_description_is_refused(lossless):
    good = json.loads(json.dumps(as_json(known(lossless))))
    for name, value in [("rate", "8000"), ("layout", None)]:
        with pytest.raises(ValueError, match=name):
            from_json({**good, name: value})
    for name, value in [("parts", []), ("rate", 0)]:
        with pytest.raises(ValueError, match="without a part or a rate"):
            from_json({**good, name: value})
    with pytest.raises(ValueError, match="no fraction"):
        from_json({**good, "parts": [{**good["parts"][0], "end": [1, 0]}]})
