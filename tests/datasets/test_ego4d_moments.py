"""Ego4D's queries, moments and Goal-Step as manifests, of videos and of their released features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ego4d_files import videos, write
from typing_commands import complaint, manifest_command

from egotools.manifests.table import read_manifest
from egotools.types import Clip

SPAN = {"video_start_sec": 100.0, "video_end_sec": 580.0, "clip_start_sec": 0, "clip_end_sec": 480.0}


def query(start: float = 10.0, end: float = 12.0, **more: object) -> dict[str, object]:
    times = {"clip_start_sec": start, "clip_end_sec": end, "video_start_sec": 100 + start, "video_end_sec": 100 + end}
    return {**times, "query": "where is the cup?", "template": "Where is X?", "slot_x": None, **more}


def queries(folder: Path, *asked: dict[str, object], split: str = "val") -> Path:
    clip = {"clip_uid": "clip", **SPAN, "annotations": [{"annotation_uid": "a", "language_queries": asked}]}
    content = {"videos": [{"video_uid": "video", "split": split, "clips": [clip]}]}
    return write(folder / f"nlq_{split}.json", content, bare=True)


def label(start: float, end: float, **more: object) -> dict[str, object]:
    times = {"start_time": start, "end_time": end, "video_start_time": 100 + start, "video_end_time": 100 + end}
    return {**times, "label": "cut dough", "primary": True, **more}


def listed(folder: Path, task: str, *more: object, status: int = 0) -> tuple[dict[str, Clip], str]:
    done = manifest_command("ego4d", *more, "--task", task, "--out", folder / "m.csv", status=status)
    return {clip.id: clip for clip in read_manifest(folder / "m.csv")}, done.stderr


@pytest.mark.parametrize(
    ("of", "file", "start"), [((), "video", 110.0), (("--of", "video"), "video", 110.0), (("--of", "clip"), "clip", 10)]
)
def test_a_query_counts_its_times_in_the_video_or_in_the_clip(tmp_path, of, file, start):
    videos(tmp_path / "v", "full_scale/video", "clips/clip")
    found, _ = listed(tmp_path, "nlq", queries(tmp_path, query()), "--videos", tmp_path / "v", *of)
    clip = found["a_0"]
    assert (clip.path.stem, clip.start, clip.end, clip.split) == (file, start, start + 2, "val")
    assert clip.labels["query"] == "where is the cup?"
    assert (clip.labels["slot_x"], clip.labels["clip"], clip.labels["video"]) == ("", "clip", "video")


def test_queries_of_no_length_are_named_or_widened_and_those_without_text_left_out(tmp_path):
    videos(tmp_path / "v", "video")
    path = queries(tmp_path, query(0.25, 0.25), query(query=None), query(5.0, 4.0), query(20.0, 21.0))
    found, said = listed(tmp_path, "nlq", path, "--videos", tmp_path / "v", status=1)
    assert list(found) == ["a_3"]
    assert "1 queries without text left out" in said
    assert "1 row of no length: --around SECONDS gives them one" in said
    assert "videos.0.clips.0.a.2: clip 'a_2': end 104.0 s is not after start 105.0 s" in said
    found, _ = listed(tmp_path, "nlq", path, "--videos", tmp_path / "v", "--around", 1, status=1)
    assert (found["a_0"].start, found["a_0"].end) == (99.25, 101.25)


def test_a_query_of_test_has_no_times_and_is_about_its_clip(tmp_path):
    videos(tmp_path / "v", "clip")
    path = queries(tmp_path, {"query": "where?"}, split="test_unannotated")
    found, _ = listed(tmp_path, "nlq", path, "--videos", tmp_path / "v")
    assert (found["a_0"].start, found["a_0"].end, found["a_0"].split) == (0.0, 480.0, "test")


def test_moments_have_a_label_and_say_whether_it_is_primary(tmp_path):
    videos(tmp_path / "v", "video")
    first = {"annotator_uid": "x", "labels": [label(1.0, 3.0), label(2.0, 8.0, primary=False)]}
    clip = {"clip_uid": "clip", **SPAN, "annotations": [first, {"annotator_uid": "y", "labels": [label(1.5, 3.0)]}]}
    content = {"videos": [{"video_uid": "video", "split": "val", "clips": [clip]}]}
    path = write(tmp_path / "moments_val.json", content, bare=True)
    found, _ = listed(tmp_path, "moments", path, "--videos", tmp_path / "v")
    assert {id: (each.start, each.end, each.labels["primary"]) for id, each in found.items()} == {
        "clip_0_0": (101.0, 103.0, "1"),
        "clip_0_1": (102.0, 108.0, "0"),
        "clip_1_0": (101.5, 103.0, "1"),
    }
    assert found["clip_0_0"].labels["label"] == "cut dough"
    found, said = listed(tmp_path, "moments", path, "--videos", tmp_path / "v", "--primary")
    assert list(found) == ["clip_0_0", "clip_1_0"]
    assert "1 labels are not primary and are left out" in said


def test_files_of_another_task_and_options_of_another_are_refused(tmp_path):
    videos(tmp_path / "v", "video")
    path = queries(tmp_path, query())
    for task, why in (
        ("moments", "'videos.0.clips.0.annotations.0.annotator_uid' is missing"),
        ("goalstep", "missing"),
    ):
        more = ("--videos", tmp_path / "v", "--out", tmp_path / "m.csv")
        line = complaint(manifest_command("ego4d", path, "--task", task, *more, status=1))
        assert why in line
        assert "is it the file of this --task?" in line
    more = ("--videos", tmp_path / "v", "--primary", "--out", tmp_path / "m.csv")
    assert "--primary is for --task moments" in manifest_command("ego4d", path, "--task", "nlq", *more, status=2).stderr
    more = ("--videos", tmp_path / "v", "--features", tmp_path / "v", "--out", tmp_path / "m.csv")
    assert "or else --features" in manifest_command("ego4d", path, "--task", "nlq", *more, status=2).stderr


def test_the_published_steps_of_goals_are_all_listed_at_every_level(shared, tmp_path):
    path = shared / "data/annotations/ego4d/goalstep_valid.json"
    goals = json.loads(path.read_text())["videos"]
    for goal in goals:
        (tmp_path / f"{goal['video_uid']}.pt").touch()
    for level, count in (("goal", 134), ("step", 3349), ("substep", 4347)):
        found, _ = listed(tmp_path, "goalstep", path, "--features", tmp_path, "--level", level)
        assert len(found) == count
    step, uid = goals[0]["segments"][4]["segments"][0], goals[0]["video_uid"]
    clip = found[f"{uid}_4_0"]
    assert (clip.path.name, clip.start, clip.end) == (f"{uid}.pt", step["start_time"], step["end_time"])
    assert (clip.split, clip.labels["step_category"]) == ("val", step["step_category"])
    assert clip.labels["parent_step_category"] == goals[0]["segments"][4]["step_category"]


def test_published_queries_by_clip_count_in_the_clip(shared, tmp_path):
    path = shared / "data/annotations/ego4d/nlq_val.json"
    by_clip = json.loads(path.read_text())
    videos(tmp_path / "v", *(f"clips/{uid}" for uid in by_clip))
    found, said = listed(tmp_path, "nlq", path, "--videos", tmp_path / "v", status=1)
    assert len(found) == 3533
    assert "341 rows of no length" in said
    assert "rows that cannot be used, left out: 341" in said
    uid, asked = next(iter(by_clip.items()))
    clip = found[f"{asked['annotation_uids'][0]}_{asked['query_idx'][0]}"]
    assert (clip.path.stem, [clip.start, clip.end]) == (uid, asked["exact_times"][0])
    found, _ = listed(tmp_path, "nlq", path, "--videos", tmp_path / "v", "--around", 0.5)
    assert len(found) == 3874
