"""Overwritten bytes amid a video: a damaged picture is never passed on as if it were whole."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root
from media_files import noisy, number_of, numbers, write_video

from egotools.errors import ClipError
from egotools.manifests.check import measure
from egotools.media.video import Video


def overwritten(path: Path, frames: tuple[int, ...], *, length: int = 24) -> Path:
    """A copy of a video with other bytes amid some of its packets."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(1)
    for frame in frames:
        at = places[frame][0] + places[frame][1] // 3
        data[at : at + length] = rng.integers(0, 255, length, np.uint8).tobytes()
    target = path.with_name(f"bad{path.suffix}")
    target.write_bytes(data)
    return target


def motion_jpeg(path: Path) -> Path:
    # One thread: several write restart markers, at which decoders begin anew without a word.
    return write_video(path, noisy(60), codec="mjpeg", pixels="yuvj420p", options={"threads": "1", "qmin": "3"})


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mov"])
def test_a_damaged_motion_jpeg_loses_that_frame_alone(suffix: str, tmp_path: Path) -> None:
    good = motion_jpeg(tmp_path / f"good{suffix}")
    video = Video(overwritten(good, (7, 22)))
    assert len(video.info) == 60
    whole = [*range(7), *range(8, 22), *range(23, 60)]
    for frame, same in zip(video.frames(whole), Video(good).frames(whole), strict=True):
        np.testing.assert_array_equal(frame, same)
    for index, moment in ((7, "0.233 s"), (22, "0.733 s")):
        with pytest.raises(ClipError, match=f"frame {index} at {moment} "):
            numbers(video, [index])
    assert "frame 7 at 0.233 s" in measure(video.path, decode="everything").damage
    with pytest.raises(ClipError, match=r"frame 7 at 0\.233 s "):
        numbers(video, range(60))


def typed(*words: object) -> str:
    result = CliRunner().invoke(root, [str(word) for word in words])
    return f"{result.exit_code} {result.output}"


def test_a_clip_with_a_damaged_frame_fails_and_the_good_one_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    overwritten(motion_jpeg(folder / "good.avi"), (7, 22, 37, 52))
    manifest = tmp_path / "m.csv"
    typed("manifest", "folder", folder, "--out", manifest)
    checked = typed("manifest", "check", "--decode", manifest, "--json")
    assert checked.startswith("1 ")
    assert checked.count("0.233 s") == 1
    done = typed("extract", "--manifest", manifest, "--workers", 1, "--out", tmp_path / "c", "color", "--fps", 2)
    assert done.startswith("1 ")
    assert done.count("failed: bad: ") == 1
    assert "frame 7 at 0.233 s" in done
    assert "failed: good" not in done


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video", "mpeg4"])
def test_damage_that_later_frames_refer_to_is_found_where_they_are_wanted(codec: str, tmp_path: Path) -> None:
    options = {"g": "20", "bf": "0", "x264-params": "scenecut=0"} if codec == "libx264" else {"g": "20", "bf": "0"}
    path = write_video(tmp_path / ("a.mp4" if codec == "libx264" else "a.mkv"), noisy(60), codec=codec, options=options)
    video = Video(overwritten(path, (25,)))
    if video.damage:  # its frames had to be counted
        assert video.damage.startswith("damaged: 25 frames can be read; then the frame at 0.833 s")
        return
    assert numbers(video, [3, 24, 45]) == [3, 24, 45]
    with pytest.raises(ClipError, match=r"0\.8[36][37] s"):
        numbers(video, [30])


def test_what_a_hash_says_of_a_picture_is_heeded(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none:hash=1:keyint=10:bframes=0"}
    good = write_video(tmp_path / "a.mkv", noisy(30), codec="libx265", options=options)
    assert [number_of(frame) for frame in Video(good).frames(range(30))] == list(range(30))
    video = Video(overwritten(good, (15,)))
    assert numbers(video, [9]) == [9]
    with pytest.raises(ClipError, match=r"decoding fails at 0\.5"):
        numbers(video, [19])
