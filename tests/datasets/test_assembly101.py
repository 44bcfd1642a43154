"""Assembly101: recordings and cameras as clips, coarse labels as segments, the lists as splits."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root as egotools

from egotools.datasets.assembly101 import VIEWS, Assembly101
from egotools.manifests.segments import read_segments
from egotools.manifests.table import read_manifest

A, B, C, D = (f"nusar-2021_action_both_90{number}-a01_90{number}_user_id_2021-02-0{number}_100000" for number in "1234")
LISTS = {"Train": [f"assembly_{A}", f"disassembly_{A}"], "Pair": [f"assembly_{B}"], "Val": [f"assembly_{C}"]}
EGO = VIEWS["e4"]


def run(*arguments: object, status: int = 0) -> Result:
    done = CliRunner().invoke(egotools, ["manifest", "assembly101", *map(str, arguments)])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def refused(*arguments: object) -> str:
    """What one line says of why there is no manifest."""
    line = str(run(*arguments, status=1).exception)
    assert "\n" not in line
    return line


def label_file(*parts: tuple[int, int, str], end: str = "\n") -> str:
    return "".join(f"{start:09d}\t{stop:09d}\t{label}\t{end}" for start, stop, label in parts)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Annotations of four recordings in `annotations`, and videos in `videos`."""
    root = tmp_path / "annotations"
    (root / "coarse_labels").mkdir(parents=True)
    (root / "coarse_splits").mkdir()
    (root / "actions.csv").write_text("action_id,verb_id,noun_id,action_cls,verb_cls,noun_cls\n0,0,0,inspect toy,a,b\n")
    for name, sequences in {**LISTS, "Test": [f"disassembly_{D}"]}.items():
        (root / f"coarse_splits/FINAL_USE_{name}_vic.txt").write_bytes("\r\n".join(sequences).encode())
        for sequence in sequences:
            parts = [(7, 49, "inspect toy"), (49, 101, "inspect toy")]
            (root / f"coarse_labels/{sequence}.txt").write_text(label_file(*parts))
    for number, folder in enumerate((A, f"assembly_{B}", C, f"disassembly_{D}")):
        for camera in ("C10118_rgb", EGO[number % 2]):
            (tmp_path / f"videos/{folder}").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"videos/{folder}/{camera}.mp4").touch()
    return tmp_path


def manifest(made: Path, *more: object, status: int = 0) -> Result:
    line = (made / "annotations", "--videos", made / "videos", "--out", made / "a.csv")
    return run(*line, *more, status=status)


def test_a_clip_for_each_recording_and_camera_and_segments_beside(made):
    done = manifest(made, "--lists", "two-stream")
    clips = read_manifest(made / "a.csv")
    assert [(clip.split, *clip.labels.values()) for clip in clips] == [
        (split, recording, camera, view)
        for split, recording, ego in (("train", A, 0), ("pair", B, 1), ("val", C, 0), ("test", D, 1))
        for camera, view in (("C10118_rgb", "v3"), (EGO[ego], "e4"))
    ]
    assert [clip.id for clip in clips[:2]] == [f"{A}/C10118_rgb", f"{A}/{EGO[0]}"]
    assert [clip.path.parent.name for clip in clips[::2]] == [A, f"assembly_{B}", C, f"disassembly_{D}"]
    segments = read_segments(made / "a.segments.csv")
    assert [(each.id, each.sequence) for each in segments[:4:2]] == [(A, f"assembly_{A}"), (A, f"disassembly_{A}")]
    assert [(round(each.start * 30), round(each.end * 30)) for each in segments[:2]] == [(7, 49), (49, 101)]
    assert "train: 2 sequences; items of at most 24,000 frames: v3 2, e4 2" in done.stderr


def test_videos_and_label_files_that_do_not_exist_are_named_and_counted(made):
    (made / f"videos/{A}/C10118_rgb.mp4").unlink()
    (made / f"annotations/coarse_labels/assembly_{C}.txt").unlink()
    done = manifest(made, status=1)
    assert "files that do not exist, their clips are left out: 2" in done.stderr
    assert f"coarse_labels/assembly_{C}.txt" in done.stderr
    assert f"videos/{A}/C10118_rgb.mp4" in done.stderr
    assert [clip.split for clip in read_manifest(made / "a.csv")] == ["train", "pair", "pair", "test", "test"]


def test_without_labels_of_test_its_clips_are_listed_and_views_can_be_chosen(made):
    (made / f"annotations/coarse_labels/disassembly_{D}.txt").unlink()
    done = manifest(made, "--views", "e4")
    assert "1 sequences of test have no labels" in done.stderr
    assert [clip.labels["view"] for clip in read_manifest(made / "a.csv")] == ["e4"] * 4
    assert {each.id for each in read_segments(made / "a.segments.csv")} == {A, B, C}


def test_an_archive_of_labels_is_read_in_place_also_with_the_old_spelling(made):
    labels = made / "annotations/coarse_labels"
    (labels / f"disassembly_{D}.txt").rename(labels / f"disassebly_{D}.txt")
    manifest(made)
    first = read_segments(made / "a.segments.csv")
    assert first[-1].sequence == f"disassembly_{D}"
    with zipfile.ZipFile(made / "annotations/coarse_labels.zip", "w") as archive:
        for path in labels.iterdir():
            archive.write(path, f"coarse_labels/{path.name}")
    shutil.rmtree(labels)
    manifest(made)
    assert read_segments(made / "a.segments.csv") == first
    assert not labels.exists()
    (made / "annotations/coarse_labels.zip").write_bytes(b"PK")
    assert "coarse_labels.zip: cannot be read" in str(manifest(made, status=1).exception)


def test_a_recording_has_one_split_and_a_sequence_of_two_lists_stays_in_the_first(made):
    lists = made / "annotations/coarse_splits"
    (lists / "FINAL_USE_Val_vic.txt").write_text(f"assembly_{A}\nassembly_{C}\n")
    (lists / "FINAL_USE_Test_vic.txt").write_text(f"disassembly_{B}\ndisassembly_{D}\n")
    done = manifest(made)
    assert (
        f"1 sequences of FINAL_USE_Val_vic.txt are in lists of train too, where they stay (assembly_{A})" in done.stderr
    )
    left = f"1 sequences of FINAL_USE_Test_vic.txt are left out: their recordings are in pair (disassembly_{B})"
    assert left in done.stderr
    splits = {clip.labels["recording"]: clip.split for clip in read_manifest(made / "a.csv")}
    assert splits == {A: "train", B: "pair", C: "val", D: "test"}
    assert Counter(each.sequence for each in read_segments(made / "a.segments.csv"))[f"assembly_{A}"] == 2


def test_statistics_make_clips_without_videos(made):
    ranges = {name: {"C10118_rgb": [1, 90], EGO[1]: [10, 200]} for name in (A, B, C)}
    (made / "s.pkl").write_bytes(pickle.dumps({**ranges, D: {"C10118_rgb": [1, 200]}}))
    done = run(made / "annotations", "--statistics", made / "s.pkl", "--out", made / "a.csv")
    clips = read_manifest(made / "a.csv")
    assert {clip.path for clip in clips} == {Path()}
    assert [clip.id for clip in clips[-2:]] == [f"{C}/{EGO[1]}", f"{D}/C10118_rgb"]
    assert "4 recordings, 7 cameras" in done.stderr
    assert f"1 cameras are not in the statistics: {D}/e4" in done.stderr
    assert "labels exceed the frames of 8 sequences and cameras by up to 11 frames" in done.stderr
    shutil.rmtree(made / f"videos/{A}")
    assert "2 clips have features only" in manifest(made, "--statistics", made / "s.pkl").stderr


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({A: {"C10118_rgb": [0, 5]}}, f"{A}, C10118_rgb: [0, 5] is not [first frame, last frame + 1]"),
        ({A: [1, 2]}, "is not a recording with a dictionary of cameras"),
        ([], "not a dictionary of recordings"),
        (Path("x"), "which is not allowed there"),
        ({"other": {"C10118_rgb": [1, 5]}}, "no camera of the 4 recordings"),
    ],
)
def test_statistics_that_are_no_frame_ranges_are_refused(made, content, problem):
    (made / "s.pkl").write_bytes(pickle.dumps(content))
    assert problem in refused(made / "annotations", "--statistics", made / "s.pkl", "--out", made / "a.csv")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (label_file((1, 5, "inspect toy"), (5, 9, "fly")), "row 2: the action 'fly' is not in actions.csv"),
        (label_file((1, 5, "inspect toy"), (4, 9, "inspect toy")), "row 2: frame 4 lies before the end of row 1, 5"),
        (label_file((1, 5, "inspect toy"), (8, 9, "inspect toy")), "row 2: no label for the frames 5 to 7"),
        (label_file((5, 5, "inspect toy")), "row 1: the end 5 is not after the start 5"),
        ("1\t5\n", "row 1: 2 fields"),
        ("1\t5\tinspect toy\t\t\n", "row 1: 5 fields"),
        ("x\t5\tinspect toy\t\n", "row 1: 'x' is not the number of a frame"),
        ("", "no labels"),
    ],
)
def test_unusable_labels_are_refused_with_file_and_row(made, content, problem):
    (made / f"annotations/coarse_labels/assembly_{A}.txt").write_text(content)
    line = refused(made / "annotations", "--videos", made / "videos", "--out", made / "a.csv")
    assert problem in line
    assert f"assembly_{A}.txt" in line
    assert not (made / "a.csv").exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (f"assembly_{A}\nassembly_{A}\n", "row 2: 'assembly_nusar"),
        ("picnic_nusar\n", "row 1: 'picnic_nusar' is not a sequence"),
        ("\n", "the list is empty"),
    ],
)
def test_unusable_lists_are_refused_with_file_and_row(made, content, problem):
    (made / "annotations/coarse_splits/FINAL_USE_Train_vic.txt").write_text(content)
    line = refused(made / "annotations", "--videos", made / "videos", "--out", made / "a.csv")
    assert problem in line
    assert "FINAL_USE_Train_vic.txt" in line


def test_wrong_folders_and_flags_are_refused(made, tmp_path):
    out = ("--out", made / "a.csv")
    assert "--videos is needed" in run(made / "annotations", *out, status=2).output
    assert "'v9' is none of v1" in run(made, "--videos", made, "--views", "v9", *out, status=2).output
    assert "is this the right folder?" in refused(made, "--videos", made, *out)
    assert "--videos is not a folder" in refused(made / "annotations", "--videos", made / "gone", *out)
    (made / f"videos/{A}/{EGO[1]}.mp4").touch()
    assert "has two cameras of e4" in refused(made / "annotations", "--videos", made / "videos", *out)


PUBLISHED = {
    "two-stream": {"train": 181, "pair": 182, "val": 8, "test": 110},
    "joint": {"train": 363, "val": 2, "test": 110},  # the list of train holds 6 of the 8 sequences of val
}


@pytest.mark.parametrize("lists", PUBLISHED)
def test_the_published_lists_give_the_published_numbers_of_items(shared, lists):
    root = shared / "data/assembly101"
    found = Assembly101(statistics=root / "statistic_input_all.pkl", lists=lists).clips(root)
    for split, items in PUBLISHED[lists].items():
        line = next(each for each in found.remarks if each.startswith(f"{split}: "))
        assert f"v3 {items}" in line
        assert f"e4 {items}" in line
    assert any("362 recordings, 1,081 cameras" in each for each in found.remarks)
    assert (lists == "joint") == any("6 sequences of FINAL_USE_Val_vic.txt" in each for each in found.remarks)


def test_all_label_files_of_the_official_lists_give_back_their_frames(shared):
    root = shared / "data/assembly101"
    found = Assembly101(statistics=root / "statistic_input_all.pkl", lists="official").clips(root)
    assert found.segments is not None
    assert not found.missing
    assert (len({each.sequence for each in found.segments}), len(found.segments)) == (513, 6409)
    assert Counter(clip.labels["view"] for clip in found.clips)["v3"] == 350
    with zipfile.ZipFile(root / "coarse_labels.zip") as archive:
        text = archive.read(f"coarse_labels/{found.segments[0].sequence}.txt").decode()
    own = [each for each in found.segments if each.sequence == found.segments[0].sequence]
    assert text == label_file(*((round(each.start * 30), round(each.end * 30), each.label) for each in own))
