"""SAYCam and KrishnaCam: recordings in their order, by small copies of their layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root as egotools
from PIL import Image

from egotools.datasets.krishnacam import KrishnaCam
from egotools.datasets.saycam import SAYCam
from egotools.errors import ManifestError
from egotools.manifests.table import read_manifest
from egotools.media.video import open_frames


def run(*arguments: object, status: int = 0) -> Result:
    done = CliRunner().invoke(egotools, [*map(str, arguments)])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def frames(folder: Path, numbers: range | list[int]) -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"{number:06d}.jpg")
    return folder


def test_saycam_is_in_the_order_of_its_names_and_reads_back_at_25_a_second(tmp_path: Path) -> None:
    for name in ("S_20140101_0900_01", "S_20130719_1410_02", "S_20130719_1410_01"):
        frames(tmp_path / "d" / name, range(3))
    (tmp_path / "d/S_20130801_0000_01.mp4").touch()
    run("manifest", "saycam", tmp_path / "d", "--out", tmp_path / "s.csv")
    clips = read_manifest(tmp_path / "s.csv")
    assert [clip.id for clip in clips] == [
        "S_20130719_1410_01", "S_20130719_1410_02", "S_20130801_0000_01", "S_20140101_0900_01",
    ]  # fmt: skip
    assert [clip.fps for clip in clips] == [25, 25, None, 25]
    assert open_frames(clips[0].path, clips[0].fps).info.times.tolist() == pytest.approx([0, 0.04, 0.08])


def test_what_is_odd_about_saycam_is_counted_and_named(tmp_path: Path) -> None:
    frames(tmp_path / "S_20130719_1410_01", [1, 2, 4])
    frames(tmp_path / "A_20130719_1410_01", range(2))
    frames(tmp_path / "notes", range(2))
    (tmp_path / "S_20130720_1410_01").mkdir()
    (tmp_path / "read.me").touch()
    done = run("manifest", "saycam", tmp_path, "--out", tmp_path / "s.csv", status=1)
    for said in (
        "1 recordings left out, not named as S_20130719_1410_01: notes",
        "1 recordings of other children left out (--child S): A_20130719_1410_01",
        "1 folders do not begin with number 0: S_20130719_1410_01",
        "1 folders lack numbers in between, so that frames are missing: S_20130719_1410_01",
        "1 files of other kinds ignored: read.me",
        "S_20130720_1410_01",  # an empty folder
    ):
        assert said in done.stderr
    assert [clip.id for clip in read_manifest(tmp_path / "s.csv")] == ["S_20130719_1410_01"]
    assert [clip.id for clip in SAYCam(child="all").clips(tmp_path).clips] == [
        "A_20130719_1410_01", "S_20130719_1410_01",
    ]  # fmt: skip
    with pytest.raises(ManifestError, match=r"other children left out .*nothing is left"):
        SAYCam(child="Y").clips(tmp_path)


def test_krishnacam_is_sorted_by_whole_paths_as_text_and_cut_to_a_range(tmp_path: Path) -> None:
    for name in ("a-b/y.mp4", "a/x.1.avi", "c.mp4", "d.mov", "b.MP4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = KrishnaCam().clips(tmp_path)
    assert [clip.id for clip in found.clips] == ["a-b/y", "a/x", "b", "c"]
    assert any("1 files of other kinds ignored: d.mov" in remark for remark in found.remarks)
    part = KrishnaCam(first=1, end=3).clips(tmp_path)
    assert [clip.id for clip in part.clips] == ["a/x", "b"]
    assert any(remark.startswith("2 recordings of 4 left out (--first 1, --end 3)") for remark in part.remarks)
    (tmp_path / "c.2.avi").touch()  # whose frames the reference's script would write over those of c.mp4
    with pytest.raises(ManifestError, match="'c' appears twice"):
        KrishnaCam().clips(tmp_path)


def test_krishnacams_lines_as_published_make_frames_at_10_a_second_of_even_width(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos/2014-09-01_10-00-00.mp4", 40, fps=20, size=(60, 90))
    run("manifest", "krishnacam", tmp_path / "videos", "--out", tmp_path / "kcam.csv")
    line = ("frames", "--manifest", tmp_path / "kcam.csv", "--fps", 10, "--out", tmp_path / "f", "--workers", 1)
    run(*line, "--height", 34, "--layout", "storyboard")
    (clip,) = read_manifest(tmp_path / "f/manifest.csv")
    assert (clip.id, clip.fps) == ("2014-09-01_10-00-00", 10)
    info = open_frames(clip.path, clip.fps).info
    assert (info.height, info.width, len(info)) == (34, 52, 20)
    names = sorted(path.name for path in clip.path.glob("*.jpg"))
    assert (names[0], names[-1]) == ("000000.jpg", "000019.jpg")
    (again,) = KrishnaCam().clips(tmp_path / "f").clips
    assert (again.id, again.fps) == (clip.id, clip.fps)
