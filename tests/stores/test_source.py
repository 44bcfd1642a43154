"""Where rows came from, and whether that is still so."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from egotools.config import file_digest
from egotools.stores.source import Source, SourceFiles, content_digest
from egotools.types import Clip


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    (tmp_path / "a.mp4").write_bytes(b"video")
    return Clip("a", tmp_path / "a.mp4", 1.0, 2.5)


def change(source: Source, clip: Clip, *, digest: bool = False) -> str:
    return SourceFiles(digest=digest).change(source, clip)


@pytest.mark.parametrize(
    "source",
    [
        Source("/v/a.mp4"),
        Source("/v/\udcff.mp4", 0.1, 1 / 3, 2**40, 1700000000.123456, 29.97, "0123456789abcdef"),
        Source("", 0.0, None, 0, 0.0),
    ],
)
def test_a_source_comes_back_from_its_text(source: Source) -> None:
    assert Source.from_json(source.to_json()) == source
    assert source.to_json().isascii()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1]", "not what was written"),
        ('{"start": 1.0}', "not what was written"),
        ('{"path": 3}', "not what was written"),
        ('{"path": "", "size": -1}', "size=-1"),
        ('{"path": "", "size": true}', "size=True"),
        ('{"path": "", "start": "x"}', "start=x"),
        ('{"path": "", "start": null}', "start=None"),
        ('{"path": "", "end": NaN}', "end=nan"),
        ('{"path": "", "mtime": Infinity}', "mtime=inf"),
        ('{"path": "", "fps": 1%s}' % ("0" * 400), "fps=1000"),
        ('{"path": "", "later": 1}', "written by a newer egotools: 'later'"),
        ("[" * 50_000 + "]" * 50_000, "nested"),
        ("nothing", "Expecting value"),
    ],
)
def test_a_source_that_was_not_written_by_us_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Source.from_json(text)


def test_what_came_from_the_file_as_it_is_has_not_changed(clip: Clip) -> None:
    assert change(Source.from_json(Source.of(clip).to_json()), clip) == ""
    assert Source.of(clip).path == str(clip.path)


def test_a_clip_of_other_times_or_another_rate_has_changed_whatever_its_file(clip: Clip) -> None:
    source = Source.of(clip)
    clip.path.unlink()
    assert change(source, replace(clip, start=0.5)) == "its times were 1 to 2.5 s, now 0.5 to 2.5 s"
    assert change(source, replace(clip, end=None)) == "its times were 1 to 2.5 s, now 1 to the end"
    assert change(source, replace(clip, fps=5.0)) == "its frame rate was None, now 5.0"
    assert change(source, replace(clip, id="b", split="test", labels={"x": "y"})) == ""


def test_the_size_is_said_before_the_time(clip: Clip) -> None:
    source = Source.of(clip)
    clip.path.write_bytes(b"another video")
    assert change(source, clip) == "its file had 5 bytes, now it has 13"


def test_a_later_and_an_earlier_time_of_writing_are_a_change(clip: Clip) -> None:
    source = Source.of(clip)
    for seconds in (-3600, 3600):
        os.utime(clip.path, (0, (source.mtime or 0) + seconds))
        assert change(source, clip).startswith("its file was written on ")


@pytest.mark.parametrize(
    ("then", "now"),
    [
        *((1767268801.75, 1767268801.0), (1767268801.75, 1767268802.0), (1767268801.0, 1767268801.75)),  # tar, scp
        *((1767268801.75, 1767268800.0), (1767268801.75, 1767268802.0), (1767268800.0, 1767268801.999)),  # zip, FAT
        *((1767268801.756789, 1767268801.75), (1767268801.756789, 1767268801.7567889)),  # exFAT; 100 ns
    ],
)
def test_a_time_that_a_copy_has_rounded_is_the_same(clip: Clip, then: float, now: float) -> None:
    os.utime(clip.path, (0, now))
    assert change(Source(str(clip.path), 1.0, 2.5, 5, then), clip) == ""


@pytest.mark.parametrize(
    ("then", "now"),
    [
        *((1767268801.25, 1767268801.75), (1767268801.5, 1767268799.0), (1767268801.0, 1767268803.5)),
        *((1767268801.75, 1767268799.0), (1767268802.5, 1767268800.0), (1767268801.756, 1767268801.77)),
    ],
)
def test_times_that_no_rounding_explains_are_a_change_that_is_said_with_what_tells_them_apart(
    clip: Clip, then: float, now: float
) -> None:
    os.utime(clip.path, (0, now))
    source = Source(str(clip.path), 1.0, 2.5, 5, then, digest="0" * 16)
    said = change(source, clip)
    now_, then_ = said.removeprefix("its file was written on ").partition(" (")[0].split(", not ")
    assert now_ != then_
    assert said.endswith("(the size is the same: 'egotools rebuild --digest' compares the content)")
    assert "--digest" not in change(replace(source, digest=None), clip)  # it would compare nothing


def test_a_file_that_was_moved_as_it_is_has_not_changed(clip: Clip, tmp_path: Path) -> None:
    source = Source.of(clip)
    assert change(source, replace(clip, path=clip.path.rename(tmp_path / "b.mp4"))) == ""


def test_what_cannot_be_compared_stands(clip: Clip) -> None:
    source = Source.of(clip)
    clip.path.unlink()
    assert change(source, clip) == ""
    assert change(source, clip, digest=True) == ""
    assert change(replace(source, size=None, mtime=None), clip) == ""
    assert change(Source("", 1.0, 2.5), replace(clip, path=Path())) == ""


def test_the_content_decides_where_it_is_asked_for_and_known(clip: Clip) -> None:
    known = replace(Source.of(clip), digest=content_digest(clip.path))
    os.utime(clip.path, (0, 0))
    assert change(known, clip, digest=True) == ""
    assert change(known, clip).startswith("its file was written on ")
    assert change(replace(known, digest=None), clip, digest=True).startswith("its file was written on ")
    clip.path.write_bytes(b"VIDEO")
    os.utime(clip.path, (0, known.mtime or 0))
    assert change(known, clip) == ""
    assert change(known, clip, digest=True) == "its file has different content"


def test_a_file_whose_content_cannot_be_read_is_a_change_with_the_reason(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    known = replace(Source.of(clip), digest="0" * 16)
    monkeypatch.setattr("egotools.stores.source.file_digest", refuse)
    assert change(known, clip, digest=True) == "its file cannot be read: Permission denied"


def test_each_file_is_looked_at_once(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr("egotools.stores.source.file_digest", lambda path: (read.append(path), "0" * 16)[1])
    known, files = replace(Source.of(clip), digest="0" * 16), SourceFiles(digest=True)
    assert [files.change(known, clip) for _ in range(3)] == ["", "", ""]
    clip.path.unlink()
    assert files.change(known, clip) == ""
    assert files.status(clip.path) is not None
    assert read == [clip.path]


def test_the_digest_of_a_file_is_that_of_its_bytes(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"video")
    assert content_digest(clip.path) == content_digest(tmp_path / "copy") == file_digest(clip.path)
    (tmp_path / "copy").write_bytes(b"vide0")
    assert content_digest(clip.path) != content_digest(tmp_path / "copy")


def frames(folder: Path, **contents: bytes) -> Path:
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_digest_of_a_folder_is_that_of_its_files_and_their_names(tmp_path: Path) -> None:
    one = content_digest(frames(tmp_path / "one", a=b"1", b=b"2"))
    assert content_digest(frames(tmp_path / "two", b=b"2", a=b"1")) == one
    others = [
        frames(tmp_path / "swapped", a=b"2", b=b"1"),
        frames(tmp_path / "renamed", a=b"1", c=b"2"),
        frames(tmp_path / "more", a=b"1", b=b"2", c=b""),
        frames(tmp_path / "less", a=b"1"),
        frames(tmp_path / "empty"),
    ]
    assert len({one, *map(content_digest, others)}) == 6
    (tmp_path / "one/below").mkdir()
    assert content_digest(tmp_path / "one") == one


def test_a_frame_that_was_rewritten_is_seen_by_the_content_alone(tmp_path: Path) -> None:
    clip = Clip("f", frames(tmp_path / "frames", a=b"1", b=b"2"), fps=2.0)
    known = replace(Source.of(clip), digest=content_digest(clip.path))
    (clip.path / "b").write_bytes(b"3")  # which leaves the folder's own size and time as they were
    assert change(known, clip) == ""
    assert change(known, clip, digest=True) == "its file has different content"
