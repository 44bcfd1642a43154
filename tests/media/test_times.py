"""When frames show: in files whose stamps are wrong, or that have none."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import number_of, numbered, numbers, write_video
from PIL import Image

from egotools.manifests.check import check_clips, measure
from egotools.manifests.folders import clips_of, list_folder
from egotools.manifests.partition import cut_windows
from egotools.media.video import Video, open_frames
from egotools.sampling import frame_stacks, single_frames
from egotools.types import Clip


def restamped(path: Path, source: Path, change: Callable[[int, int, int], tuple[int, int]]) -> Path:
    """A copy of a video whose packets are stamped `change(number, pts, dts)`, in the ticks of the source."""
    with av.open(str(source)) as read, av.open(str(path), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for number, packet in enumerate(packet for packet in read.demux(video=0) if packet.size):
            assert packet.pts is not None
            assert packet.dts is not None
            packet.pts, packet.dts = change(number, packet.pts, packet.dts)
            packet.stream = stream
            write.mux(packet)
    return path


def rows(path: Path, fps: float = 2.0) -> int:
    return len(single_frames(open_frames(path).info, Clip("a", path), fps=fps, frames=None, stride=None).times)


def pausing(tmp_path: Path) -> Path:
    """1 s at 30 a second, a pause to 11 s, 1 s more; frames 5 and 6 carry the same millisecond."""
    source = write_video(tmp_path / "plain.mkv", 60, rate=1000, ticks=range(0, 60 * 33, 33), options={"bf": "0"})
    ticks = [33 * i + (11000 - 990 if i >= 30 else 0) for i in range(60)]
    ticks[6] = ticks[5]
    return restamped(tmp_path / "pause.mkv", source, lambda number, *_: (ticks[number], ticks[number]))


def test_a_repeated_stamp_moves_one_frame(tmp_path: Path) -> None:
    video = Video(pausing(tmp_path))
    expected = [0.033 * i + (10.01 if i >= 30 else 0) for i in range(60)]
    np.testing.assert_allclose(video.info.times, expected, atol=0.002)
    assert video.info.end == pytest.approx(11.99, abs=0.002)
    assert rows(video.path) == 24
    (remark,) = video.remarks
    assert remark.startswith("1 frame has the timestamp of the one before (frame 6 at 0.165 s)")
    assert numbers(video, [4, 5, 6, 7]) == [4, 5, 6, 7]
    assert numbers(video, [6]) == [6]  # reached by a jump, past the frame with the same stamp
    assert numbers(video, [5, 30]) == [5, 30]


def test_the_last_frame_far_from_all_others_makes_no_rows(tmp_path: Path) -> None:
    source = write_video(tmp_path / "good.mp4", 60, options={"bf": "0", "g": "15"})
    far = 90_000 * 15360
    path = restamped(
        tmp_path / "far.mp4", source, lambda n, pts, dts: (pts + far, dts + far) if n == 59 else (pts, dts)
    )
    assert rows(path) == 4
    (problem,) = check_clips([Clip("a", path)])
    assert problem.problem == "remark"
    assert "frame 59 has timestamp 90001.9" in problem.detail
    assert numbers(Video(path), [58, 59]) == [58, 59]
    assert measure(path).end == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("options", [{"bf": "0", "g": "15"}, {"bf": "2", "g": "15"}])
def test_a_stamp_out_of_order_moves_one_frame(options: dict[str, str], tmp_path: Path) -> None:
    source = write_video(tmp_path / "good.mp4", 60, options=options)
    late = 500 * 15360
    path = restamped(tmp_path / "glitch.mkv", source, lambda n, pts, dts: (pts + late * (n == 30), dts))
    video = Video(path)
    np.testing.assert_allclose(video.info.times, np.arange(60) / 30, atol=0.002)
    assert video.info.end == pytest.approx(2.0, abs=0.002)
    assert numbers(video, range(60)) == list(range(60))
    assert rows(path) == 4
    assert len(video.remarks) == 1
    assert "out of order" in video.remarks[0]


@pytest.mark.parametrize(
    ("name", "codec", "rate", "options"),
    [
        ("xvid.avi", "mpeg4", 25, {"bf": "2"}),
        ("h264.avi", "libx264", 10, {"bf": "2"}),
        ("plain.avi", "mjpeg", 10, {}),
        ("xvid.wmv", "mpeg4", 25, {"bf": "2"}),
        ("h264.wmv", "libx264", 10, {"bf": "2"}),
    ],
)
def test_formats_without_showing_times_begin_at_0(
    name: str, codec: str, rate: int, options: dict[str, str], tmp_path: Path
) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    format = "asf" if name.endswith("wmv") else None
    path = write_video(tmp_path / name, 40, codec=codec, rate=rate, options=options, pixels=pixels, format=format)
    video = Video(path)
    np.testing.assert_allclose(video.info.times, np.arange(40) / rate, atol=0.0011)
    assert video.info.end == pytest.approx(40 / rate, abs=0.0011)
    assert video.remarks == []
    assert numbers(video, range(40)) == list(range(40))


@pytest.mark.parametrize(("codec", "bf"), [("mjpeg", "0"), ("mpeg4", "2"), ("libx264", "0"), ("libx264", "2")])
def test_dropped_frames_of_an_avi_hold_the_one_before(codec: str, bf: str, tmp_path: Path) -> None:
    ticks = [tick for tick in range(40) if tick not in (10, 11, 12, 38)]
    pixels, options = ("yuvj420p", {}) if codec == "mjpeg" else ("yuv420p", {"bf": bf})
    path = write_video(tmp_path / "a.avi", 36, codec=codec, pixels=pixels, options=options, ticks=ticks)
    np.testing.assert_allclose(Video(path).info.times, np.array(ticks) / 30, atol=0.034)


@pytest.mark.parametrize(
    ("suffix", "codec", "format", "pixels"),
    [
        (".h264", "libx264", "h264", "yuv420p"),
        (".265", "libx265", "hevc", "yuv420p"),
        (".m2v", "mpeg2video", "mpeg2video", "yuv420p"),
        (".m1v", "mpeg1video", "mpeg1video", "yuv420p"),
        (".ivf", "libvpx", "ivf", "yuv420p"),
        (".y4m", "wrapped_avframe", "yuv4mpegpipe", "yuv420p"),
    ],
)
@pytest.mark.parametrize("rate", [24, 60])
def test_a_raw_stream_takes_the_rate_of_its_header(
    suffix: str, codec: str, format: str, pixels: str, rate: int, tmp_path: Path
) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_video(
        tmp_path / f"a{suffix}", 30, codec=codec, format=format, pixels=pixels, rate=rate, options=options
    )
    frames = open_frames(path)
    np.testing.assert_allclose(frames.info.times, np.arange(30) / rate, atol=1e-6)
    assert frames.info.end == pytest.approx(30 / rate, abs=1e-6)
    assert frames.remarks == []
    assert [item.kind for item in list_folder(tmp_path).found] == ["video"]
    assert [number_of(frame) for frame in frames.frames([0, 29])] == [0, 29]


@pytest.mark.parametrize("bf", ["0", "2"])
@pytest.mark.parametrize("rate", [Fraction(25, 2), Fraction(30000, 1001), Fraction(15)])
def test_a_raw_mpeg4_stream_takes_the_rate_of_its_pictures(rate: Fraction, bf: str, tmp_path: Path) -> None:
    path = tmp_path / "a.m4v"
    with av.open(str(path), "w", format="m4v") as container:
        stream = container.add_stream("mpeg4", rate=rate, options={"bf": bf, "g": "12"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    np.testing.assert_allclose(Video(path).info.times, np.arange(40) / float(rate), atol=1e-6)


def test_a_raw_stream_without_a_rate_takes_the_one_that_is_given(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mjpeg", 30, codec="mjpeg", format="mjpeg", pixels="yuvj420p", rate=10)
    assert open_frames(path, 10.0).info.end == pytest.approx(3.0)
    assert open_frames(path, 10.0).remarks == []
    assumed = open_frames(path)
    assert assumed.info.end == pytest.approx(30 / 25)
    assert "25 frames per second are assumed" in assumed.remarks[0]


def test_an_hevc_stream_without_a_rate_in_its_header_says_what_is_assumed(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none:vui-timing-info=0"}
    path = write_video(tmp_path / "a.hevc", 20, codec="libx265", format="hevc", rate=10, options=options)
    assert [clip.fps for clip in clips_of(list_folder(tmp_path).found)] == [None]
    (clip,) = clips_of(list_folder(tmp_path).found, fps=10)
    assert open_frames(path, clip.fps).info.end == pytest.approx(2.0)
    (problem,) = check_clips([Clip("a", path)])
    assert problem.detail == "no frame rate in its header or in column fps; 25 frames per second are assumed"


def test_a_y4m_without_a_rate_takes_the_one_that_is_given(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.y4m", 10, codec="wrapped_avframe", format="yuv4mpegpipe", rate=15)
    path.write_bytes(path.read_bytes().replace(b" F15:1", b"", 1))
    assert open_frames(path, 20.0).info.end == pytest.approx(0.5)
    assert len(open_frames(path).remarks) == 1


def test_a_header_is_believed_before_the_manifest(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.h264", 30, format="h264", rate=15)
    frames = open_frames(path, 30.0)
    assert frames.info.end == pytest.approx(2.0)
    assert frames.remarks == ["its header states 15 frames per second, not 30; the header is used"]


@pytest.mark.parametrize("suffix", [".gif", ".mkv"])
def test_the_last_frame_stays_as_long_as_the_file_says(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"stays{suffix}"
    if suffix == ".gif":
        images = [Image.fromarray(numbered(number)) for number in range(6)]
        images[0].save(path, save_all=True, append_images=images[1:], duration=[100] * 5 + [5000])
    else:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for number in range(6):
                frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
                for packet in [*stream.encode(frame), *(stream.encode() if number == 5 else [])]:
                    packet.duration = round((5.0 if number == 5 else 0.1) / packet.time_base)
                    container.mux(packet)
    video = Video(path)
    assert video.info.end == pytest.approx(5.5, abs=0.002)
    assert rows(path) == 11
    assert video.remarks == []


def test_a_stretch_without_frames_has_no_rows(tmp_path: Path) -> None:
    ticks = [*range(60), *range(3 * 3600 * 30, 3 * 3600 * 30 + 60)]
    video = Video(write_video(tmp_path / "a.mkv", 120, ticks=ticks, options={"bf": "0"}))
    assert video.info.times[60] == pytest.approx(3 * 3600)
    assert video.remarks == ["no frames between 2.0 s and 10800.0 s; no rows are made there"]
    assert rows(video.path) == 8
    assert video.info.fps == pytest.approx(30, rel=0.01)
    clip = Clip("a", video.path)
    strided = single_frames(video.info, clip, fps=None, frames=None, stride=30)
    assert strided.times.ravel() == pytest.approx([0, 0.033, 1, 1.033, 10800, 10800.033, 10801, 10801.033], abs=0.002)
    four = single_frames(video.info, clip, fps=None, frames=4, stride=None)
    assert four.times[:, 0] == pytest.approx([0, 1, 10800, 10801], abs=0.002)
    assert four.frames[:, 0].tolist() == [15, 45, 75, 105]
    stacks = frame_stacks(video.info, clip, length=15, fps=None, hop=None, clips=None)
    assert len(stacks.times) == 8
    two = frame_stacks(video.info, clip, length=15, fps=None, hop=None, clips=2)
    assert two.times[:, 0] == pytest.approx([0, 10801.5], abs=0.01)
    span = measure(video.path)
    assert span.frame == pytest.approx(1 / 30, rel=0.01)
    assert len(cut_windows(clip, (span.start, span.end), length=2, gaps=span.gaps)) == 2


def test_a_last_frame_that_stays_for_a_day_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            for packet in [*stream.encode(frame), *(stream.encode() if number == 5 else [])]:
                packet.duration = 864_000 if packet.pts == 5 else 1
                container.mux(packet)
    video = Video(path)
    assert video.info.end == pytest.approx(0.6, abs=0.002)
    assert video.remarks == ["the last frame has a duration of 86400.000 s; 0.100 s are used"]


def test_frames_with_one_stamp_on_either_side_of_a_key_frame_are_told_apart(tmp_path: Path) -> None:
    source = write_video(tmp_path / "good.mp4", 60, options={"bf": "0", "g": "15"})
    path = restamped(tmp_path / "a.mkv", source, lambda n, pts, dts: (pts + 5120 - 512 * (n == 30), dts))
    video = Video(path)
    assert video.remarks[0].startswith("1 frame has the timestamp of the one before (frame 30 at 1.3")
    for frame in (45, 29, 30, 59, 31, 29):  # reached by jumps
        assert numbers(video, [frame]) == [frame]


@pytest.mark.parametrize("late", [3, -3, 15, -15])
def test_a_stamp_wrong_by_little_costs_no_other_frame(late: int, tmp_path: Path) -> None:
    source = write_video(tmp_path / "good.mp4", 60, options={"bf": "2", "g": "15"})
    path = restamped(tmp_path / "a.mkv", source, lambda n, pts, dts: (pts + 15360 + 512 * late * (n == 30), dts))
    video = Video(path)
    found = numbers(video, range(60))
    assert sorted(found) == list(range(60))
    late_by = video.info.times - np.array(found) / 30 - 1
    changed = int(np.argmax(np.abs(late_by)))
    np.testing.assert_allclose(np.delete(late_by, changed), 0, atol=0.02)
    assert abs(late_by[changed]) <= abs(late) / 30 + 0.002


def test_a_clock_that_goes_back_in_a_video_goes_on(tmp_path: Path) -> None:
    source = write_video(tmp_path / "good.mp4", 60, options={"bf": "2", "g": "15"})
    path = restamped(tmp_path / "a.mkv", source, lambda n, pts, dts: (pts + 10 * 15360 - 3 * 15360 * (n >= 30), dts))
    video = Video(path)
    assert numbers(video, range(60)) == list(range(60))
    np.testing.assert_allclose(np.diff(video.info.times), 1 / 30, atol=0.002)
    assert len(video.remarks) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("bf", "number", "late"), [("2", 30, 10.0), ("2", 31, 10.0), ("0", 31, 10.0), ("0", 45, 0.5), ("2", 12, -0.3)]
)
def test_a_frame_stamped_as_no_decoder_gives_it_is_put_back(
    suffix: str, bf: str, number: int, late: float, tmp_path: Path
) -> None:
    source = write_video(tmp_path / "good.mp4", 60, options={"bf": bf, "g": "15"})
    by = int(late * 15360)
    path = restamped(tmp_path / f"a{suffix}", source, lambda n, pts, dts: (pts + 15360 + by * (n == number), dts))
    video = Video(path)
    np.testing.assert_allclose(video.info.times - video.info.times[0], np.arange(60) / 30, atol=0.002)
    assert numbers(video, range(60)) == list(range(60))
    assert len(video.remarks) == 1
