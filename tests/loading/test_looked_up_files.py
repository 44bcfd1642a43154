"""The frames of all files are looked up once, kept with the run, and used again unless a file has changed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import write_video
from PIL import Image

from egotools.errors import ClipError, TrainingError
from egotools.loading import kept_files
from egotools.loading.files import OpenFiles, look_up, looked_up
from egotools.loading.kept_files import FILES, files_of, read_files, write_files
from egotools.types import Clip


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    write_video(tmp_path / "a.mp4", 12)
    write_video(tmp_path / "b.avi", 8)
    (tmp_path / "folder").mkdir()
    for number in (1, 2, 5):
        Image.new("RGB", (64, 48), (number,) * 3).save(tmp_path / "folder" / f"{number}.png")
    (tmp_path / "none.mp4").write_bytes(b"nothing")
    names = [("a.mp4", None), ("b.avi", None), ("folder", 10.0), ("none.mp4", None), ("missing.mp4", None)]
    return [Clip(name, tmp_path / name, fps=fps) for name, fps in names]


def test_what_is_kept_is_what_was_found(clips, tmp_path, monkeypatch):
    found = files_of(clips, tmp_path / FILES)
    assert [path.name for path in found.sources] == ["a.mp4", "b.avi", "folder"]
    assert [path.name for path in found.failed] == ["missing.mp4", "none.mp4"]
    assert found.failed[tmp_path / "missing.mp4"] == f"{tmp_path}/missing.mp4: no such file"
    monkeypatch.setattr(kept_files, "looked_up", None)
    again = files_of(clips, tmp_path / FILES)
    assert again.failed == found.failed
    for path, source in found.sources.items():
        other = again.sources[path]
        assert (source.index is None) == (path.name == "folder")
        np.testing.assert_array_equal(source.info.times, other.info.times)
        np.testing.assert_array_equal(source.info.gaps, other.info.gaps)
        assert (source.info.end, source.info.width, source.info.height) == (other.info.end, 64, 48)
        if source.index is not None and other.index is not None:
            assert other.index.shape == source.index.shape
            mine, theirs = vars(source.index.frames), vars(other.index.frames)
            assert set(mine) == set(theirs)
            for name, value in mine.items():
                np.testing.assert_array_equal(theirs[name], value)
        with_index = list(other.open().frames([0, 2]))
        assert all((one == two).all() for one, two in zip(with_index, source.open().frames([0, 2]), strict=True))


def test_several_processes_find_the_same(clips):
    items = [(clip.path, clip.fps) for clip in clips]
    one, other = looked_up(items), looked_up(items, workers=2)
    assert list(one.sources) == list(other.sources)
    assert one.failed == other.failed


def test_progress_is_told(clips):
    told: list[tuple[object, ...]] = []
    files_of(clips, progress=lambda *figures: told.append(figures))
    assert told[-1] == ("looking up", 5, 5)


def test_a_file_that_changed_is_refused_by_name(clips, tmp_path):
    files = files_of(clips, tmp_path / FILES)
    write_video(tmp_path / "a.mp4", 13)
    with pytest.raises(TrainingError, match=r"a\.mp4 has changed, or gone, since the training began; restore it"):
        files_of(clips, tmp_path / FILES)
    with pytest.raises(ClipError, match=r"a\.mp4: the file has changed, or gone, since the training began"):
        files.sources[tmp_path / "a.mp4"].open()
    with pytest.raises(TrainingError, match=r"folder is read at fps 5\.0, not 10\.0, since"):
        files_of([Clip("c", tmp_path / "folder", fps=5.0)], tmp_path / FILES)
    with pytest.raises(TrainingError, match=r"new\.mp4 is not among the files that the training began with"):
        files_of([Clip("c", tmp_path / "new.mp4")], tmp_path / FILES)


def test_what_is_no_such_file_is_refused(clips, tmp_path):
    path = tmp_path / FILES
    write_files(path, files_of(clips[:1]))
    whole = path.read_bytes()
    for content in (b"", b"nothing", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(TrainingError, match=r"files\.npz cannot be used: .*; delete the run to start over"):
            read_files(path)
    np.savez(path, content=np.frombuffer(b'{"files": 3, "failed": {}}', np.uint8))
    with pytest.raises(TrainingError, match="'files' is 3, not a list"):
        read_files(path)


def test_only_a_few_files_stay_open(clips, tmp_path):
    sources = [
        source for source in map(look_up, ((clip.path, clip.fps) for clip in clips)) if not isinstance(source, str)
    ]
    opened = OpenFiles(2)
    first = opened.frames(sources[0])
    assert opened.frames(sources[0]) is first
    for source in sources[1:]:
        opened.frames(source)
    assert opened.frames(sources[0]) is not first
    os.truncate(tmp_path / "b.avi", 10)
    with pytest.raises(ClipError, match="has changed"):
        OpenFiles().frames(sources[1])
