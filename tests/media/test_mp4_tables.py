"""What an MP4's tables say is what its packets say; where they may not, the packets are read."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_video as write_plain
from media_files import cut, noisy, numbers, write_video

import egotools.media.video
from egotools.media import mp4_tables
from egotools.media.containers import open_container
from egotools.media.mp4_tables import packets_by_tables
from egotools.media.video import Video

X264 = "keyint=10:min-keyint=10:scenecut=0:bframes=2"
READ: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": {"x264-params": X264}},
    "faststart.mov": {"options": {"x264-params": X264}, "container_options": {"movflags": "faststart"}},
    "negative.mp4": {"options": {"x264-params": X264}, "container_options": {"movflags": "negative_cts_offsets"}},
    "no-b.mp4": {"options": {"bf": "0"}},
    "open-gop.mp4": {"options": {"x264-params": f"{X264}:open-gop=1"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "open-gop=1:keyint=16:log-level=none"}},
    "vp9.mp4": {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}},
    "mjpeg.mov": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "late.mp4": {"ticks": range(45, 85)},
    "edited.mp4": {"ticks": range(-10, 30), "options": {"g": "20", "bf": "3"}},
    "uneven.mp4": {"rate": 1000, "ticks": [33 * i + 4 * (i % 7) + 500 * (i > 30) for i in range(40)]},
}


def index(path: Path, *, by_tables: bool, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Everything that is known of a file's frames."""
    with monkeypatch.context() as patch:
        patch.setattr(egotools.media.video, "index_packets" if by_tables else "index_tables", lambda *_: None)
        video = Video(path)
    found = {field.name: getattr(video.index.frames, field.name) for field in dataclasses.fields(video.index.frames)}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}


def is_read_off(path: Path) -> bool:
    """Whether the tables of a file are believed."""
    with open_container(path) as container:
        return packets_by_tables(container, container.streams.video[0], path) is not None


@pytest.mark.parametrize("name", READ)
def test_tables_say_what_packets_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / name, 40, **READ[name])
    assert is_read_off(path)
    found = index(path, by_tables=True, monkeypatch=monkeypatch)
    assert found["pts"] is not None
    assert found == index(path, by_tables=False, monkeypatch=monkeypatch)


def with_number(data: bytes, kind: bytes, at: int, value: int) -> bytes:
    """The same bytes with a number written so far into the box of that kind."""
    begin = data.index(kind) + 4 + at
    return data[:begin] + struct.pack(">I", value) + data[begin + 4 :]


@pytest.mark.parametrize(
    ("kind", "at", "value"),
    [
        (b"ctts", 4, 1),
        (b"ctts", 12, 77 << 8),
        (b"stts", 12, 7),
        (b"stts", 4, 9),
        (b"stsd", 4, 3),
        (b"elst", 16, 2 << 16),
    ],
)
def test_tables_that_packets_do_not_bear_out_are_not_believed(
    kind: bytes, at: int, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mp4", 40, **READ["h264.mp4"])
    with path.open("rb") as file:
        moov = mp4_tables._moov(file)
    assert moov is not None
    assert is_read_off(path)
    monkeypatch.setattr(mp4_tables, "_moov", lambda _: with_number(moov, kind, at, value))
    assert not is_read_off(path)


def test_key_frames_that_only_the_pictures_tell_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", 40, **READ["h264.mp4"])
    path.write_bytes(with_number(path.read_bytes(), b"stss", 4, 1))
    assert not is_read_off(path)
    assert len(Video(path).index.frames.keys) == 4


def test_a_cut_file_is_told_as_before(tmp_path: Path) -> None:
    path = cut(write_video(tmp_path / "a.mp4", noisy(60), container_options={"movflags": "faststart"}), 0.6)
    assert not is_read_off(path)
    assert Video(path).damage.startswith("truncated: ")


def test_fragments_are_read(tmp_path: Path) -> None:
    for flags in ("frag_keyframe+empty_moov", "frag_keyframe"):
        path = write_video(tmp_path / f"{flags}.mp4", 40, options={"g": "10"}, container_options={"movflags": flags})
        assert not is_read_off(path)
        assert numbers(Video(path), range(40)) == list(range(40))


def test_pictures_are_not_read_to_open_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egotools.media.video, "index_packets", None)
    assert len(Video(write_plain(tmp_path / "a.mp4", 300)).info) == 300
