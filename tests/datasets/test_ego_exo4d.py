"""Ego-Exo4D: keysteps and descriptions of takes, in the files of their cameras."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typing_commands import complaint, manifest_command

from egotools.manifests.segments import read_segments
from egotools.manifests.table import read_manifest

UID = "77cd56fc-6b68-4c7f-814b-81545484dd2d"
FOLDER = "takes/cmu_bike14_4/frame_aligned_videos"


def stream(camera: str, name: str, path: str | None) -> dict[str, object]:
    return {"cam_id": camera, "stream_id": name, "relative_path": path and f"frame_aligned_videos/{path}.mp4"}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A download of one take with its annotations, and the videos of its glasses and of one camera of two."""
    aria = {"slam-left": stream("aria01", "1201-1", "aria01_1201-1"), "rgb": stream("aria01", "214-1", "aria01_214-1")}
    aligned = {each: {"0": stream(each, "0", each)} for each in ("cam01", "cam02")}
    devices = [{"cam_id": name, "is_ego": name == "aria01"} for name in ("aria01", "cam01", "cam02")]
    take = {
        "take_uid": UID,
        "take_name": "cmu_bike14_4",
        "root_dir": "takes/cmu_bike14_4",
        "participant_uid": 657,
        "parent_task_name": "Bike Repair",
        "duration_sec": 21.366666666666667,
        "capture": {"cameras": devices},
        "frame_aligned_videos": {**aligned, "aria01": aria, "collage": {"0": {"relative_path": "ego_preview.mp4"}}},
    }
    (tmp_path / "takes.json").write_text(json.dumps([take]))
    (tmp_path / "annotations").mkdir()
    steps = [(33.204, 56.6, "Read the instructions"), (0.856, 33.204, "Unbox package"), (50.0, 60.0, "Blow nose")]
    names = ("start_time", "end_time", "step_name")
    segments = [{**dict(zip(names, step, strict=True)), "step_unique_id": 824, "is_essential": True} for step in steps]
    keysteps = {UID: {"scenario": "Test", "segments": segments}, "gone": {"scenario": "Test", "segments": []}}
    (tmp_path / "annotations/keystep_val.json").write_text(json.dumps({"annotations": keysteps}))
    told = {"text": "C moves.", "timestamp": 0.5, "ego_visible": "1", "unsure": False, "best_exo": {"cam_id": "cam01"}}
    passes = [{"rejected": True, "descriptions": [told]}, {"rejected": False, "descriptions": [told]}]
    (tmp_path / "annotations/atomic_descriptions_train.json").write_text(json.dumps({"annotations": {UID: passes}}))
    for name in ("aria01_214-1", "cam01"):
        (tmp_path / FOLDER).mkdir(parents=True, exist_ok=True)
        (tmp_path / FOLDER / f"{name}.mp4").touch()
    return tmp_path


def test_a_keystep_has_a_row_for_each_camera_that_is_there(made):
    more = ("--task", "keystep", "--views", "all", "--out", made / "k.csv")
    said = manifest_command("ego-exo4d", made, *more, status=1).stderr
    found = {clip.id: clip for clip in read_manifest(made / "k.csv")}
    assert list(found) == [f"cmu_bike14_4/{camera}/{at}" for camera in ("aria01", "cam01") for at in range(3)]
    clip = found["cmu_bike14_4/aria01/1"]
    assert (clip.path, clip.start, clip.end) == (made / FOLDER / "aria01_214-1.mp4", 0.856, 33.204)
    labels = ("step", "step_id", "is_essential", "scenario", "recording", "view", "participant")
    assert [clip.labels[name] for name in labels] == ["Unbox package", "824", "1", "Test", "cmu_bike14_4", "ego", "657"]
    assert found["cmu_bike14_4/cam01/1"].labels["view"] == "cam01"
    assert "3 rows left out: of files that do not exist" in said
    assert f"{FOLDER}/cam02.mp4" in said
    assert "the take 'gone' is not in takes.json" in said


def test_whole_takes_have_their_keysteps_as_segments_beside(made):
    said = manifest_command("ego-exo4d", made, "--task", "keystep", "--whole", "--out", made / "t.csv", status=1).stderr
    (clip,) = read_manifest(made / "t.csv")
    assert (clip.id, clip.start, clip.end, clip.split) == ("cmu_bike14_4/aria01", 0.0, None, "val")
    segments = read_segments(made / "t.segments.csv")
    assert [(each.id, each.start, each.label) for each in segments] == [
        ("cmu_bike14_4", 0.856, "Unbox package"),
        ("cmu_bike14_4", 33.204, "Read the instructions"),
    ]
    assert "the keystep 'Blow nose' at 50 s overlaps the one before" in said


def test_descriptions_are_widened_and_rejected_ones_left_out(made):
    more = ("--task", "descriptions", "--out", made / "d.csv")
    assert "--around SECONDS is for --task descriptions" in manifest_command("ego-exo4d", made, *more, status=2).stderr
    done = manifest_command("ego-exo4d", made, *more, "--around", 1, "--views", "exo", status=1)
    assert "1 rejected annotations are left out" in done.stderr
    (clip,) = read_manifest(made / "d.csv")
    assert (clip.id, clip.start, clip.end, clip.split) == ("cmu_bike14_4/cam01/1_0", 0.0, 1.5, "train")
    assert [clip.labels[name] for name in ("text", "ego_visible", "best_exo", "unsure")] == [
        "C moves.",
        "1",
        "cam01",
        "0",
    ]


def test_files_of_features_and_downscaled_videos_stand_instead_of_videos(made):
    (made / "f").mkdir()
    (made / f"f/{UID}_aria01_rgb.pt").touch()
    more = ("--task", "keystep", "--out", made / "k.csv")
    manifest_command("ego-exo4d", made, *more, "--features", made / "f", status=1)
    assert {clip.path.name for clip in read_manifest(made / "k.csv")} == {f"{UID}_aria01_rgb.pt"}
    line = complaint(manifest_command("ego-exo4d", made, *more, "--downscaled", status=1))
    assert "no video of the takes of" in line
    takes = (made / "takes.json").read_text()
    (made / "takes.json").write_text(takes.replace('"takes/cmu_bike14_4"', f'"{"x" * 5000}"'))
    assert "no video of the takes of" in complaint(manifest_command("ego-exo4d", made, *more, status=1))
    (made / "takes.json").write_text('[{"take_uid": 3}]')
    line = complaint(manifest_command("ego-exo4d", made, *more, status=1))
    assert "takes.json: '0.take_uid' is 3, not text; is it Ego-Exo4D's?" in line
