"""Containers that promise more frames than can be read, and those whose writers left the count open."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO

import av
import numpy as np
import pytest
from media_files import cut, noisy, numbers, write_video

from egotools.errors import ClipError
from egotools.manifests.check import measure
from egotools.media.audio import open_sound
from egotools.media.video import Video


class Pipe:
    """A file that cannot go back, as the output of `ffmpeg -f avi - > x.avi`."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def through_a_pipe(source: Path, target: Path, format: str, options: dict[str, str] | None = None) -> Path:
    """The same packets in a container whose header was written before its length was known."""
    with (
        target.open("wb") as file,
        av.open(str(source)) as read,
        av.open(Pipe(file), "w", format=format, container_options=options or {}) as write,
    ):
        stream = write.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.size:
                packet.stream = stream
                write.mux(packet)
    return target


@pytest.mark.parametrize(("codec", "pixels"), [("mjpeg", "yuvj420p"), ("mpeg4", "yuv420p"), ("libx264", "yuv420p")])
def test_an_avi_from_a_pipe_is_whole(codec: str, pixels: str, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", codec=codec, pixels=pixels)
    path = through_a_pipe(whole, tmp_path / "clip.avi", "avi")
    assert path.read_bytes()[4:8] == b"\xff" * 4
    assert measure(path, decode="everything").damage == ""
    assert numbers(Video(path), range(60)) == list(range(60))


@pytest.mark.parametrize(
    ("suffix", "format", "codec"),
    [
        (".mkv", "matroska", "libx264"),
        (".webm", "webm", "libvpx"),
        (".flv", "flv", "libx264"),
        (".ts", "mpegts", "libx264"),
        (".wmv", "asf", "wmv2"),
        (".mp4", "mp4", "libx264"),
        (".mkv", "matroska", "mpeg4"),
    ],
)
def test_other_containers_from_a_pipe_are_whole(suffix: str, format: str, codec: str, tmp_path: Path) -> None:
    whole = write_video(tmp_path / f"whole{suffix}", 30, codec=codec, options={"g": "10"})
    options = {"movflags": "frag_keyframe+empty_moov"} if format == "mp4" else {}
    path = through_a_pipe(whole, tmp_path / f"clip{suffix}", format, options)
    for file in (whole, path):
        assert measure(file, decode="everything").damage == ""
        assert numbers(Video(file), range(30)) == list(range(30))


def talking(path: Path, codec: str = "mjpeg", pixels: str = "yuvj420p") -> Path:
    """An AVI of 60 numbered frames and two seconds of sound, interleaved."""
    silent = write_video(path.with_name("silent.avi"), codec=codec, pixels=pixels)
    rate = 8000
    wave = (8000 * np.sin(np.arange(2 * rate) / 10)).astype(np.int16)
    with av.open(str(silent)) as read, av.open(str(path), "w") as write:
        video = write.add_stream_from_template(read.streams.video[0])
        sound = write.add_stream("pcm_s16le", rate=rate, layout="mono")
        packets = [packet for packet in read.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            packet.stream = video
            write.mux(packet)
            frame = av.AudioFrame.from_ndarray(wave[None, number * 266 : (number + 1) * 266], "s16", "mono")
            frame.sample_rate = rate
            write.mux(sound.encode(frame))
        write.mux(sound.encode())
    return path


def spoilt(data: bytearray, how: str) -> bytes:
    """An AVI's bytes with another index."""
    at = data.rfind(b"idx1")
    entries = np.frombuffer(data[at + 8 :], np.dtype("<u4"), count=int.from_bytes(data[at + 4 : at + 8], "little") // 4)
    entries = entries.reshape(-1, 4).copy()
    if how == "missing":
        return bytes(data[:4] + struct.pack("<I", at - 8) + data[8:at])
    if how == "cut":
        del data[at + 8 + 16 * 20 :]
        data[at + 4 : at + 8], data[4:8] = struct.pack("<I", 16 * 20), struct.pack("<I", len(data) - 8)
        return bytes(data)
    if how == "nowhere":
        entries[:, 2] = 999999
    elif how == "shifted":
        entries[:, 2] += 64
    elif how == "sizes":
        entries[:, 3] = 7
    elif how == "halves":  # the second half points nowhere
        entries[len(entries) // 2 :, 2] = 5
    data[at + 8 : at + 8 + entries.nbytes] = entries.tobytes()
    return bytes(data)


@pytest.mark.parametrize("how", ["nowhere", "shifted", "sizes", "cut", "missing", "halves"])
@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_an_avi_is_read_past_its_index(how: str, codec: str, tmp_path: Path) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    good = talking(tmp_path / "good.avi", codec, pixels)
    bad = tmp_path / "bad.avi"
    bad.write_bytes(spoilt(bytearray(good.read_bytes()), how))
    video = Video(bad)
    assert video.damage == ""
    assert numbers(video, range(60)) == list(range(60))
    assert video.info.end == pytest.approx(2.0)
    expected, sound = open_sound(good), open_sound(bad)
    assert sound.info == expected.info
    np.testing.assert_array_equal(*[next(each.windows(np.zeros(1), 15000, 8000)) for each in (sound, expected)])


def stating(path: Path, frames: int) -> Path:
    """A copy of an AVI whose header says another number of frames."""
    data = bytearray(path.read_bytes())
    at = data.find(b"strh")
    data[at + 40 : at + 44] = struct.pack("<I", frames)
    target = path.with_name(f"says{frames}.avi")
    target.write_bytes(data)
    return target


def test_a_frame_lost_amid_an_avi_is_named(tmp_path: Path) -> None:
    for codec, pixels in (("mjpeg", "yuvj420p"), ("mpeg4", "yuv420p")):
        path = write_video(tmp_path / "a.avi", 60, codec=codec, pixels=pixels, options={"g": "1"})
        with av.open(str(path)) as container:
            places = [packet.pos for packet in container.demux(video=0) if packet.size]
        data = bytearray(path.read_bytes())
        data[places[20] - 8 : places[20] - 4] = b"\x01\x02\x03\x04"  # of the chunk's name
        path.write_bytes(data)
        with pytest.raises(ClipError, match="truncated: 59 of 60 frames can be read; which are missing"):
            Video(path)


def test_a_header_that_counts_more_than_was_written_is_no_damage(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", 60, codec="mpeg4")
    for frames in (0, 58, 61, 62, 90):  # the index says that all is there
        assert Video(stating(path, frames)).damage == ""
    path.write_bytes(spoilt(bytearray(path.read_bytes()), "missing"))
    for frames in (58, 62):
        assert Video(stating(path, frames)).damage == ""
    with pytest.raises(ClipError, match="truncated: 60 of 90 frames"):
        Video(stating(path, 90))


@pytest.mark.parametrize(
    ("name", "codec"), [("a.flv", "flv"), ("a.mkv", "mpeg4"), ("a.wmv", "wmv2"), ("a.mp4", "mpeg4"), ("a.avi", "mjpeg")]
)
def test_a_file_that_must_be_decoded_to_be_counted_says_that_it_is_cut(name: str, codec: str, tmp_path: Path) -> None:
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    whole = write_video(tmp_path / name, noisy(60), codec=codec, pixels=pixels, container_options=options)
    assert measure(whole, decode="everything").damage == ""
    video = Video(cut(whole, 0.6))
    assert 20 < len(video.info) < 50
    assert video.damage.startswith((f"truncated: {len(video.info)} ", f"damaged: {len(video.info)} "))


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [(".webm", "libvpx", "yuv420p"), (".mkv", "mjpeg", "yuvj420p"), (".flv", "libx264", "yuv420p")],
)
def test_a_last_frame_that_only_the_header_says_to_stay_is_no_damage(
    suffix: str, codec: str, pixels: str, tmp_path: Path
) -> None:
    whole = write_video(tmp_path / f"short{suffix}", noisy(30), codec=codec, pixels=pixels, options={"g": "10"})
    path = tmp_path / f"a{suffix}"
    with av.open(str(whole)) as read, av.open(str(path), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        packets = [packet for packet in read.demux(video=0) if packet.size]
        packets[-1].duration = round(5 / packets[-1].time_base)
        for packet in packets:
            packet.stream = stream
            write.mux(packet)
    video = Video(path)
    assert video.damage == ""
    assert video.info.end - video.info.times[-1] == pytest.approx(5, abs=0.1)
    assert Video(cut(path, 0.9)).damage.startswith("truncated")


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".webm", "libvpx"), (".flv", "flv")])
def test_a_file_that_lacks_its_last_frame_only_says_that_it_is_cut(suffix: str, codec: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"a{suffix}", noisy(30), codec=codec)
    with av.open(str(path)) as container:
        last = max(packet.pos or 0 for packet in container.demux(video=0))
    data = path.read_bytes()
    path.write_bytes(data[:last])
    assert Video(path).damage.startswith("truncated: 29 frames can be read")
    if suffix != ".flv":  # which has nothing after the last frame
        path.write_bytes(data[:-20])  # of the table of key frames
        assert Video(path).damage == ""


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".webm", "libvpx")])
@pytest.mark.parametrize("filling", [b"", bytes(300)])
def test_what_is_lost_amid_a_matroska_file_is_told(suffix: str, codec: str, filling: bytes, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"a{suffix}", noisy(60), codec=codec, options={"g": "15"})
    data = path.read_bytes()
    with av.open(str(path)) as container:
        at = [packet.pos or 0 for packet in container.demux(video=0) if packet.size][35] - 100
    path.write_bytes(data[:at] + filling + data[at + 300 :])
    assert Video(path).damage.startswith("damaged: ")
