"""Damage between restart markers of Motion JPEG, where FFmpeg begins anew without a word; and good data that is odd."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import noisy, numbers, write_video

from egotools.errors import ClipError
from egotools.manifests.check import measure
from egotools.media.jpeg_damage import jpeg_damage
from egotools.media.video import Video

SCAN = b"\xff\xda"
MARKER = re.compile(rb"(?=\xff[\xd0-\xd7])")


def with_markers(path: Path, change: dict[int, Callable[[bytes], bytes]], *, frames: int = 30) -> Path:
    """A Motion JPEG with restart markers, as webcams write it, and other data in some of its frames."""
    options = {"threads": "4", "qmin": "3", "huffman": "default"}  # FFmpeg writes a marker a thread
    source = write_video(path.with_name("source.avi"), noisy(frames), codec="mjpeg", pixels="yuvj420p", options=options)
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            data = bytes(packet)
            assert len(MARKER.findall(data)) == 3
            changed = av.Packet(change.get(number, bytes)(data))
            changed.pts = changed.dts = number
            changed.time_base, changed.stream, changed.is_keyframe = Fraction(1, 30), stream, True
            new.mux(changed)
    return path


def in_each_interval(data: bytes, piece: bytes) -> bytes:
    """The same image with bytes too many before each marker."""
    at = data.index(SCAN)
    return data[:at] + MARKER.sub(piece, data[at:])


def without(data: bytes, marker: int) -> bytes:
    """The same image without the segments of this kind."""
    kept, at = data[:2], 2
    while data[at + 1] != SCAN[1]:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        kept += data[at:end] if data[at + 1] != marker else b""
        at = end
    return kept + data[at:]


def doubled(data: bytes, interval: int) -> bytes:
    """An image with what is after one of its markers twice, which are good codes, but too many."""
    pieces = MARKER.split(data)
    pieces[interval] += pieces[interval][2:]
    return b"".join(pieces)


def halved(data: bytes, interval: int) -> bytes:
    pieces = MARKER.split(data)
    pieces[interval] = pieces[interval][: len(pieces[interval]) // 2].rstrip(b"\xff")
    return b"".join(pieces)


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mov", ".mp4", ".mjpeg"])
def test_damage_between_restart_markers_loses_that_frame_alone(suffix: str, tmp_path: Path) -> None:
    path = with_markers(tmp_path / f"a{suffix}", {7: partial(doubled, interval=1), 22: partial(doubled, interval=2)})
    video = Video(path, fps=30)
    assert len(video.info) == 30
    good = [*range(7), *range(8, 22), *range(23, 30)]
    assert numbers(video, good) == good
    for index, moment in ((7, "0.233 s"), (22, "0.733 s")):
        with pytest.raises(ClipError, match=rf"frame {index} at {moment} is damaged: \d+ bytes too many"):
            numbers(video, [index])
    assert measure(path, 30, decode="everything").damage.startswith("damaged: frame 7 at 0.233 s is damaged")


ODD: dict[str, Callable[[bytes], bytes]] = {
    "a few bytes too many before each marker, as Logitech cameras have": lambda data: in_each_interval(data, bytes(9)),
    "standard tables left out": lambda data: without(data, 0xC4),
    "no end": lambda data: data[:-2],
    "zeros instead of the end": lambda data: data[:-2] + bytes(500),
    "junk after the end": lambda data: data + b"junk" * 100,
    "padding before the end": lambda data: data[:-2] + bytes(600) + data[-2:],
    "an image after the image": lambda data: data + bytes(3) + data,
}


def test_good_data_that_is_odd_is_read_as_before(tmp_path: Path) -> None:
    plain = Video(with_markers(tmp_path / "plain.avi", {}, frames=len(ODD)))
    odd = Video(with_markers(tmp_path / "odd.avi", dict(enumerate(ODD.values())), frames=len(ODD)))
    every = range(len(ODD))
    for name, one, other in zip(ODD, plain.frames(every), odd.frames(every), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_damage_after_a_small_oddity_is_seen(tmp_path: Path) -> None:
    with av.open(str(with_markers(tmp_path / "a.avi", {}, frames=1))) as container:
        data = bytes(next(container.demux(video=0)))
    odd = in_each_interval(data, bytes(9))
    assert not jpeg_damage(odd)
    for number in (1, 2):
        assert jpeg_damage(halved(odd, number)) == "premature end of data segment"
        assert jpeg_damage(doubled(odd, number)).endswith(" bytes too many")
    assert jpeg_damage(data[: len(data) // 2]) == "premature end of data segment"
    assert jpeg_damage(data + data[: len(data) // 2]) == "premature end of data segment"  # the second field
    for other in (b"", b"\xff\xd8", b"no image", without(data, 0xDB)):  # left to FFmpeg
        assert not jpeg_damage(other)
