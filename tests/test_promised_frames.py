"""Containers that promise more frames than can be read, and those whose writers left the count open."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import av
import pytest
from media import numbers, write_video

from egotools.check import measure
from egotools.video import Video


class Pipe:
    """A file that cannot go back, as the output of `ffmpeg -f avi - > x.avi`."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def through_a_pipe(source: Path, target: Path, format: str) -> Path:
    """The same packets in a container whose header was written before its length was known."""
    with target.open("wb") as file, av.open(str(source)) as read, av.open(Pipe(file), "w", format=format) as write:
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
