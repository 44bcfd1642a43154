"""The frames that are listed are those that decode, and what is missing is said."""

from __future__ import annotations

import csv
import pickle
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from media_files import cut, noisy, numbered, numbers, write_video

import egotools.media.video
from egotools.errors import ClipError
from egotools.media.video import Video


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
    begin = rf"its first (frame does|\d frames do) not decode; it begins at {video.info.times[0]:.3f} s"
    assert re.fullmatch(begin, *video.remarks)
    with av.open(str(path)) as container:
        assert len(found) == sum(1 for _ in container.decode(video=0))


def test_a_file_that_must_be_decoded_to_be_counted_is_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "counted.avi", 30, codec="mpeg4")
    first = Video(path)
    monkeypatch.setattr(egotools.media.video, "index_by_decoding", None)
    second = Video(path, index=pickle.loads(pickle.dumps(first.index)))
    assert second.info.times.tolist() == first.info.times.tolist()
    assert numbers(second, [29]) == [29]
    monkeypatch.undo()
    write_video(path, 40, codec="mpeg4")
    assert len(Video(path, index=first.index).info) == 40  # of the file as it was before


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
    video = Video(cut(write_video(tmp_path / name, noisy(90), **options), 0.6))
    count = len(video.info)
    assert 20 < count < 80
    assert video.damage.startswith(f"truncated: {count} ")
    found = numbers(video, range(count))
    assert found == sorted(found)
    assert found[:20] == list(range(20))


def test_a_video_without_its_index_says_that_it_is_cut_short(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"cut-a\.mp4: .*moov.*truncated"):
        Video(cut(write_video(tmp_path / "a.mp4", noisy(60)), 0.5))


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


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = Disposition.attached_pic
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        for index in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(index), format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    assert numbers(Video(path), range(10)) == list(range(10))


def test_a_broken_recording_says_so(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.ts", noisy(60), options={"g": "10"}).read_bytes()
    packets = len(data) // 188
    path = tmp_path / "b.ts"
    path.write_bytes(data[: packets // 2 * 188] + data[(packets // 2 + 9) * 188 :])
    video = Video(path)
    assert video.damage.startswith("damaged: ")
    assert numbers(video, range(10)) == list(range(10))


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


def test_a_real_corrupted_clip_fails_with_one_line(shared: Path) -> None:
    video = Video(shared / "data/videos/corrupted.mp4")
    with pytest.raises(ClipError, match=r"corrupted\.mp4: decoding fails at 3\.000 s"):
        list(video.frames(range(len(video.info))))
