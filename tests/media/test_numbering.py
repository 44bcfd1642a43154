"""Frame folders whose numbers have gaps, or no order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root
from media_files import number_of, numbered
from PIL import Image

from egotools.errors import ClipError
from egotools.manifests.folders import list_folder
from egotools.manifests.table import read_manifest
from egotools.media.numbering import are_frames, may_be_frames, positions
from egotools.media.stills import FrameFolder
from egotools.sampling import single_frames
from egotools.stores import open_store
from egotools.types import Clip


def folder_of(path: Path, numbers: list[int], form: str = "frame_{:010d}.png") -> Path:
    path.mkdir(parents=True)
    for number in numbers:
        Image.fromarray(numbered(number)).save(path / form.format(number))
    return path


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ({7}, "1 frame is missing of 60 (number 7)"),
        ({10, 11, 12, 40}, "4 frames are missing of 60 (number 10 to 12, 40)"),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_a_missing_frame_moves_no_other(first: int, lost: set[int], said: str, tmp_path: Path) -> None:
    numbers = [number + first for number in range(60) if number + first not in lost]
    frames = FrameFolder(folder_of(tmp_path / "f", numbers), 30)
    assert frames.remarks == [f"{said}; the one before is shown until the next"]
    np.testing.assert_allclose(frames.info.times, (np.array(numbers) - first) / 30)
    assert frames.info.end == 2
    for moment in (0.4, 0.5, 1.35, 1.99):
        expected = max(number for number in numbers if (number - first) / 30 <= moment)
        assert number_of(next(frames.frames(frames.info.at([moment])))) == expected


def test_frames_with_a_gap_from_the_command_line(tmp_path: Path) -> None:
    folder_of(tmp_path / "in/one", [number for number in range(60) if number != 7])
    folder_of(tmp_path / "in/four", [number for number in range(60) if number not in (10, 11, 12, 40)])
    line = ["manifest", "folder", str(tmp_path / "in"), "--out", str(tmp_path / "m.csv")]
    assert "found 2 frame folders" in CliRunner().invoke(root, line).stderr
    assert [(clip.id, clip.fps) for clip in read_manifest(tmp_path / "m.csv")] == [("four", 30), ("one", 30)]
    checked = CliRunner().invoke(root, ["manifest", "check", str(tmp_path / "m.csv"), "--json"])
    assert checked.exit_code == 0
    assert "4 frames are missing of 60 (number 10 to 12, 40)" in checked.stdout
    line = ["extract", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path / "c"), "color", "--fps", "2"]
    made = CliRunner().invoke(root, line)
    assert made.exit_code == 0
    assert "1 frame is missing of 60 (number 7)" in made.stderr
    store = open_store(tmp_path / "c/color.lmdb")
    assert [store[name].times[:, 0].tolist() for name in ("four", "one")] == [[0, 0.5, 1, 1.5]] * 2


@pytest.mark.parametrize(
    ("names", "places", "said"),
    [
        (["f_30.png", "f_60.png", "f_120.png", "f_150.png"], [0, 1, 3, 4], ["1 frame is missing of 5 (number 90)"]),
        (["3.png", "4.png", "5.png"], [0, 1, 2], ["the first frame is number 3; times are counted from it"]),
        (["1.png", "2.png", "90.jpg", "91.jpg"], [0, 1, 89, 90], ["87 frames are missing of 91 (number 3 to 89)"]),
        (["3.png", "13.png", "16.png", "37.png"], [0, 1, 2, 3], ["have no common step"]),
        (["a.png", "b.png"], [0, 1], ["differ in more than one number"]),
        (["1_17.png", "2_34.png"], [0, 1], ["differ in more than one number"]),
        (["left_1.png", "right_1.png"], [0, 1], ["differ in more than one number"]),
        (["17.png"], [0], []),
        ([f"f{each}.png" for each in (0, 1, 3, 4, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 19, 20)], None,
         ["(number 2, 5, 10, 13 and more)"]),
    ],
)  # fmt: skip
def test_frames_stand_at_their_numbers_or_it_is_said(names: list[str], places: list[int], said: list[str]) -> None:
    found, remarks = positions(names)
    assert places is None or found == places
    assert len(remarks) == len(said)
    assert all(part in remark for part, remark in zip(said, remarks, strict=True))


@pytest.mark.parametrize("names", [["f_1.png", "f_01.png"], ["f_1.jpg", "f_1.png"]])
def test_two_frames_of_one_number_are_refused(names: list[str], tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    for name in [*names, "f_2.png"]:
        Image.fromarray(numbered(1)).save(tmp_path / "f" / name)
    with pytest.raises(ClipError, match="have the same number; remove one of them"):
        FrameFolder(tmp_path / "f", 30)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([f"frame_{number}.jpg" for number in range(9) if number != 4], True),
        ([f"frame_{number:06d}.jpg" for number in range(0, 900, 30) if number not in (60, 510)], True),
        ([f"{number:08d}.jpg" for number in range(1, 40) if number != 20], True),
        ([f"f{number}.jpg" for number in [*range(30), *range(500, 530)]], True),  # a download that stopped
        ([f"IMG_{number}.JPG" for number in range(1203, 1240) if number != 1207], False),
        ([f"DSCN{number}.JPG" for number in range(1203, 1240) if number != 1207], False),
        ([f"{number:05d}.jpg" for number in range(100) if number % 5], False),  # of a data set the training part
        ([f"f_{number}.jpg" for number in range(9) if number != 4] + ["f_03.jpg"], False),
    ],
)
def test_gaps_are_told_from_photographs(names: list[str], expected: bool) -> None:
    assert are_frames(names) is expected


def test_a_folder_with_many_gaps_is_named(tmp_path: Path) -> None:
    numbers = [number for number in range(60) if number % 4]
    listing = list_folder(folder_of(tmp_path / "top/f", numbers).parent)
    assert ([item.kind for item in listing.found], listing.unsure) == (["image"] * 45, ["f"])
    line = ["manifest", "folder", str(tmp_path / "top"), "--out", str(tmp_path / "m.csv")]
    said = CliRunner().invoke(root, line).stderr
    assert "folders of numbered images that are taken for pictures: 1 (f)" in said
    assert "add --frames" in said
    assert "add --frames" not in CliRunner().invoke(root, [*line, "--images"]).stderr


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([f"frame_{number:04d}_{number * 7919}.jpg" for number in range(20)], True),
        ([f"{number}.jpg" for number in (3, 13, 16, 37, 39, 68, 77, 86)], False),
        ([f"IMG_2021010{number}_{number * number * 777:06d}.jpg" for number in (1, 2, 4, 9, 3, 5, 8)], False),
        ([f"{side}_{number}.jpg" for side in "ab" for number in range(8)], False),
        ([f"{number}.jpg" for number in range(8)], False),  # frames for certain
    ],
)
def test_pictures_that_may_be_frames_are_pointed_out(names: list[str], expected: bool) -> None:
    assert may_be_frames(names) is expected


def test_rows_do_not_multiply_in_a_long_gap(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", [*range(10), *range(100_000, 100_010)], "{}.png")
    frames = FrameFolder(folder, 10)
    assert frames.remarks[-1] == "no frames between 1.0 s and 10000.0 s; no rows are made there"
    clip = Clip("a", folder, fps=10)
    windows = single_frames(frames.info, clip, fps=2, frames=None, stride=None)
    assert windows.times[:, 0].tolist() == [0, 0.5, 10000, 10000.5]
