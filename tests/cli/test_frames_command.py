"""`egotools frames`, as a user runs it: folders that are complete or absent, a manifest of them, flow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root
from PIL import Image

from egotools.errors import ManifestError
from egotools.extraction import frame_folders
from egotools.extraction.frame_folders import memdpc_names, names_of, write_folders
from egotools.extraction.frame_writing import FrameOptions, FrameTask, write_frames
from egotools.manifests.table import read_manifest, write_manifest
from egotools.media.video import open_frames
from egotools.types import Clip


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["frames", "--workers", "1", *map(str, arguments)])


@pytest.fixture
def place(tmp_path):
    """Two videos, one of them cut, and a broken one in between."""
    video = write_video(tmp_path / "v/walk.mp4", 20)
    (tmp_path / "v/broken.mp4").write_bytes(b"no video" * 20)
    clips = [
        Clip("kitchen/walk", video, split="train", labels={"label": "walk"}),
        Clip("broken", tmp_path / "v/broken.mp4", labels={"label": "walk"}),
        Clip("cut", video, 0.5, 1.5, labels={"label": "sit down"}),
    ]
    write_manifest(tmp_path / "m.csv", clips)
    return tmp_path


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    (tmp_path / "v").mkdir()


def line(place: Path) -> list[object]:
    return ["--manifest", place / "m.csv", "--out", place / "out"]


def test_clips_become_folders_with_a_manifest_and_a_bad_one_is_named(place):
    done = run(*line(place))
    assert done.exit_code == 1
    assert "failed: broken: " in done.stderr
    assert "broken.mp4" in done.stderr
    whole, part = read_manifest(place / "out/manifest.csv")
    assert (whole.id, whole.path, whole.split, whole.fps) == (
        "kitchen/walk", place / "out/kitchen/walk", "train", 10,
    )  # fmt: skip
    assert (part.id, part.start, part.end, part.labels) == ("cut", 0.0, None, {"label": "sit down"})
    files = sorted(path.name for path in part.path.glob("*.jpg"))
    assert files == [f"image_{number:05d}.jpg" for number in range(1, 11)]
    folder, video = open_frames(part.path, part.fps), open_frames(place / "v/walk.mp4")
    shown = [frame.mean() for frame in folder.frames(range(10))]
    assert shown == pytest.approx([frame.mean() for frame in video.frames(range(5, 15))], abs=1)
    (failed,) = read_manifest(place / "out/frames.failed.csv")
    assert failed.id == "broken"


def test_the_same_line_goes_on_makes_what_has_changed_and_refuses_other_options(place):
    run(*line(place))
    first = place / "out/kitchen/walk"
    before = first.stat().st_ino
    for path in (place / "out/cut").iterdir():
        path.unlink()
    (place / "out/cut").rmdir()
    (place / "out/.cut.part").mkdir()  # of a run that was killed
    again = json.loads(run(*line(place), "--json").stdout)
    assert (again["made"], again["clips"], again["changed"]) == (1, 2, [])
    assert first.stat().st_ino == before
    assert not (place / "out/.cut.part").exists()
    write_video(place / "v/walk.mp4", 12)
    changed = json.loads(run(*line(place), "--json").stdout)
    assert changed["changed"] == ["kitchen/walk", "cut"]
    assert [each["id"] for each in changed["failed"]] == ["broken", "cut"]  # which ends after the file now
    assert len(list(first.glob("*.jpg"))) == 12
    refused = run(*line(place), "--quality", 80)
    assert refused.exit_code == 1
    assert "holds frames with quality=95, not 80" in str(refused.exception)


def test_rate_size_and_limit(place):
    done = run(*line(place), "--fps", 5, "--size", 24, "--limit", 1)
    assert done.exit_code == 0, done.output
    (clip,) = read_manifest(place / "out/manifest.csv")
    files = sorted(clip.path.glob("*.jpg"))
    assert (len(files), clip.fps) == (10, 5)
    assert simplejpeg.decode_jpeg(files[0].read_bytes()).shape == (24, 32, 3)
    assert run(*line(place), "--size", 0).exit_code == 2
    assert run(*line(place), "--quality", 101).exit_code == 2


def test_flow_has_a_file_fewer_in_the_references_layout(place):
    pytest.importorskip("cv2")
    done = run(*line(place), "--flow", "dis", "--limit", 1, "--layout", "memdpc")
    assert done.exit_code == 0, done.output
    (clip,) = read_manifest(place / "out/flow/manifest.csv")
    assert clip.path == place / "out/flow/walk/walk"
    files = sorted(clip.path.glob("*.jpg"))
    assert [files[0].name, files[-1].name] == ["flow_00001.jpg", "flow_00019.jpg"]
    picture = simplejpeg.decode_jpeg(files[0].read_bytes())
    assert np.abs(picture[..., 0].astype(int) - 128).mean() < 4


def test_tvl1_in_pieces_is_what_it_is_whole(place, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "optflow"):
        pytest.skip("this OpenCV has no contrib modules: install opencv-contrib-python-headless instead")
    monkeypatch.setattr(frame_folders, "PIECE", 3)
    video, options = place / "v/walk.mp4", FrameOptions(flow="tvl1", size=16)
    clips = [Clip("short", video, 0.5, 1.0), Clip("broken", place / "v/broken.mp4")]
    found = write_folders(clips, place / "out", options, workers=1)
    assert [clip.id for clip, _ in found.failed] == ["broken"]
    assert (found.made, found.files) == (1, 4)
    task = FrameTask(clips[0], place / "whole", options)
    assert write_frames(task).files == 4
    for path in task.folder.glob("*.jpg"):
        assert path.read_bytes() == (place / "out/short" / path.name).read_bytes()
    left = sorted(path.name for path in (place / "out").iterdir())
    assert left == ["frames.failed.csv", "frames.json", "manifest.csv", "short"]


def test_a_folder_of_the_users_is_not_replaced(place):
    (place / "out/cut").mkdir(parents=True)
    (place / "out/cut/mine.txt").write_text("mine")
    done = run(*line(place))
    assert "is not of 'egotools frames'" in str(done.exception)
    assert (place / "out/cut/mine.txt").read_text() == "mine"


def test_a_clip_of_one_frame_or_without_a_file_has_no_flow(tmp_path):
    video = write_video(tmp_path / "v/one.mp4", 1)
    options = FrameOptions(flow="dis")
    assert "flow needs two" in write_frames(FrameTask(Clip("a", video), tmp_path / "a", options)).error
    assert "has no file" in write_frames(FrameTask(Clip("b", Path()), tmp_path / "b", options)).error
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_folders_are_called_as_their_clips_and_none_lies_in_another():
    ids = ["a/b", "c", "c/0001", "../x", "manifest.csv", ".h", "e" * 300]
    names = names_of([Clip(each, Path("v.mp4")) for each in ids])
    assert (names["a/b"], names["c/0001"]) == ("a/b", "c/0001")
    assert names["c"].startswith("c~")
    assert names["manifest.csv"].startswith("manifest.csv~")
    assert (names["../x"], names[".h"]) == ("_/x", "_h")
    assert len(names["e" * 300]) <= 200
    clips = [Clip(each, Path(f"{each}.avi"), labels={"label": "run/fast"}) for each in ("x", "y")]
    assert memdpc_names(clips, "label") == {"x": "run_fast/x", "y": "run_fast/y"}
    with pytest.raises(ManifestError, match="'x' has no 'action'"):
        memdpc_names(clips, "action")


@pytest.mark.parametrize(("shape", "becomes"), [((64, 48), (34, 26)), ((21, 33), (21, 34)), ((34, 40), (34, 40))])
def test_height_is_at_most_what_is_asked_for_and_the_width_even(place, shape, becomes):
    """Also of portrait frames, and of ones that are small enough, as FFmpeg's scale=-2:'min(34,ih)'."""
    (place / "p").mkdir()
    for number in range(2):
        Image.fromarray(np.zeros((*shape, 3), np.uint8)).save(place / f"p/{number}.png")
    task = FrameTask(Clip("p", place / "p", fps=5), place / "out/p", FrameOptions(height=34))
    assert write_frames(task).files == 2
    info = open_frames(task.folder, 5).info
    assert (info.height, info.width) == becomes
    with pytest.raises(ValueError, match="one of --size and --height"):
        FrameOptions(size=20, height=34)
