"""Paths that no clip can have, and files that are none: one line each, and the others go on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from media_files import numbered, write_video
from PIL import Image

from egotools.errors import ClipError
from egotools.manifests.folders import clips_of, join_labels, list_folder
from egotools.manifests.partition import windows
from egotools.manifests.table import read_manifest
from egotools.media.video import open_frames
from egotools.stores import open_store
from egotools.texts import shortened
from egotools.types import Clip

LONG = f"{'d' * 120}/{'e' * 120}/{'f' * 120}/{'y' * 100}"  # 463 bytes


def run(*words: object) -> Result:
    result = CliRunner().invoke(root, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def long_path(tmp_path: Path) -> Path:
    good = write_video(tmp_path / "in.mp4", 10)
    folder = tmp_path / "in"
    (folder / LONG).parent.mkdir(parents=True)
    (folder / f"{LONG}.mp4").write_bytes(good.read_bytes())
    good.rename(folder / "good.mp4")
    return folder


def test_a_long_path_has_a_shorter_id(long_path: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    made = run("manifest", "folder", long_path, "--out", manifest)
    assert made.exit_code == 0
    assert (
        f"paths too long for ids (400 bytes), which are shortened and end in a digest: 1 ({long_path}/{LONG}.mp4)"
        in (made.stderr)
    )
    clips = read_manifest(manifest)
    assert sorted(len(clip.id) for clip in clips) == [4, 380]
    assert run("manifest", "windows", manifest, "--length", "0.1", "--out", tmp_path / "w.csv").exit_code == 0
    assert len(read_manifest(tmp_path / "w.csv")) == 6
    done = run("extract", "--manifest", long_path, "--out", tmp_path / "c", "color", "--fps", "2")
    assert done.exit_code == 0
    assert f"{LONG}.mp4" in done.stderr
    assert set(open_store(tmp_path / "c/color.lmdb")) == {clip.id for clip in clips}


def test_shortened_ids_are_stable_and_differ(tmp_path: Path) -> None:
    names = [f"{'é' * 100}/{'é' * 100}{last}" for last in "ab"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text(f"path,kind\n{names[0]}.mp4,first\n{names[1]},second\n")
    clips = clips_of(list_folder(tmp_path).found)
    assert [clip.id for clip in clips] == [shortened(name, 380) for name in names]
    assert len({clip.id for clip in clips}) == 2
    joined = join_labels(clips, tmp_path, tmp_path / "labels.csv")
    assert [clip.labels["kind"] for clip in joined.clips] == ["first", "second"]
    assert shortened("x" * 400, 400) == "x" * 400
    assert len(shortened("é" * 201, 400).encode()) in (399, 400)


def test_pieces_of_a_clip_with_a_long_id_have_room_for_their_number() -> None:
    clips = [Clip("x" * 398, Path("/a.mp4")), Clip("x" * 397 + "y", Path("/b.mp4"))]
    pieces = windows(clips, {clip.id: (0.0, 4.0) for clip in clips}, length=1)
    assert len({piece.id for piece in pieces}) == 8
    assert max(len(piece.id) for piece in pieces) == 400


@pytest.fixture
def special(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with pipes, a socket and a device under names of media, and one good video."""
    folder = tmp_path / "s"
    folder.mkdir()
    for name in ("pipe.mp4", "pipe.jpg", "pipe.npy", "pipe.wav", "pipe.gif"):
        os.mkfifo(folder / name)
    (folder / "zero.mp4").symlink_to("/dev/zero")
    (folder / "zero.webp").symlink_to("/dev/zero")
    write_video(folder / "good.mp4", 30)
    monkeypatch.chdir(folder)  # a socket's path may have 108 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.mkv")
        yield folder


def test_special_files_are_refused_before_they_are_opened(special: Path, tmp_path: Path) -> None:
    names = ["pipe.mp4", "pipe.jpg", "pipe.npy", "pipe.wav", "pipe.gif", "zero.mp4", "zero.webp", "socket.mkv"]
    lines = [f"{name},{special / name},10\n" for name in [*names, "good.mp4"]]
    manifest = tmp_path / "m.csv"
    manifest.write_text("id,path,fps\n" + "".join(lines))
    checked = run("manifest", "check", manifest, "--json")
    assert checked.exit_code == 1
    assert checked.stdout.count("not a regular file") == len(names)
    assert run("manifest", "windows", manifest, "--length", "1", "--out", tmp_path / "w.csv").exit_code == 1
    done = run("extract", "--manifest", manifest, "--out", tmp_path / "c", "--json", "color", "--fps", "2", "log-mel")
    assert done.exit_code == 1
    assert done.stdout.count("not a regular file") == 2 * len(names)
    assert set(open_store(tmp_path / "c/color.lmdb")) == {"good.mp4"}


def test_special_files_in_a_folder_are_named(special: Path, tmp_path: Path) -> None:
    made = run("manifest", "folder", special, "--follow-links", "--out", tmp_path / "m.csv")
    assert made.exit_code == 1
    assert made.stderr.count(": not a regular file") == 8
    assert [clip.id for clip in read_manifest(tmp_path / "m.csv")] == ["good"]
    os.mkfifo(tmp_path / "labels.csv")
    refused = CliRunner().invoke(
        root, ["manifest", "folder", str(special), "--labels", str(tmp_path / "labels.csv"), "--out", "m.csv"]
    )
    assert "not a regular file" in str(refused.exception)


def test_a_frame_that_is_a_pipe_fails_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    for number in range(10):
        if number != 7:
            Image.fromarray(numbered(number)).save(folder / f"frame_{number:04d}.jpg")
    os.mkfifo(folder / "frame_0007.jpg")
    frames = open_frames(folder, 30)
    with pytest.raises(ClipError, match=r"frame_0007\.jpg: .*not a regular file"):
        list(frames.frames(range(10)))


def test_names_and_folders_that_cannot_be_used_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    (folder / "closed").mkdir(parents=True)
    for name in ("good.npy", "two\nlines.npy", 'quote",.npy', "closed/lost.npy"):
        np.save(folder / name, np.zeros((2, 8, 8), np.uint8))
    odd = os.fsencode(folder) + b"/\xff"
    try:
        os.mkdir(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    for path in (odd + b"/inside.mp4", os.fsencode(folder) + b"/\xfe.mp4"):
        os.close(os.open(path, os.O_CREAT))
    (folder / "gone.mp4").symlink_to(folder / "nothing.mp4")
    listdir = os.listdir

    def refuse(path: str | Path) -> list[str]:  # root may list any folder
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    made = run("manifest", "folder", folder, "--out", tmp_path / "m.csv")
    assert made.exit_code == 1
    assert {clip.id for clip in read_manifest(tmp_path / "m.csv")} == {"good", "two\nlines", 'quote",'}
    assert "left out: closed: permission denied" in made.stderr
    assert "left out: gone.mp4: a broken link" in made.stderr
    assert made.stderr.count("its name is not UTF-8, and a manifest is: rename the file") == 2
    done = run("extract", "--manifest", folder, "--out", tmp_path / "c", "color", "--fps", "2")
    assert "left out: closed: permission denied" in done.stderr
    assert len(open_store(tmp_path / "c/color.lmdb")) == 3
