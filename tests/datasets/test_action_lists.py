"""UCF101, HMDB51, Kinetics and MemDPC's own lists, by small copies of their layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media_files import touched
from typing_commands import manifest_command

from egotools.datasets.hmdb51 import HMDB51
from egotools.datasets.kinetics import Kinetics
from egotools.datasets.memdpc_lists import MemDPCLists
from egotools.datasets.ucf101 import UCF101
from egotools.errors import ManifestError
from egotools.manifests.table import read_manifest
from egotools.types import Clip


def splits(path: Path) -> dict[str, str]:
    return {clip.id: clip.split for clip in read_manifest(path)}


def ucf(tmp_path: Path, groups: int = 10) -> tuple[Path, Path]:
    """Two classes; groups 1 and 2 are test, the others train. CRLF and a blank line in the first list."""
    videos, lists = tmp_path / "videos", tmp_path / "lists"
    lists.mkdir()
    names = [
        f"{c}/v_{c}_g{g:02d}_c0{n}.avi" for c in ("Archery", "Biking") for g in range(1, groups + 1) for n in (1, 2)
    ]
    touched(videos, *names)
    train = [f"{name} {1 + (name[0] == 'B')}" for name in names if "_g01" not in name and "_g02" not in name]
    (lists / "trainlist01.txt").write_bytes("\r\n".join([*train, "", ""]).encode())
    (lists / "testlist01.txt").write_text("\n".join(name for name in names if "_g01" in name or "_g02" in name))
    return videos, lists


def test_ucf101_has_the_official_splits_classes_and_groups(tmp_path: Path) -> None:
    videos, lists = ucf(tmp_path)
    manifest_command("ucf101", videos, "--lists", lists, "--split", 1, "--out", tmp_path / "u.csv")
    clips = read_manifest(tmp_path / "u.csv")
    assert clips[0] == Clip(
        "Archery/v_Archery_g03_c01",
        videos / "Archery/v_Archery_g03_c01.avi",
        split="train",
        labels={"label": "Archery", "group": "g03"},
    )
    assert [clip.split for clip in clips].count("test") == 8


def test_whole_groups_are_held_out_of_train(tmp_path: Path) -> None:
    videos, lists = ucf(tmp_path)
    flags = ["--val-from", "train", "--val-share", 0.25]
    done = manifest_command("ucf101", videos, "--lists", lists, *flags, "--out", tmp_path / "u.csv")
    assert "val: 8 of 32 clips of train held out, by group" in done.stderr
    clips = read_manifest(tmp_path / "u.csv")
    by_split = {
        name: {clip.labels["group"] for clip in clips if clip.split == name} for name in ("train", "val", "test")
    }
    assert [len(groups) for groups in by_split.values()] == [6, 2, 2]
    assert not by_split["val"] & (by_split["train"] | by_split["test"])


def test_the_references_validation_repeats_what_pandas_would_draw_of_test(tmp_path: Path) -> None:
    videos, lists = ucf(tmp_path)
    done = manifest_command("ucf101", videos, "--lists", lists, "--val-from", "test", "--out", tmp_path / "u.csv")
    assert "what is chosen on val is chosen on test" in done.stderr
    clips = read_manifest(tmp_path / "u.csv")
    test = [clip for clip in clips if clip.split == "test"]
    drawn = np.random.RandomState(0).choice(8, 2, replace=False)  # DataFrame.sample(frac=0.3)
    assert [clip.id for clip in clips if clip.split == "val"] == [f"val/{test[row].id}" for row in drawn]
    assert len(test) == 8


def test_missing_videos_are_named_counted_and_left_out_and_frames_serve_as_well(tmp_path: Path) -> None:
    videos, lists = ucf(tmp_path)
    (videos / "Archery/v_Archery_g01_c01.avi").unlink()
    moved = videos / "Biking/v_Biking_g01_c01.avi"
    moved.unlink()
    touched(moved.with_suffix(""), "image_00001.jpg")
    done = manifest_command("ucf101", videos, "--lists", lists, "--out", tmp_path / "u.csv", status=1)
    assert "files that do not exist, their clips are left out: 1" in done.stderr
    found = {clip.id: clip for clip in read_manifest(tmp_path / "u.csv")}
    assert len(found) == 39
    assert (found["Biking/v_Biking_g01_c01"].fps, found["Biking/v_Biking_g01_c02"].fps) == (25.0, None)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("Archery 1", "row 1: 'Archery 1' is not <class>/<name>.avi"),
        ("../v_X_g01_c01.avi 1", "row 1: '..' is not the name"),
        ("A/v_A_c01.avi 1", "names no group"),
        ("A/v_A_g01_c01.avi 1\nA/v_A_g01_c02.avi 2", "row 2: 'A' has the number 2, 1 in"),
        ("A/v_A_g01_c01.avi 1\nA/v_A_g01_c01.avi 1", "row 2: 'A/v_A_g01_c01' is also in .*row 1"),
        ("A/v_A_g01_c01.avi 1", "none of the 2 videos of the lists exists"),
        ("", "the list is empty"),
    ],
)
def test_lists_that_cannot_be_used_are_refused(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "trainlist02.txt").write_text(line)
    (tmp_path / "testlist02.txt").write_text("B/v_B_g01_c01.avi")
    with pytest.raises(ManifestError, match=says):
        UCF101(lists=tmp_path, split=2).clips(tmp_path)
    with pytest.raises(ManifestError, match=r"no trainlist03.txt; it has testlist02.txt, trainlist02.txt"):
        UCF101(lists=tmp_path, split=3).clips(tmp_path)


def test_hmdb51_takes_ones_and_twos_and_names_with_brackets(tmp_path: Path) -> None:
    odd = "[TH]_a b&c;d_wave_f_cm_np1_ba_med_0"
    lists = tmp_path / "lists/testTrainMulti_7030_splits"
    touched(lists, "._wave_test_split1.txt")
    (lists / "wave_test_split1.txt").write_text(f"{odd}.avi 1 \nx.avi 2 \ny.avi 0 \n")
    (lists / "climb_test_split1.txt").write_text("z.avi 1 \n")
    videos = touched(tmp_path / "videos", f"wave/{odd}.avi", "wave/x.avi", "wave/y.avi", "climb/z.avi")
    done = manifest_command("hmdb51", videos, "--lists", tmp_path / "lists", "--out", tmp_path / "h.csv")
    assert splits(tmp_path / "h.csv") == {"climb/z": "train", f"wave/{odd}": "train", "wave/x": "test"}
    assert "lists of 2 classes, not of 51" in done.stderr
    (lists / "wave_test_split1.txt").write_text("x.avi 3 \n")
    with pytest.raises(ManifestError, match=r"row 1: 'x.avi 3' is not <name>.avi and 0, 1 or 2"):
        HMDB51(lists=lists).clips(videos)


def test_kinetics_names_files_by_times_and_finds_classes_with_underscores(tmp_path: Path) -> None:
    head = "label,youtube_id,time_start,time_end,split\n"
    (tmp_path / "train.csv").write_text(head + "air drumming,-a_1,3,13,train\nyoga,b,0,10,train\n")
    (tmp_path / "val.csv").write_text(head + "yoga,c,120,130,val\n")
    names = ("train_split/air_drumming/-a_1_000003_000013.mp4", "val_split/yoga/c_000120_000130.mp4")
    videos = touched(tmp_path / "videos", *names)
    manifest_command("kinetics", videos, "--lists", tmp_path, "--out", tmp_path / "k.csv", status=1)  # a video is gone
    assert splits(tmp_path / "k.csv") == {"air drumming/-a_1_000003_000013": "train", "yoga/c_000120_000130": "val"}
    found = Kinetics(lists=tmp_path, val_from="test").clips(videos)
    assert [clip.split for clip in found.clips] == ["train", "test"]  # 30 % of one
    (tmp_path / "val.csv").write_text(head.replace("time_start", "start") + "yoga,c,120,130,val\n")
    with pytest.raises(ManifestError, match="no column 'time_start'"):
        Kinetics(lists=tmp_path).clips(videos)


def test_memdpcs_lists_of_another_machine_are_found_below_the_folder(tmp_path: Path) -> None:
    frames = touched(tmp_path / "frame", *(f"wave/[a]/image_0000{n}.jpg" for n in (1, 2)), "climb/b,1/image_00001.jpg")
    (tmp_path / "train.csv").write_bytes(b"/data/x/frame/wave/[a]/,0\r\n/data/x/frame/climb/b,1,1\r\n")
    (tmp_path / "test.csv").write_text("/data/x/frame/wave/c/,150\n")
    flags = ["--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv", "--fps", 30]
    done = manifest_command("memdpc-lists", frames, *flags, "--out", tmp_path / "m.csv", status=1)
    assert "1 folders have other numbers of frames than listed: wave/[a]" in done.stderr
    assert f"{frames}/wave/c" in done.stderr
    clips = read_manifest(tmp_path / "m.csv")
    assert [(clip.id, clip.labels["label"], clip.fps) for clip in clips] == [
        ("wave/[a]", "wave", 30.0),
        ("climb/b,1", "climb", 30.0),
    ]
    assert clips[0].path == frames / "wave/[a]"


def test_the_references_validation_of_folders_has_no_short_ones(tmp_path: Path) -> None:
    frames = touched(tmp_path, *(f"a/long{n}/image_{f:05d}.jpg" for n in range(4) for f in range(1, 122)), "a/s/i.jpg")
    (tmp_path / "t.csv").write_text("f/a/s/,1\n" + "".join(f"f/a/long{n}/,121\n" for n in range(4)))
    found = MemDPCLists(test=tmp_path / "t.csv", val_from="test").clips(frames)
    assert [clip.id for clip in found.clips if clip.split == "val"] == [
        f"val/a/long{np.random.RandomState(0).permutation(4)[0]}"
    ]
    (tmp_path / "t.csv").write_text("f/a/s/ 1\n")
    with pytest.raises(ManifestError, match=r"row 1: 'f/a/s/ 1' is not a folder <class>/<name> and its number"):
        MemDPCLists(test=tmp_path / "t.csv").clips(frames)


def test_a_dataset_without_its_lists_is_wrong_usage(tmp_path: Path) -> None:
    for name, flag in (
        ("ucf101", "--lists"),
        ("hmdb51", "--lists"),
        ("kinetics", "--lists"),
        ("memdpc-lists", "--train"),
    ):
        done = manifest_command(name, tmp_path, "--out", tmp_path / "m.csv", status=2)
        assert f"{flag} is needed" in done.output
