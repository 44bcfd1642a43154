import os

import pytest

from egotools.config import file_digest
from egotools.errors import OutputError
from egotools.files.disk import create_file, open_file, write_whole
from egotools.files.json_files import parse_json, read_json


@pytest.mark.parametrize("content", ["text ä", b"\x00bytes"])
def test_a_file_is_written_whole_into_folders_that_are_made(tmp_path, content):
    path = tmp_path / "a/b.txt"
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def test_a_link_where_a_file_is_written_aside_is_replaced_and_what_it_leads_to_stays(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    os.symlink(victim, tmp_path / ".report.json.part")
    write_whole(tmp_path / "report.json", "{}")
    assert victim.read_text() == "as it was"
    assert (tmp_path / "report.json").read_text() == "{}"
    assert not (tmp_path / "report.json").is_symlink()


def test_a_file_of_ours_replaces_a_link_of_its_name(tmp_path):
    os.symlink(tmp_path / "elsewhere", tmp_path / "own")
    with create_file(tmp_path / "own") as file:
        file.write(b"x")
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "own").is_symlink()


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/x cannot be written: "):
        write_whole(tmp_path / "file/x", "")


def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "zero"):
        if path.name == "zero":
            os.symlink("/dev/zero", path)
        for reading in (open_file, file_digest, read_json):
            with pytest.raises(OSError, match="not a regular file"):
                reading(path)
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 3000, "[" * 70 + "]" * 70, "{", b"\xff", "[" * 900 + "]" * 900]
)
def test_json_that_is_nested_too_deeply_or_is_none_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_json_of_ours_is_read():
    assert parse_json(b'{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    assert parse_json("[" * 60 + "]" * 60) is not None
