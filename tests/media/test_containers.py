"""What cannot be opened says why, and a path stays a path."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_files import cut, noisy, numbers, write_sound, write_video

from egotools.errors import ClipError
from egotools.media.audio import Sound
from egotools.media.video import Video


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
        for name in (
            f"http://127.0.0.1:{port}/a.mp4",
            "concat:a.mp4|a.mp4",
            "file:a.mp4",
            "subfile,,start,0,end,0,,:a.mp4",
        ):
            with pytest.raises(ClipError, match="no such file"):
                Video(Path(name))
        with pytest.raises(BlockingIOError):
            server.accept()  # nobody has called
    odd = tmp_path / "pipe:0|x,y.mp4"
    (tmp_path / "a.mp4").rename(odd)
    assert numbers(Video(odd), range(3)) == [0, 1, 2]


def test_text_that_is_no_utf8_does_not_disturb(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 10, title="K0chen")
    assert b"K0chen" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"K0chen", b"K\xfcchen"))
    assert numbers(Video(path), range(10)) == list(range(10))


@pytest.mark.parametrize(
    "names", [{"metadata_errors", "options", "container_options"}, {"options", "container_options"}]
)
def test_a_file_opens_with_the_arguments_of_every_pyav(
    names: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "a.mp4", 3)
    sound = write_sound(tmp_path / "a.wav", np.zeros((1, 800)), 8000)
    opened, given = av.open, []

    def of_a_version(file: str, **options: Any) -> Any:
        if set(options) - names:
            raise TypeError("open() got an unexpected keyword argument")
        given.append(options)
        return opened(file, container_options=options["container_options"])

    monkeypatch.setattr(av, "open", of_a_version)
    assert numbers(Video(video), range(3)) == [0, 1, 2]
    assert Sound(sound).info.rate == 8000
    assert given
    assert all(set(options) == names for options in given)


def test_nothing_is_written_to_stderr_by_the_decoder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    video = Video(cut(write_video(tmp_path / "a.mp4", noisy(60), container_options={"movflags": "faststart"}), 0.6))
    list(video.frames(range(len(video.info))))
    assert capfd.readouterr().err == ""
