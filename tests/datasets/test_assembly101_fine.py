"""Assembly101's fine-grained actions in the views that there are."""

from __future__ import annotations

import csv
from pathlib import Path

from typing_commands import complaint, manifest_command

from egotools.manifests.table import read_manifest

HEAD = (
    "id,video,start_frame,end_frame,action_id,verb_id,noun_id,action_cls,verb_cls,noun_cls,toy_id,toy_name,is_shared\n"
)
EGO = ("HMC_84358933_mono10bit", "HMC_21179183_mono10bit")  # of e4


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.mp4").touch()
    return folder


def test_rows_name_a_view_or_have_all_that_are_asked_for(tmp_path):
    row = "{},{},30,{},0010,0018,0027,clap hand,clap,hand,a30,suv,0\n"
    rows = [("0", "R", 60), ("1", "R/C10118_rgb.mp4", 90), ("2", "S", 60), ("1", "R", 60), ("3", "R/x.mp4", 60)]
    (tmp_path / "fine-grained-annotations").mkdir()
    path = tmp_path / "fine-grained-annotations/train.csv"
    path.write_text(HEAD + "".join(row.format(*cells) for cells in [*rows, ("4", "R", 30)]))
    videos = touched(tmp_path / "v", "R/C10118_rgb", f"R/{EGO[1]}", "assembly_S/C10118_rgb")
    more = ("--videos", videos, "--views", "v3,e4", "--out", tmp_path / "f.csv")
    said = manifest_command("assembly101-fine", tmp_path, *more, status=1).stderr
    found = {clip.id: clip for clip in read_manifest(tmp_path / "f.csv")}
    assert list(found) == [
        *("train/0/C10118_rgb", f"train/0/{EGO[1]}", "train/1/C10118_rgb", "train/2/C10118_rgb"),
    ]
    clip = found[f"train/0/{EGO[1]}"]
    assert (clip.start, clip.end, clip.split, clip.labels["view"]) == (1.0, 2.0, "train", "e4")
    assert [clip.labels[name] for name in ("action", "action_id", "verb", "noun")] == [
        "clap hand",
        "10",
        "clap",
        "hand",
    ]
    assert f"left out: 1 ({videos}/S/{EGO[0]}.mp4 or {EGO[1]}.mp4)" in said
    for why in (
        "row 5, column 'id': '1' is also in row 3",
        "row 6, column 'video': 'x.mp4' is none",
        "30 is not after",
    ):
        assert why in said


def test_the_published_validation_list_has_a_row_for_each_action_and_view(shared, tmp_path):
    root = shared / "data/annotations/assembly101"
    with (root / "validation.csv").open(newline="") as text:
        recordings = {row["video"] for row in csv.DictReader(text)}
    videos = touched(tmp_path / "v", *(f"{each}/C10118_rgb" for each in recordings))
    more = ("--videos", videos, "--out", tmp_path / "f.csv")
    manifest_command("assembly101-fine", root, *more, "--views", "v3")
    assert len(read_manifest(tmp_path / "f.csv")) == 15699
    line = complaint(manifest_command("assembly101-fine", root, *more, "--views", "e1", status=1))
    assert "no camera of the recordings of" in line
