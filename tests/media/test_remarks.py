"""What is odd about a file: said once, no failure unless --strict asks for it."""

from __future__ import annotations

import pytest
from media_files import write_video

import egotools.manifests.check
from egotools.errors import ClipError, NoSound
from egotools.extraction import reading
from egotools.extraction.messages import Failure, FileRemarks, Piece
from egotools.extraction.reading import Reader
from egotools.extractors.lookup import find_extractor
from egotools.manifests.check import check_clips
from egotools.media.video import open_frames
from egotools.types import Clip

ODD = "frame 3 is stamped 500 s late"


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """Two clips of a file, and one of another that has nothing odd about it."""
    odd, plain = write_video(tmp_path / "odd.mp4", 12), write_video(tmp_path / "plain.mp4", 12)

    def opened(path, fps, look=None):
        frames = open_frames(path, fps, look)
        frames.remarks += [ODD] if path == odd else []
        return frames

    monkeypatch.setattr(reading, "open_frames", opened)
    monkeypatch.setattr(egotools.manifests.check, "open_frames", opened)
    monkeypatch.setattr(
        egotools.manifests.check, "apart", lambda function, files, count: ((file, function(file)) for file in files)
    )
    return [Clip("a", odd, 0.0, 0.2), Clip("b", odd, 0.2, 0.4), Clip("c", plain)]


def test_check_says_a_remark_once_a_file(clips):
    assert [(problem.id, problem.problem, problem.detail) for problem in check_clips(clips)] == [("a", "remark", ODD)]


def test_check_tells_of_the_sound_of_a_video(clips, monkeypatch):
    def opened(path):
        raise ClipError(f"{path}: of a kind that cannot be decoded") if path == clips[2].path else NoSound("none")

    monkeypatch.setattr(egotools.manifests.check, "open_sound", opened)
    said = [(problem.id, problem.problem, problem.detail) for problem in check_clips(clips)]
    assert said == [("a", "remark", ODD), ("c", "remark", "its sound cannot be read: of a kind that cannot be decoded")]


def test_a_reader_says_a_remark_and_gives_the_rows(clips):
    reader = Reader([find_extractor("color").kind(frames=1)], 8)
    assert [type(message) for message in reader.read(clips[0], [0], 0, 0)] == [Piece, FileRemarks]
    assert [type(message) for message in reader.read(clips[2], [0], 2, 0)] == [Piece]


def test_a_strict_reader_refuses_a_file_with_a_remark(clips):
    reader = Reader([find_extractor("color").kind(frames=1)], 8)
    (failure,) = reader.read(clips[0], [0], 0, 0, strict=True)
    assert isinstance(failure, Failure)
    assert failure.reason == f"{clips[0].path}: {ODD}; refused because of --strict"
    assert [type(message) for message in reader.read(clips[2], [0], 2, 0, strict=True)] == [Piece]
