"""EGTEA Gaze+: the official lists, and RULSTM's of the same actions."""

from __future__ import annotations

from pathlib import Path

import pytest
from typing_commands import complaint, manifest_command

from egotools.manifests.table import read_manifest

FIRST, SECOND = "P04-R06-GreekSalad-682170-683940-F016368-F016419", "P04-R06-GreekSalad-69970-77130-F001662-F001869"


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_official_times_are_the_milliseconds_in_the_names_of_clips(tmp_path):
    (tmp_path / "train_split2.txt").write_text(f"{FIRST} 5 2 3\r\n{SECOND} 1 1 1 4\nP99-R01-Pizza-1-2-F1-F2 1 1 1\n")
    (tmp_path / "test_split2.txt").write_text("P04-R06-GreekSalad-9-5-F1-F2 1 1 1\nodd 1 1 1\n" + FIRST + " 1 1 1\n")
    (tmp_path / "action_idx.txt").write_text("Inspect/Read recipe 1\nTake cup 5\n")
    videos = touched(tmp_path / "v", "a/P04-R06-GreekSalad.mp4", f"cropped_clips/P04-R06-GreekSalad/{SECOND}.mp4")
    more = ("--videos", videos, "--split-number", 2, "--out", tmp_path / "g.csv")
    said = manifest_command("egtea", tmp_path, *more, status=1).stderr
    whole, cut = read_manifest(tmp_path / "g.csv")
    assert (whole.id, whole.path.stem, whole.start, whole.end) == (FIRST, "P04-R06-GreekSalad", 682.17, 683.94)
    assert (cut.path.stem, cut.start, cut.end, cut.labels["noun_classes"]) == (SECOND, 0.0, None, "1 4")
    labels = [whole.labels[name] for name in ("participant", "recipe", "action", "action_class", "verb_class")]
    assert labels == ["P04", "R06-GreekSalad", "Take cup", "5", "2"]
    assert "left out: 1 (P99-R01-Pizza.mp4 of P99-R01-Pizza-1-2-F1-F2)" in said
    assert "rows that cannot be used, left out: 3" in said
    assert "test_split2.txt, row 1: the end 5 ms is not after 9 ms" in said
    assert f"{FIRST} of test is also in train" in said
    assert "verb_idx.txt, noun_idx.txt not in" in said


def test_rulstms_frames_are_the_official_times_at_30_per_second(shared, tmp_path):
    root = shared / "data/annotations/egtea"
    for name in ("training1.csv", "validation1.csv"):
        for line in (root / name).read_text().splitlines():
            touched(tmp_path / "v", f"{line.split(',')[1]}.mp4")
    line = ("--lists", "rulstm", "--videos", tmp_path / "v", "--out", tmp_path / "g.csv")
    manifest_command("egtea", root, *line)
    found = {clip.id: clip for clip in read_manifest(tmp_path / "g.csv")}
    assert len(found) == 8299 + 2022
    clip = found["10303"]  # the first of the official test list
    assert clip.start == pytest.approx(682.17, abs=1 / 30)
    assert (clip.path.stem, clip.split, clip.labels["action"]) == ("P04-R06-GreekSalad", "val", "Inspect/Read_recipe")


def test_frames_of_another_rate_are_said(tmp_path):
    (tmp_path / "validation1.csv").write_text("1,P01-R01-Pizza,24,36,0,0,0\n2,P01-R01-Pizza,24,24,0,0,0\n")
    more = ("--lists", "rulstm", "--fps", 24, "--videos", touched(tmp_path, "P01-R01-Pizza.mp4"))
    said = manifest_command("egtea", tmp_path, *more, "--out", tmp_path / "g.csv", status=1).stderr
    assert [(clip.start, clip.end) for clip in read_manifest(tmp_path / "g.csv")] == [(1.0, 1.5)]
    assert "frames are counted at 24 per second" in said
    assert "row 2: the end frame 24 is not after 24" in said


def test_lists_of_the_other_kind_are_recognized(tmp_path):
    (tmp_path / "training1.csv").write_text("1,P01-R01-Pizza,1,2,0,0,0\n")
    more = ("--videos", touched(tmp_path, "a.mp4"), "--out", tmp_path / "g.csv")
    assert "there are those of --lists rulstm" in complaint(manifest_command("egtea", tmp_path, *more, status=1))
