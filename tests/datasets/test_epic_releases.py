"""EPIC-KITCHENS-55 and EPIC-SOUNDS, with columns and classes of their own; the published validation lists."""

from __future__ import annotations

import csv
from pathlib import Path

from typing_commands import complaint, manifest_command

from egotools.manifests.table import read_manifest

HEAD = (
    "uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,noun"
)
TRAIN = f"""{HEAD},noun_class,all_nouns,all_noun_classes
0,P01,P01_01,open door,00:00:00.14,00:00:03.37,8,202,open,2,door,8,['door'],[8]
7,P09,P09_07,take cup,00:01:00.00,00:01:01.50,3600,3690,take,124,trouser,351,['trouser'],[351]
8,P09,P09_07,take cup,00:01:00.00,00:01:01.50,3600,3690,take,125,trouser,351,['trouser'],[351]
"""
TEST = "uid,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame\n"


def touched(folder: Path, videos: set[str]) -> Path:
    folder.mkdir()
    for video in videos:
        (folder / f"{video}.MP4").touch()
    return folder


def test_epic_kitchens_55_has_two_tests_and_times_whatever_the_frame_rate(tmp_path):
    (tmp_path / "EPIC_train_action_labels.csv").write_text(TRAIN)
    (tmp_path / "EPIC_test_s1_timestamps.csv").write_text(f"{TEST}1924,P01,P01_11,00:00:00.00,00:00:01.89,1,113\n")
    (tmp_path / "EPIC_test_s2_timestamps.csv").write_text(f"{TEST}9000,P09,P09_01,00:00:02.00,00:00:03.00,120,180\n")
    videos = touched(tmp_path / "v", {"P01_01", "P09_07", "P01_11", "P09_01"})
    more = ("--videos", videos, "--out", tmp_path / "e.csv")
    said = manifest_command("epic-kitchens", tmp_path, "--release", "55", *more, status=1).stderr
    assert "row 4, column 'verb_class': '125', but the classes are 0 to 124" in said
    found = read_manifest(tmp_path / "e.csv")
    assert [(clip.id, clip.split, clip.start, clip.end, clip.labels["subset_unseen"]) for clip in found] == [
        ("0", "train", 0.14, 3.37, "0"),
        ("7", "train", 60.0, 61.5, "0"),
        ("1924", "test", 0.0, 1.89, "0"),
        ("9000", "test", 2.0, 3.0, "1"),
    ]
    assert (found[1].labels["noun_class"], found[1].labels["narration"]) == ("351", "take cup")
    assert "there are those of --release 55" in complaint(manifest_command("epic-kitchens", tmp_path, *more, status=1))


def test_the_published_validation_lists_are_all_listed(shared, tmp_path):
    for folder, file, release, count in (
        ("epic_kitchens_100", "EPIC_100_validation.csv", "100", 9668),
        ("epic_sounds", "EPIC_Sounds_validation.csv", "sounds", 8035),
    ):
        root = shared / "data/annotations" / folder
        with (root / file).open(newline="") as text:
            rows = list(csv.DictReader(text))
        videos = touched(tmp_path / release, {row["video_id"] for row in rows})
        more = ("--release", release, "--videos", videos, "--out", tmp_path / "e.csv")
        manifest_command("epic-kitchens", root, *more)
        found = read_manifest(tmp_path / "e.csv")
        assert len(found) == len(rows) == count
        assert [found[-1].labels[name] for name in ("participant", "video")] == [
            rows[-1][name] for name in ("participant_id", "video_id")
        ]
    assert (found[0].start, found[0].end) == (2.069, 2.993)
    assert (found[0].labels["class"], found[0].labels["class_id"]) == ("ceramic / wood collision", "34")
