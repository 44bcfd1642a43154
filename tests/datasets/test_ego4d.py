"""Ego4D's annotation files as manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ego4d_files import action, change, videos, write
from egotools.cli.main import root as egotools

from egotools.manifests.table import read_manifest
from egotools.types import Clip


def listed(folder: Path, task: str, *files: object, status: int = 0, more: tuple[object, ...] = ()) -> Result:
    line = ["manifest", "ego4d", *files, "--task", task, "--videos", folder / "videos", "--out", folder / "m.csv"]
    done = CliRunner().invoke(egotools, [*map(str, line), *map(str, more)])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def refused(folder: Path, task: str, *files: object, more: tuple[object, ...] = ()) -> str:
    line = str(listed(folder, task, *files, status=1, more=more).exception)
    assert "\n" not in line
    assert not (folder / "m.csv").exists()
    return line


def clips(folder: Path) -> dict[str, Clip]:
    return {clip.id: clip for clip in read_manifest(folder / "m.csv")}


@pytest.mark.parametrize(
    ("there", "file", "start", "pnr"),
    [
        (("video", "clip", "unique1"), "video.mp4", 100.0, 103.0),
        (("full_scale/video",), "full_scale/video.mp4", 100.0, 103.0),
        (("clips/clip", "unique1"), "clips/clip.mp4", 20.0, 23.0),
        (("unique1",), "unique1.mp4", 0.0, 3.0),
    ],
)
def test_a_state_change_counts_its_times_in_whichever_file_there_is(tmp_path, there, file, start, pnr):
    videos(tmp_path / "videos", *there)
    listed(tmp_path, "state-change", write(tmp_path / "fho_oscc-pnr_val.json", [change()]))
    (clip,) = read_manifest(tmp_path / "m.csv")
    assert (clip.id, clip.split) == ("unique1", "val")
    assert (clip.path, clip.start, clip.end) == (tmp_path / "videos" / file, start, start + 8)
    assert float(clip.labels["pnr"]) == pytest.approx(pnr)
    wanted = {"state_change": "1", "start_frame": "3000", "end_frame": "3240", "pnr_frame": "3090", "video": "video"}
    assert {name: clip.labels[name] for name in wanted} == wanted


def test_several_files_make_the_splits_that_their_names_say_and_both_layouts_are_read(tmp_path):
    videos(tmp_path / "videos", "video")
    older = change(2, parent_pnr_frame=None, pnr_frame=3015)
    del older["parent_pnr_frame"]
    files = [
        write(tmp_path / "fho_oscc-pnr_train.json", [change(1, state=False, clip_uid=None), older], bare=True),
        write(tmp_path / "fho_oscc-pnr_test_unannotated.json", [change(3, state=None)]),
    ]
    listed(tmp_path, "state-change", *files)
    found = clips(tmp_path)
    assert {id: (each.split, each.labels["state_change"]) for id, each in found.items()} == {
        "unique1": ("train", "0"),
        "unique2": ("train", "1"),
        "unique3": ("test", ""),
    }
    assert [found[id].labels["pnr_frame"] for id in found] == ["", "3015", ""]
    assert float(found["unique2"].labels["pnr"]) == 100.5


def test_a_change_outside_of_its_clip_is_kept_and_named(tmp_path):
    videos(tmp_path / "videos", "video")
    entries = [change(1, parent_pnr_frame=3241), change(2, parent_pnr_frame=3240)]
    done = listed(tmp_path, "state-change", write(tmp_path / "fho_oscc-pnr_val.json", entries))
    assert "1 clip whose change lies outside of them, which are kept: unique1" in done.stderr
    assert list(clips(tmp_path)) == ["unique1", "unique2"]


def test_actions_have_their_numbers_names_and_order(tmp_path):
    videos(tmp_path / "videos", "clip")
    train = write(tmp_path / "fho_lta_train.json", [action(1, labels=(116, 520)), action(0)])
    listed(tmp_path, "anticipation", train)
    found = clips(tmp_path)
    assert list(found) == ["clip_1", "clip_0"]
    assert (found["clip_1"].start, found["clip_1"].end, found["clip_1"].split) == (2.0, 10.0, "train")
    assert found["clip_1"].labels == {
        "clip_uid": "clip",
        "action_idx": "1",
        "verb_label": "116",
        "noun_label": "520",
        "verb": "take",
        "noun": "cup",
        "video": "video",
    }
    before = (tmp_path / "m.csv").read_bytes()
    listed(tmp_path, "action", train)
    assert (tmp_path / "m.csv").read_bytes() == before


def test_actions_without_labels_are_of_test_and_whole_videos_do_as_well(tmp_path):
    videos(tmp_path / "videos", "video")
    listed(tmp_path, "anticipation", write(tmp_path / "fho_lta_test_unannotated.json", [action(4, labels=None)]))
    (clip,) = read_manifest(tmp_path / "m.csv")
    assert (clip.split, clip.labels["verb_label"], clip.labels["noun"]) == ("test", "", "")
    assert (clip.path.name, clip.start, clip.end) == ("video.mp4", 88.0, 96.0)


def test_rows_that_cannot_be_used_are_counted_and_named_and_the_rest_is_written(tmp_path):
    videos(tmp_path / "videos", "clip")
    entries = [
        action(0),
        action(1, clip=None),
        action(0, clip="gone", clip_parent_start_sec=0.0),
        action(1, clip="gone"),
        action(2, action_clip_end_sec=1.0),
        action(-1, action_clip_start_sec=0.0),
        action(3, action_clip_start_sec=-0.5),
    ]
    done = listed(tmp_path, "action", write(tmp_path / "fho_lta_val.json", entries), status=1)
    assert list(clips(tmp_path)) == ["clip_0", "clip_3"]
    assert clips(tmp_path)["clip_3"].start == 0.0
    assert "2 rows left out: of files that do not exist" in done.stderr
    assert f"files that do not exist, their clips are left out: 1 ({tmp_path / 'videos/gone.mp4'})" in done.stderr
    assert "rows that cannot be used, left out: 3" in done.stderr
    assert "fho_lta_val.json: clips.1: 'clip_uid' is null" in done.stderr
    assert "fho_lta_val.json: clips.4: clip 'clip_2': end 1.0 s is not after start 4.0 s" in done.stderr


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (change(2, parent_pnr_frame=None), "'state_change' is true, but there is no 'parent_pnr_frame'"),
        (change(2, parent_end_frame=3000), "'parent_end_frame' 3000 is not after 3000"),
        (change(2, parent_start_sec=float("nan")), "start nan is not a time in seconds"),
    ],
)
def test_state_changes_that_cannot_be_used_are_named(tmp_path, entry, why):
    videos(tmp_path / "videos", "video")
    done = listed(tmp_path, "state-change", write(tmp_path / "fho_oscc-pnr_val.json", [change(), entry]), status=1)
    assert "clips.1: " in done.stderr
    assert why in done.stderr
    assert list(clips(tmp_path)) == ["unique1"]


@pytest.mark.parametrize(
    ("task", "content", "why"),
    [
        ("state-change", "{", "fho_val.json: not JSON, or cut off: Expecting property name"),
        ("state-change", '{"videos": []}', "holds no list 'clips'"),
        ("state-change", '"text"', "holds no list 'clips'"),
        ("state-change", [3], "'clips.0' is 3, not an object"),
        ("state-change", [change(state_change=1)], "'clips.0.state_change' is 1, not true or false"),
        ("state-change", [change(parent_start_frame="0")], "'clips.0.parent_start_frame' is '0', not a whole number"),
        ("state-change", [change(), change(state=None)], "the entry 'clips.1.state_change' is missing"),
        ("state-change", [change(video_uid="../x")], "'clips.0.video_uid' is '../x', which names no file"),
        ("state-change", [change(video_uid="a\ud800")], "'clips.0.video_uid' is 'a\\ud800', which names no file"),
        ("state-change", [None], "'clips.0' is None, not an object"),
        ("state-change", [action(0)], "'clips.0.unique_id' is missing; is it the file of this --task?"),
        ("state-change", [], "fho_val.json: it lists no clips"),
        ("anticipation", [change()], "'clips.0.action_idx' is missing; is it the file of this --task?"),
        ("anticipation", [action(0, labels=None)], "the entry 'clips.0.verb_label' is missing"),
        ("anticipation", [action(0, labels=(-1, 0))], "clips.0.verb_label is -1, but classes count from 0"),
        ("anticipation", [action(0, action_clip_start_sec=None)], "'clips.0.action_clip_start_sec' is None, not a"),
        ("anticipation", [action(0, clip="gone", video_uid="lost")], "no video of the rows"),
    ],
)
def test_a_malformed_file_is_refused_by_its_entry(tmp_path, task, content, why):
    videos(tmp_path / "videos", "video", "clip")
    path = tmp_path / "fho_val.json"
    path.write_text(content if isinstance(content, str) else json.dumps({"clips": content}))
    assert why in refused(tmp_path, task, path)


def test_rows_that_are_there_twice_are_left_out_and_those_that_differ_refused(tmp_path):
    videos(tmp_path / "videos", "video", "clip")
    path = write(tmp_path / "fho_oscc-pnr_val.json", [change(), change(2), change(), change()])
    said = listed(tmp_path, "state-change", path).stderr
    assert "2 rows left out: there before, the same: unique1" in said
    assert list(clips(tmp_path)) == ["unique1", "unique2"]
    write(path, [change(), change(2), change(state=False)])
    said = listed(tmp_path, "state-change", path, status=1).stderr
    assert "clips.2: the id 'unique1' is also that of clips.0, which differs" in said
    assert "rows that cannot be used, left out: 1" in said
    assert {id: clip.labels["state_change"] for id, clip in clips(tmp_path).items()} == {"unique1": "1", "unique2": "1"}
    write(path, [action(0), action(1), action(0), action(1, labels=(7, 7))])
    said = listed(tmp_path, "action", path, status=1).stderr
    assert "1 row left out: there before, the same: clip_0" in said
    assert "clips.3: the id 'clip_1' is also that of clips.1, which differs" in said


def test_a_file_that_is_not_there_is_said_before_its_split(tmp_path):
    videos(tmp_path / "videos", "video")
    assert "nowhere.json: no such file" in refused(tmp_path, "state-change", tmp_path / "nowhere.json")


def test_labels_are_checked_against_the_taxonomy_of_either_release(tmp_path):
    videos(tmp_path / "videos", "clip")
    path = write(tmp_path / "fho_lta_val.json", [action(0, labels=(116, 520))])
    taxonomy = {"verbs": [f"v{at}" for at in range(117)], "nouns": [f"n{at}" for at in range(521)]}
    beside = write(tmp_path / "fho_lta_taxonomy.json", taxonomy, bare=True)
    done = listed(tmp_path, "anticipation", path)
    assert "117 verbs, 521 nouns" in done.stderr
    (tmp_path / "m.csv").unlink()
    older = {"verbs": taxonomy["verbs"][:115], "nouns": taxonomy["nouns"][:478]}
    older_file = write(tmp_path / "older.json", older, bare=True)
    line = refused(tmp_path, "anticipation", path, more=("--taxonomy", older_file))
    assert f"clips.0.verb_label is 116, but {older_file} has 115 verbs" in line
    write(beside, {"verbs": "x"}, bare=True)
    assert "fho_lta_taxonomy.json: 'verbs' is 'x', not a list" in refused(tmp_path, "anticipation", path)


def test_a_name_without_split_needs_one(tmp_path):
    videos(tmp_path / "videos", "video")
    path = write(tmp_path / "fho_oscc-pnr.json", [change()])
    assert "give --split" in refused(tmp_path, "state-change", path)
    listed(tmp_path, "state-change", path, more=("--split", "dev"))
    assert clips(tmp_path)["unique1"].split == "dev"


def test_what_is_missing_on_the_command_line_is_said(tmp_path):
    path = write(tmp_path / "fho_lta_val.json", [action(0)])
    assert "--videos is not a folder" in refused(tmp_path, "action", path)
    done = CliRunner().invoke(egotools, ["manifest", "ego4d", str(path), "--out", str(tmp_path / "m.csv")])
    assert done.exit_code == 2
    assert "--task is needed" in done.output
