"""`egotools segment`, as a user runs it: segments that can be read back, a picture, and clips that cannot be cut."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from clip_rows import every, scenes, write_rows
from egotools.cli.main import root
from PIL import Image

from egotools.derive import storyboard_picture
from egotools.manifests.segments import read_segments
from egotools.plots import Storyboard
from egotools.types import Rows


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["segment", *map(str, arguments)])


@pytest.fixture
def boards(monkeypatch) -> list[Storyboard]:
    """The storyboards that are drawn, which are."""
    drawn: list[Storyboard] = []
    real = storyboard_picture.storyboard_picture

    def kept(board: Storyboard, *, title: str) -> bytes:
        drawn.append(board)
        return real(board, title=title)

    monkeypatch.setattr(storyboard_picture, "storyboard_picture", kept)
    return drawn


@pytest.fixture
def cache(tmp_path, tiny_video) -> Path:
    """Rows of two clips of a video of 20 frames, which change after 6 and 13 of them."""
    rows = Rows(scenes(6, 7, 7), every(20))
    return write_rows(tmp_path / "c/f.lmdb", {"walk/park": rows, "walk/way": rows}, str(tiny_video))


def test_segments_are_written_and_told(cache, tmp_path):
    done = run("--features", cache, "--segments", 3, "--out", tmp_path / "s.csv")
    assert done.exit_code == 0, done.output
    found = [(each.id, each.start, each.end, each.label) for each in read_segments(tmp_path / "s.csv")]
    spans = [(0, 0.6), (0.6, 1.3), (1.3, 2.0)]
    assert found == [
        *(("walk/park", *span, str(number)) for number, span in enumerate(spans)),
        *(("walk/way", *span, str(number)) for number, span in enumerate(spans, 3)),
    ]
    assert "walk/park" in done.stdout
    assert "0.6667" in done.stdout
    assert "6 segments of 2 clips" in done.stderr


def test_changes_are_found_without_being_told_how_many(cache, tmp_path):
    line = ["--features", cache, "--method", "change", "--min-length", 0.5, "--out", tmp_path / "s.csv", "--json"]
    done = run(*line)
    assert done.exit_code == 0, done.output
    assert [each["segments"] for each in json.loads(done.stdout)["clips"]] == [3, 3]
    assert [each.end for each in read_segments(tmp_path / "s.csv")][:3] == [0.6, 1.3, 2.0]
    done = run(*line[:-1], "--segments", 9)
    assert done.exit_code == 1
    assert "too few for 9 segments; give fewer --segments, or a shorter --min-length" in done.stderr


def test_the_picture_has_a_key_frame_of_each_segment(cache, tmp_path, boards):
    line = ["--features", cache, "--segments", 3, "--out", tmp_path / "s.csv", "--picture", tmp_path / "p.png"]
    done = run(*line)
    assert done.exit_code == 0, done.output
    assert "shows walk/park, one of 2 clips" in done.stderr
    (board,) = boards
    assert board.edges.tolist() == [0, 6, 13, 20]
    assert board.seconds.tolist() == [0, 0.6, 1.3, 2.0]
    assert board.similarity.shape == (20, 20)
    frames = [round((np.median(shot.frame) - 20) / 3) for shot in board.shots]  # frame k has the level 20 + 3 k
    assert [0 <= frames[0] < 6, 6 <= frames[1] < 13, 13 <= frames[2] < 20] == [True] * 3
    captions = [shot.caption.replace("\u2013", "-") for shot in board.shots]
    assert captions == ["0: 0.0-0.6 s", "1: 0.6-1.3 s", "2: 1.3-2.0 s"]
    picture = Image.open(io.BytesIO((tmp_path / "p.png").read_bytes()))
    run(*line, "--clip", "walk/way")
    assert [shot.caption[0] for shot in boards[1].shots] == ["3", "4", "5"]
    assert picture.size[0] == 1000


def test_without_a_video_the_matrix_is_drawn_alone(cache, tmp_path, boards):
    (tmp_path / "m.csv").write_text("id,path\nwalk/park,gone.mp4\n")
    for more in (["--manifest", tmp_path / "m.csv"], []):
        if not more:
            (tmp_path / "tiny.mp4").unlink()
        done = run(
            *("--features", cache, "--segments", 3, "--out", tmp_path / "s.csv", "--picture", tmp_path / "p.png", *more)
        )
        assert done.exit_code == 0, done.output
        assert "no key frames: " in done.stderr
        assert not boards[-1].shots
    nowhere = write_rows(tmp_path / "n.lmdb", {"a": Rows(scenes(5, 5), every(10))})
    done = run("--features", nowhere, "--segments", 2, "--out", tmp_path / "s.csv", "--picture", tmp_path / "p.png")
    assert "neither the manifest nor" in done.stderr


def test_a_long_clip_has_a_smaller_matrix_and_the_longest_segments_key_frames(tmp_path, tiny_video, boards):
    values = np.random.default_rng(0).normal(size=(1300, 4))
    cache = write_rows(tmp_path / "l.lmdb", {"a": Rows(values, every(1300))}, str(tiny_video))
    line = ["--features", cache, "--segments", 70, "--out", tmp_path / "s.csv", "--picture", tmp_path / "p.png"]
    assert "key frames of the 60 longest of 70 segments" in run(*line).stderr
    (board,) = boards
    assert board.similarity.shape == (434, 434)
    assert board.edges[-1] == pytest.approx(1300 / 3)
    assert len(board.shots) == 60


def test_clips_that_cannot_be_cut_are_named_and_the_rest_is_written(tmp_path):
    bad = scenes(6, 7, 7)
    bad[4, 2] = np.nan
    cache = write_rows(tmp_path / "f.lmdb", {"bad": Rows(bad, every(20)), "good": Rows(scenes(6, 14), every(20))})
    (tmp_path / "m.csv").write_text("id,path\nbad,\ngood,\nlost,\n")
    line = ["--features", cache, "--manifest", tmp_path / "m.csv", "--segments", 2, "--out", tmp_path / "s.csv"]
    done = run(*line, "--json")
    assert done.exit_code == 1
    assert "failed: bad: row 4 (0.4 to 0.5 s) has NaN" in done.stderr
    assert "failed: lost: not in" in done.stderr
    shown = json.loads(done.stdout)
    assert shown["clips"] == [{"id": "good", "segments": 2, "mean_length": 1.0, "rows": 20}]
    assert [each["id"] for each in shown["failed"]] == ["bad", "lost"]
    assert {each.id for each in read_segments(tmp_path / "s.csv")} == {"good"}


def test_nothing_is_written_if_no_clip_can_be_cut(cache, tmp_path):
    (tmp_path / "s.csv").write_text("mine")
    done = run("--features", cache, "--class-length", 60, "--out", tmp_path / "s.csv", "--picture", tmp_path / "p.png")
    assert done.exit_code == 1
    assert done.stderr.count("less than one --class-length of 60 s") == 2
    assert "was not written" in done.stderr
    assert (tmp_path / "s.csv").read_text() == "mine"
    assert not (tmp_path / "p.png").exists()


def test_a_clip_of_the_picture_that_is_not_there_is_said(cache, tmp_path):
    line = ["--features", cache, "--segments", 3, "--out", tmp_path / "s.csv", "--picture", tmp_path / "p.png"]
    done = run(*line, "--clip", "walk/home")
    assert done.exit_code == 1
    assert "'walk/home' is no clip with segments" in done.stderr
    assert (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "give one of --segments and --class-length"),
        (["--segments", 2, "--class-length", 3], "give one of"),
        (["--segments", 2, "--window", -1], "--window must be above 0"),
        (["--method", "change", "--window", 2], "--window is for --method cluster"),
        (["--segments", 2, "--threshold", 2], "--threshold is for --method change"),
        (["--segments", 2, "--clip", "a"], "--clip is for --picture"),
        (["--segments", 2, "--picture", "s.csv"], "--picture s.csv is another file of this command"),
        (["--segments", 2, "--out", "c/f.lmdb"], "--out c/f.lmdb is another file of this command"),
    ],
)
def test_wrong_usage_is_said_and_nothing_is_overwritten(cache, tmp_path, monkeypatch, more, says):
    monkeypatch.chdir(tmp_path)
    before = cache.read_bytes()
    done = run("--features", "c/f.lmdb", "--out", "s.csv", *more)
    assert done.exit_code == 2
    assert says in done.stderr
    assert cache.read_bytes() == before
    assert not (tmp_path / "s.csv").exists()
