"""Sound files that are damaged or cut short: told, and what comes after is never heard too early."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sounds import BURSTS, beginnings, encoded, heard, restamped

from egotools.errors import ClipError
from egotools.media.audio import open_sound


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.ogg", "libopus"), ("b.ogg", "vorbis")])
def test_sound_after_bytes_that_are_damaged_is_not_moved_up(name: str, codec: str, tmp_path: Path) -> None:
    path = encoded(tmp_path / name, codec, rate=48000, channels=2)
    data = bytearray(path.read_bytes())
    middle = len(data) * 7 // 10
    data[middle : middle + 100] = bytes(100)
    path.write_bytes(data)
    sound = open_sound(path)
    with pytest.raises(ClipError, match="the sound is lost from"):
        heard(sound)
    next(open_sound(path).windows(np.array([0.0]), 8000, 16000))


@pytest.mark.parametrize("name", ["a.mp3", "a.mka", "a.ogg"])
def test_coded_sound_cut_short_is_told(name: str, tmp_path: Path) -> None:
    path = encoded(tmp_path / name, "libmp3lame" if name == "a.mp3" else "libopus", rate=48000)
    assert open_sound(path).damage == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert open_sound(path).damage


def test_the_first_packets_stamped_late_begin_no_other_clock(tmp_path: Path) -> None:
    good = encoded(tmp_path / "good.mkv", "aac", rate=48000)
    sound = open_sound(restamped(good, tmp_path / "a.mkv", lambda n, pts, s: pts + 1000 * s * (n < 5)))
    np.testing.assert_allclose(beginnings(heard(sound)), BURSTS, atol=2e-3)
