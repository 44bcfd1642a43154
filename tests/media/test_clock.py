"""Files whose clock wraps, or restarts where they were concatenated: one ascending time for video and audio."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import numbered, numbers, write_video

from egotools.extractors.lookup import find_extractor
from egotools.manifests.check import check_clips
from egotools.media.audio import open_sound
from egotools.media.clock import Read, all_packets, clock_of
from egotools.media.containers import open_container
from egotools.media.video import Video
from egotools.sampling import single_frames
from egotools.types import AudioExtractor, Clip

TICKS = 90000


def both(path: Path, first: int, count: int, at: float = 0.0, *, format: str = "mpegts") -> bytes:
    """Picture at 30 a second, numbered from `first` on, with as much sound; both begin `at` seconds of the clock."""
    codecs = {"mpegts": ("libx264", "aac", "fltp"), "mpeg": ("mpeg2video", "mp2", "s16")}
    codec, sound_codec, kind = codecs.get(format, codecs["mpegts"])
    with av.open(str(path), "w", format=format) as container:
        video = container.add_stream(codec, rate=30, options={"bf": "2", "g": "15"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = container.add_stream(sound_codec, rate=48000, layout="mono", format=kind)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(first + number), format="rgb24")
            frame.pts, frame.time_base = round(at * 30) + number, Fraction(1, 30)
            container.mux(video.encode(frame))
            samples = np.sin(np.arange(1600) / 17)[None] * 10000
            heard = av.AudioFrame.from_ndarray(samples.astype(np.int16), format="s16", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = 48000, round(at * 48000) + 1600 * number, Fraction(1, 48000)
            for part in av.AudioResampler(format=kind, layout="mono", rate=48000).resample(heard):
                container.mux(sound.encode(part))
        container.mux(video.encode())
        container.mux(sound.encode())
    return path.read_bytes()


def joined(path: Path, *parts: tuple[int, int, float], format: str = "mpegts") -> Path:
    """Files one after the other, as `cat` joins them; each of `first`, `count`, `at`."""
    whole = b"".join(both(path.with_name(f"{i}{path.name}"), *part, format=format) for i, part in enumerate(parts))
    path.write_bytes(whole)
    return path


def rows(path: Path) -> int:
    return len(single_frames(Video(path).info, Clip("a", path), fps=2.0, frames=None, stride=None).times)


def added(path: Path) -> list[set[float]]:
    """For each stream, the seconds that are added to stamps of it."""
    with open_container(path) as container:
        read = Read()
        for _ in read.note(all_packets(container), of=container.streams[0]):
            pass
        clock = clock_of(container, read)
        return [
            {round(ticks / TICKS, 6) for ticks in clock.changes.get(stream.index, ((), ()))[1]}
            for stream in container.streams
        ]


@pytest.mark.parametrize(
    ("first", "second"),
    [(0.0, 0.0), pytest.param(0.0, 5000.0, id="a later clock"), pytest.param(300.0, 0.0, id="an earlier clock")],
)
def test_joined_recordings_go_on(first: float, second: float, tmp_path: Path) -> None:
    path = joined(tmp_path / "ab.ts", (0, 57, first), (57, 60, second))
    video, sound = Video(path), open_sound(path)
    count, start = len(video.info), video.info.times[0]
    assert count == 117
    assert start == pytest.approx(first + 0.03, abs=0.04)
    assert video.info.end - start == pytest.approx(3.9, abs=0.06)
    assert np.diff(video.info.times).max() < 0.08
    assert sound.info.end - sound.info.start == pytest.approx(3.9, abs=0.1)
    assert sound.info.end == pytest.approx(video.info.end, abs=0.05)
    assert numbers(video, range(count)) == list(range(117))
    assert rows(path) == 8
    assert video.damage == ""
    (problem,) = check_clips([Clip("a", path)])
    assert problem.problem == "remark"
    moment = float(problem.detail.removeprefix("the clock restarts at ").split()[0])
    assert moment == pytest.approx(first + 1.95, abs=0.05)
    log_mel = find_extractor("log-mel").kind()
    assert isinstance(log_mel, AudioExtractor)
    assert log_mel.sound_windows(sound.info, Clip("a", path)).times[-1, 1] > first + 3.8


@pytest.mark.parametrize(
    "parts", [[(0, 57, 0.0), (57, 60, 0.0), (117, 40, 900.0), (157, 40, 20.0)], [(0, 50, 0.0)] * 4]
)
def test_picture_and_sound_stay_together_over_several_seams(
    parts: list[tuple[int, int, float]], tmp_path: Path
) -> None:
    path = joined(tmp_path / "a.ts", *parts)
    of_picture, of_sound = added(path)
    assert len(of_picture) == 4
    assert of_picture == of_sound
    video, frames = Video(path), sum(count for _, count, _ in parts)
    assert numbers(video, range(frames)) == [first + i for first, count, _ in parts for i in range(count)]
    assert video.info.end - video.info.times[0] == pytest.approx(frames / 30, abs=0.2)


def test_what_is_lost_from_a_joined_recording_is_told(tmp_path: Path) -> None:
    data = joined(tmp_path / "ab.ts", (0, 57, 0.0), (57, 60, 0.0)).read_bytes()
    (tmp_path / "lost.ts").write_bytes(data[: 150 * 188] + data[160 * 188 :])
    assert Video(tmp_path / "lost.ts").damage.startswith("damaged: ")


def test_joined_program_streams_go_on(tmp_path: Path) -> None:
    path = joined(tmp_path / "ab.mpg", (0, 40, 0.0), (40, 40, 0.0), format="mpeg")
    video = Video(path)
    assert numbers(video, range(80)) == list(range(80))
    assert video.info.end - video.info.times[0] == pytest.approx(80 / 30, abs=0.06)
    assert "restarts" in video.remarks[0]


def test_joined_matroska_files_go_on(tmp_path: Path) -> None:
    path = joined(tmp_path / "ab.mkv", (0, 40, 0.0), (40, 40, 0.0), format="matroska")
    video, sound = Video(path), open_sound(path)
    assert numbers(video, range(80)) == list(range(80))
    assert video.info.end == pytest.approx(sound.info.end, abs=0.04)
    assert "restarts" in video.remarks[0]


def test_what_follows_in_a_joined_flv_is_missed(tmp_path: Path) -> None:
    assert Video(joined(tmp_path / "a.flv", (0, 20, 0.0), format="flv")).damage == ""
    path = joined(tmp_path / "ab.flv", (0, 20, 0.0), (20, 20, 0.0), format="flv")
    assert Video(path).damage.startswith("truncated: 20 frames can be read; the ")


@pytest.mark.parametrize("later", [0.0, 100.0])
def test_the_third_of_joined_matroska_files_is_missed(later: float, tmp_path: Path) -> None:
    parts = [(20 * number, 20, later * number) for number in range(3)]
    video = Video(joined(tmp_path / "abc.mkv", *parts, format="matroska"))  # FFmpeg 8 reads two
    assert numbers(video, range(len(video.info))) == list(range(len(video.info)))
    assert video.damage.startswith("truncated: 40 frames can be read; the ") or len(video.info) == 60


def test_a_clock_that_wraps_counts_on(tmp_path: Path) -> None:
    first = 2**33 - 2 * TICKS
    ticks = range(first, first + 120 * 3000, 3000)
    path = write_video(
        tmp_path / "a.ts", 120, rate=TICKS, ticks=ticks, options={"bf": "0", "g": "15"}, format="mpegts",
        container_options={"mpegts_copyts": "1"},
    )  # fmt: skip
    video = Video(path)
    np.testing.assert_allclose(np.diff(video.info.times), 1 / 30, atol=1e-4)
    assert video.info.times[0] == pytest.approx(first / TICKS, abs=2)
    assert rows(path) == 8
    assert numbers(video, [0, 60, 119]) == [0, 60, 119]
    assert len(video.remarks) == 1
    assert "wraps" in video.remarks[0]


@pytest.mark.parametrize("seconds", [range(0, 300, 15), [0, 0.1, 0.2, 5.2, 5.3, 5.4, 12.4, 12.5, 12.6]])
def test_pauses_of_a_transport_stream_stay(seconds: Sequence[float], tmp_path: Path) -> None:
    ticks = [round(at * TICKS) for at in seconds]
    path = write_video(tmp_path / "a.ts", len(ticks), rate=TICKS, ticks=ticks, options={"bf": "0"}, format="mpegts")
    video = Video(path)
    np.testing.assert_allclose(video.info.times - video.info.times[0], list(seconds), atol=1e-3)
    assert video.remarks == []


def test_picture_and_sound_wrap_together(tmp_path: Path) -> None:
    both(tmp_path / "a.ts", 0, 60, 95442.0)
    assert added(tmp_path / "a.ts") == [{0, 95443.717689}] * 2
    video, sound = Video(tmp_path / "a.ts"), open_sound(tmp_path / "a.ts")
    np.testing.assert_allclose(np.diff(video.info.times), 1 / 30, atol=1e-4)
    assert video.info.times[0] > 95440
    assert video.info.end == pytest.approx(sound.info.end, abs=0.04)


def test_a_clock_near_its_wrap_is_as_the_file_says(tmp_path: Path) -> None:
    both(tmp_path / "a.ts", 0, 30, 90000.0)
    assert added(tmp_path / "a.ts") == [set(), set()]
    assert Video(tmp_path / "a.ts").info.times[0] == pytest.approx(90000, abs=2)
