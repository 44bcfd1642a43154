"""Every frame that comes out says its own number, so that a wrong frame cannot pass for the right one."""

from __future__ import annotations

import csv
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media import number_of, numbered, write_sound, write_video
from PIL import Image

import egotools.video
from egotools.errors import ClipError
from egotools.stills import FrameFolder, Stack, Still
from egotools.video import Video, open_frames

KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": {"bf": "3", "g": "20"}},
    "h264.mkv": {"options": {"bf": "3", "g": "20"}},
    "open-gop.mp4": {"options": {"x264-params": "open-gop=1:keyint=16:min-keyint=16:scenecut=0:bframes=3"}},
    "intra-refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=16"}},  # key frames that are none
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "open-gop=1:keyint=16:log-level=none"}},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "h264.avi": {"options": {"bf": "3"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "h264.ts": {"options": {"bf": "3", "g": "16"}},
    "raw.h264": {"options": {"bf": "3"}},
    "fragments.mp4": {"options": {"g": "16"}, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "grey.mkv": {"codec": "ffv1", "pixels": "gray"},
    "grey10.mkv": {"codec": "ffv1", "pixels": "gray10le"},
    "ten-bit.mp4": {"pixels": "yuv420p10le"},
    "prores.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "odd.mkv": {"pixels": "yuv444p", "size": (65, 97)},
    "odd.webm": {"codec": "libvpx-vp9", "size": (65, 97), "options": {"cpu-used": "8", "deadline": "realtime"}},
    "picture.gif": {"codec": "gif", "pixels": "rgb8", "rate": 25},
    "late.mp4": {"ticks": range(45, 105)},
    "late.mkv": {"ticks": range(45, 105)},
    "uneven.mp4": {"rate": 1000, "ticks": [33 * i + 4 * (i % 7) + 500 * (i > 30) for i in range(60)]},
}


@pytest.fixture()
def decoded_count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list of one number: how many frames videos have decoded since."""
    count = [0]
    real = egotools.video.decoded

    def counting(*arguments: Any, **options: Any) -> Iterator[Any]:
        for frame in real(*arguments, **options):
            count[0] += 1
            yield frame

    monkeypatch.setattr(egotools.video, "decoded", counting)
    return count


def numbers(video: Video, indices: Any) -> list[int]:
    return [number_of(frame) for frame in video.frames(indices)]


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_of_every_kind_of_file_is_the_one_asked_for(name: str, tmp_path: Path, rng: Any) -> None:
    video = Video(write_video(tmp_path / name, **KINDS[name]))
    height, width = KINDS[name].get("size", (64, 96))
    assert (video.info.height, video.info.width, video.damage) == (height, width, "")
    assert (np.diff(video.info.times) > 0).all()
    assert video.info.end > video.info.times[-1]
    assert numbers(video, range(60)) == list(range(60))
    for index in rng.integers(0, 60, 25).tolist():
        assert numbers(video, [index]) == [index]
    for gap in (2, 7, 19):
        assert numbers(video, range(1, 60, gap)) == list(range(1, 60, gap))
    frame = next(video.frames([3]))
    assert frame.shape == (height, width, 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous


def test_a_frame_shows_until_the_next_begins_also_at_an_uneven_rate(tmp_path: Path) -> None:
    ticks = [200, 300, 350, 1000, 1010, 1500]
    video = Video(write_video(tmp_path / "uneven.mp4", 6, rate=1000, ticks=ticks))
    assert video.info.times == pytest.approx(np.array(ticks) / 1000)
    moments = {0.0: 0, 0.2: 0, 0.299: 0, 0.3: 1, 0.34: 1, 0.36: 2, 0.99: 2, 1.0: 3, 1.2: 4, 1.6: 5, 99.0: 5}
    assert {moment: number_of(video.at(moment)) for moment in moments} == moments


def test_frames_are_bit_equal_to_what_pyav_gives(tmp_path: Path, rng: Any) -> None:
    images = [rng.integers(0, 255, (64, 96, 3), dtype=np.uint8) for _ in range(5)]
    for pixels in ("yuv420p", "yuv422p10le", "gray"):
        path = write_video(tmp_path / f"{pixels}.mp4", images, pixels=pixels)
        with av.open(str(path)) as container:
            expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        np.testing.assert_array_equal(list(Video(path).frames(range(5))), expected)


ONE = 1 << 16
# Rows are x' = a x + c y and y' = b x + d y; what NumPy does to get the upright picture from the coded one.
MATRICES = {
    "clockwise": ((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), lambda image: np.rot90(image, -1)),
    "half": ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), lambda image: np.rot90(image, 2)),
    "counterclockwise": ((0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), lambda image: np.rot90(image, 1)),
    "mirrored": ((-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30), lambda image: image[:, ::-1]),
    "upside down": ((ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), lambda image: image[::-1]),
    "transposed": ((0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), lambda image: image.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_rotated_and_mirrored_videos_come_upright(name: str, suffix: str, tmp_path: Path) -> None:
    matrix, upright = MATRICES[name]
    coded = next(Video(write_video(tmp_path / f"plain{suffix}", 3)).frames([2]))
    path = write_video(tmp_path / f"turned{suffix}", 3, matrix=matrix)
    for _ in range(2):  # the second time from what is remembered of the file
        video = Video(path)
        frame = next(video.frames([2]))
        np.testing.assert_array_equal(frame, upright(coded))
        assert (video.info.height, video.info.width) == frame.shape[:2]
        assert frame.flags.c_contiguous


def test_what_an_edit_list_hides_is_no_frame(tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "edited.mp4", 60, ticks=range(-10, 50), options={"g": "20", "bf": "3"}))
    assert video.info.times[0] == 0
    assert numbers(video, range(50)) == list(range(10, 60))
    assert numbers(video, [0]) == [10]


def test_reference_pictures_that_vp8_never_shows_are_no_frames(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.webm", 20, codec="libvpx")
    path = tmp_path / "hidden.webm"
    with av.open(str(source)) as read, av.open(str(path), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for number, packet in enumerate(packet for packet in read.demux() if packet.size):
            data = bytearray(bytes(packet))
            if number % 5 == 4:
                data[0] &= ~0x10  # show_frame
            copy = av.Packet(bytes(data))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.stream = packet.is_keyframe, stream
            write.mux(copy)
    video = Video(path)
    assert numbers(video, range(len(video.info))) == [number for number in range(20) if number % 5 != 4]


def test_frames_listed_before_the_first_that_decodes_are_left_out(tmp_path: Path) -> None:
    options = {"x265-params": "open-gop=1:keyint=16:min-keyint=16:scenecut=0:bframes=3:log-level=none"}
    source = write_video(tmp_path / "source.mkv", 60, codec="libx265", options=options)
    path = tmp_path / "cut.mkv"
    with av.open(str(source)) as read, av.open(str(path), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        keys = 0
        for packet in read.demux():
            keys += packet.is_keyframe
            if packet.size and keys > 1:  # a copy that begins at the second key frame, as editors cut
                packet.stream = stream
                write.mux(packet)
    video = Video(path)
    found = numbers(video, range(len(video.info)))
    assert found == list(range(found[0], 60))
    assert found[0] >= 16
    with av.open(str(path)) as container:
        assert len(found) == sum(1 for _ in container.decode(video=0))


def test_one_frame_calls_in_ascending_order_cost_one_decode(tmp_path: Path, decoded_count: list[int]) -> None:
    video = Video(write_video(tmp_path / "long.mp4", 200, options={"g": "10"}))
    decoded_count[0] = 0
    for index in range(200):
        assert numbers(video, [index]) == [index]
        assert numbers(video, [index]) == [index]  # the frame decoded last is still there
    assert decoded_count[0] <= 200


def test_a_far_frame_is_reached_over_a_key_frame(tmp_path: Path, decoded_count: list[int]) -> None:
    video = Video(write_video(tmp_path / "long.mp4", 200, options={"g": "20"}))
    decoded_count[0] = 0
    assert numbers(video, [5, 150, 190]) == [5, 150, 190]
    assert decoded_count[0] < 60
    decoded_count[0] = 0
    assert numbers(video, [0, 10, 20, 30]) == [0, 10, 20, 30]
    assert decoded_count[0] <= 31


def test_a_file_that_must_be_decoded_to_be_counted_is_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "counted.avi", 30, codec="mpeg4")
    first = Video(path)
    monkeypatch.setattr(egotools.video, "index_by_decoding", None)
    second = Video(path)
    assert second.info.times.tolist() == first.info.times.tolist()
    assert numbers(second, [29]) == [29]
    monkeypatch.undo()
    write_video(path, 40, codec="mpeg4")
    assert len(Video(path).info) == 40


@pytest.mark.parametrize("indices", [[3, 3], [5, 2], [-1, 0]])
def test_indices_that_do_not_ascend_are_refused(indices: list[int], tiny_video: Path) -> None:
    with pytest.raises(ValueError, match="ascend"):
        list(Video(tiny_video).frames(indices))


def test_a_frame_past_the_end_is_named(tiny_video: Path) -> None:
    with pytest.raises(ClipError, match=r"tiny\.mp4: frame 20 is not there; there are 20"):
        list(Video(tiny_video).frames([19, 20]))


def cut(path: Path, part: float) -> Path:
    data = path.read_bytes()
    target = path.with_name(f"cut-{path.name}")
    target.write_bytes(data[: int(part * len(data))])
    return target


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"options": {"bf": "3"}, "container_options": {"movflags": "faststart"}}),
        ("a.mkv", {"options": {"bf": "3"}}),
        ("a.avi", {"codec": "mpeg4"}),
    ],
)
def test_a_truncated_file_has_the_frames_that_are_left_and_says_so(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    video = Video(cut(write_video(tmp_path / name, 90, **options), 0.6))
    count = len(video.info)
    assert 20 < count < 80
    assert video.damage.startswith(f"truncated: {count} ")
    found = numbers(video, range(count))
    assert found == sorted(found)
    assert found[:20] == list(range(20))


def test_a_video_without_its_index_says_that_it_is_cut_short(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"cut-a\.mp4: .*moov.*cut short"):
        Video(cut(write_video(tmp_path / "a.mp4"), 0.6))


def test_damage_amid_a_video_is_an_error_with_its_moment_and_never_a_wrong_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 60, options={"g": "20", "bf": "0", "x264-params": "scenecut=0"})
    with av.open(str(path)) as container:
        packet = next(packet for packet in container.demux() if packet.pts == 30 * packet.time_base.denominator // 30)
        position, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    video = Video(path)
    assert numbers(video, range(30)) == list(range(30))
    with pytest.raises(ClipError, match=r"a\.mp4: .*at 1\.000 s"):
        numbers(video, [29, 30, 31])
    assert numbers(video, range(40, 60)) == list(range(40, 60))  # the next key frame heals it


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"These are my notes on the kitchen videos.\n" * 50, "not a video or sound file"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://localhost/secret.ts\n", "not a video or sound file"),
        (b"ffconcat version 1.0\nfile 'tiny.mp4'\n", "not a video or sound file"),
        (None, "no such file"),
    ],
)
def test_what_is_no_video_is_said_plainly(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ClipError, match=rf"clip\.mp4: {message}"):
        Video(path)


def test_a_sound_file_has_no_video_stream(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "sound.wav", np.zeros((1, 800)), 8000)
    with pytest.raises(ClipError, match="no video stream"):
        Video(path)


def test_a_path_is_never_taken_for_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", 3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        for name in (f"http://127.0.0.1:{port}/a.mp4", "concat:a.mp4|a.mp4", "file:a.mp4", "subfile,,start,0,end,0,,:a.mp4"):
            with pytest.raises(ClipError, match="no such file"):
                Video(Path(name))
        with pytest.raises(BlockingIOError):
            server.accept()  # nobody has called
    odd = tmp_path / "pipe:0|x,y.mp4"
    (tmp_path / "a.mp4").rename(odd)
    assert numbers(Video(odd), range(3)) == [0, 1, 2]


def test_broken_metadata_and_cover_pictures_do_not_disturb(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "K0chen"
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        for index in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(index), format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"K0chen", b"K\xfcchen"))
    video = Video(path)
    assert numbers(video, range(10)) == list(range(10))


def test_a_change_of_size_amid_a_video_is_named(tmp_path: Path) -> None:
    small = write_video(tmp_path / "a.ts", 10, codec="mpeg2video", size=(64, 96))
    large = write_video(tmp_path / "b.ts", 10, codec="mpeg2video", size=(128, 160))
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    video = Video(path)
    assert numbers(video, range(5)) == list(range(5))
    with pytest.raises(ClipError, match=r"frame \d+ has 160x128 pixels, the first one has 96x64"):
        numbers(video, range(len(video.info)))


def test_frames_are_opened_by_what_they_lie_in(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    Image.fromarray(numbered(1)).save(folder / "1.png")
    np.save(tmp_path / "stack.npy", numbered(2)[None])
    write_video(tmp_path / "video.bin", 3, format="matroska")
    kinds = {"frames": FrameFolder, "frames/1.png": Still, "stack.npy": Stack, "video.bin": Video}
    for name, kind in kinds.items():
        frames = open_frames(tmp_path / name, fps=10)
        assert isinstance(frames, kind)
        assert len(frames.info) == (3 if kind is Video else 1)
        frames.close()


def test_nothing_is_written_to_stderr_by_the_decoder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    video = Video(cut(write_video(tmp_path / "a.mp4", container_options={"movflags": "faststart"}), 0.6))
    list(video.frames(range(len(video.info))))
    assert capfd.readouterr().err == ""


def test_real_clips_have_the_frames_that_decode(shared: Path) -> None:
    with (shared / "data/videos/labels.csv").open() as file:
        clips = [row for row in csv.DictReader(file) if row["frames"]]
    for clip in clips:
        video = Video(shared / "data/videos" / clip["file"])
        size = (video.info.width, video.info.height)
        assert (len(video.info), *size) == (int(clip["frames"]), int(clip["width"]), int(clip["height"])), clip["file"]
        assert video.damage == ""
        assert video.info.fps == pytest.approx(float(clip["fps"]), rel=0.02)
        video.close()


@pytest.mark.parametrize(
    "name", ["RATRACE_wave_f_nm_np1_fr_goo_37.avi", "nasa_13013.mp4", "asl/eat.mkv", "v_GGSY1Qvo990.mp4", "bikes.mp4"]
)
def test_frames_of_real_clips_are_those_of_a_plain_decoding_loop(name: str, shared: Path) -> None:
    path = shared / "data/videos" / name
    with av.open(str(path), metadata_errors="ignore") as container:
        expected = [frame.to_ndarray(format="rgb24")[::8, ::8] for frame in container.decode(video=0)]
    video = Video(path)
    for index in (0, 40, 41, 12, len(expected) - 1, 30):
        np.testing.assert_array_equal(next(video.frames([index]))[::8, ::8], expected[index])


def test_a_real_corrupted_clip_fails_with_one_line(shared: Path) -> None:
    video = Video(shared / "data/videos/corrupted.mp4")
    with pytest.raises(ClipError, match=r"corrupted\.mp4: decoding fails at 3\.000 s"):
        list(video.frames(range(len(video.info))))


def test_a_long_stream_is_entered_anywhere(shared: Path) -> None:
    video = Video(shared / "data/streams/rc_track1.mp4")
    assert len(video.info) == 12000
    assert video.info.fps == pytest.approx(20)
    later = next(video.frames([9000]))
    again = list(video.frames(range(8990, 9001)))[-1]
    np.testing.assert_array_equal(later, again)
