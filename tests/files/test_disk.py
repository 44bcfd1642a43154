"""Files that are written completely or not at all, folders that are walked, and paths that are compared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from egotools.errors import OutputError
from egotools.files.disk import append_line, create_file, is_below, new_file, open_file, real, remove, walk, write_whole


def test_a_new_file_appears_under_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/report.json"
    with new_file(path) as file:
        file.write(b"half")
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert os.listdir(path.parent) == ["report.json"]


def test_an_error_while_writing_keeps_the_old_file_and_removes_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def write_half() -> None:
        with new_file(path) as file:
            file.write(b"new")
            raise RuntimeError("the disk is on fire")

    with pytest.raises(RuntimeError, match="the disk is on fire"):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for name in ("pipe", "link"):
        with pytest.raises(OutputError, match="not a regular file"):
            write_whole(tmp_path / name, "new")
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()


def test_the_leftover_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".report.json.part").write_text("left by a killed process, and longer than the new file")
    write_whole(tmp_path / "report.json", "new")
    assert (tmp_path / "report.json").read_text() == "new"
    assert os.listdir(tmp_path) == ["report.json"]


def test_lines_are_appended_to_a_file_that_is_created_with_its_folder(tmp_path: Path) -> None:
    log = tmp_path / "logs/failed.txt"
    append_line(log, "a.mp4: cannot be read")
    append_line(log, "ü.mp4: truncated")
    assert log.read_text(encoding="utf-8") == "a.mp4: cannot be read\nü.mp4: truncated\n"


def test_lines_are_never_appended_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    os.symlink(victim, tmp_path / "failed.txt")
    with pytest.raises(OutputError, match=r"failed\.txt cannot be written: "):
        append_line(tmp_path / "failed.txt", "more")
    assert victim.read_text() == "mine\n"


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_lines_are_appended_to_regular_files_only(tmp_path: Path, kind: str) -> None:
    place = tmp_path / kind
    place.mkdir() if kind == "folder" else os.mkfifo(place)
    with pytest.raises(OutputError, match=f"{kind} cannot be written: "):
        append_line(place, "more")


def test_a_file_that_cannot_be_created_or_read_raises_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        create_file(tmp_path / "no such folder/file")
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "no such file")


def test_a_created_file_can_be_read_back_through_the_same_handle(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(b"an older and longer content")
    with create_file(tmp_path / "index") as file:
        file.write(b"0123456789")
        file.seek(3)
        assert file.read(4) == b"3456"
    assert (tmp_path / "index").read_bytes() == b"0123456789"


def test_removing_a_link_keeps_its_target(tmp_path: Path) -> None:
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "folder/file").write_text("kept")
    os.symlink(tmp_path / "folder", tmp_path / "link")
    remove(tmp_path / "link")
    assert not os.path.lexists(tmp_path / "link")
    assert (tmp_path / "folder/file").read_text() == "kept"
    remove(tmp_path / "folder")
    assert os.listdir(tmp_path) == []
    remove(tmp_path / "folder")  # what does not exist is removed already


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b/c", "/a/b", True),
        ("/a/bc", "/a/b", False),  # a common prefix of the text is no common folder
        ("/a", "/a/b", False),
        ("/a", "/", True),
        ("/a/b/c", "/a/b/", True),
    ],
)
def test_a_path_is_below_its_parents_and_itself(path: str, folder: str, expected: bool) -> None:
    assert is_below(path, folder) is expected


def test_links_are_resolved_and_a_loop_of_links_is_kept(tmp_path: Path) -> None:
    top = real(tmp_path)
    (top / "there").mkdir()
    os.symlink("there", top / "link")
    os.symlink("loop", top / "loop")
    assert real(str(top / "link" / "x")) == top / "there/x"
    assert real(top / "loop") == top / "loop"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files in two folders, hidden entries, and links inside, outside and in a circle."""
    top = tmp_path / "top"
    for name in ("b.mp4", "a.mp4", ".hidden", "sub/c.mp4", "sub/deep/d.mp4", ".git/e"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f.mp4").write_text("")
    os.symlink(top / "a.mp4", top / "inner.mp4")
    os.symlink(top / "sub", top / "sub/again")
    os.symlink(tmp_path / "outside", top / "out")
    os.symlink(tmp_path / "outside/f.mp4", top / "sub/f.mp4")
    os.symlink(top, tmp_path / "outside/back")
    return top


def walked(top: Path, **options: bool) -> tuple[list[tuple[str, list[str]]], list[str]]:
    left_out: list[str] = []
    found = [(folder.relative_to(top).as_posix(), names) for folder, names in walk(top, left_out, **options)]
    return found, left_out


def test_a_walk_skips_hidden_entries_and_links_that_lead_out(tree: Path) -> None:
    found, left_out = walked(tree)
    assert found == [
        (".", ["a.mp4", "b.mp4", "inner.mp4"]),
        ("sub", ["c.mp4"]),
        ("sub/deep", ["d.mp4"]),
    ]
    assert left_out == ["out", "sub/f.mp4"]


def test_a_walk_that_follows_links_visits_every_folder_once(tree: Path) -> None:
    found, left_out = walked(tree, follow_links=True)
    assert found == [
        (".", ["a.mp4", "b.mp4", "inner.mp4"]),
        ("sub", ["c.mp4", "f.mp4"]),
        ("sub/deep", ["d.mp4"]),
        ("out", ["f.mp4"]),
    ]
    assert left_out == []


def test_a_folder_that_cannot_be_listed_is_collected_or_raised(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = os.listdir

    def listed(folder: Path) -> list[str]:
        if Path(folder).name in ("deep", "locked"):
            raise PermissionError(13, "Permission denied", str(folder))
        return listing(folder)

    monkeypatch.setattr(os, "listdir", listed)
    unlisted: list[str] = []
    assert [folder.name for folder, _ in walk(tree, [], unlisted=unlisted)] == ["top", "sub"]
    assert unlisted == ["sub/deep: permission denied"]
    with pytest.raises(PermissionError):
        list(walk(tree, []))
    (tree / "locked").mkdir()
    with pytest.raises(PermissionError):  # the top itself
        list(walk(tree / "locked", [], unlisted=unlisted))
