"""Importers of datasets, and tables of rows that have features only."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root as egotools
from PIL import Image

from egotools.datasets.memento10k import score_at_lag
from egotools.datasets.videomem import VideoMem
from egotools.manifests.table import read_manifest
from egotools.stores import open_store
from egotools.types import Clip


def run(*arguments: object, status: int = 0) -> Result:
    done = CliRunner().invoke(egotools, ["manifest", *map(str, arguments)])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def refused(*arguments: object) -> str:
    """What one line says of why there is no manifest."""
    line = str(run(*arguments, status=1).exception)
    assert "\n" not in line
    return line


def clips(path: Path) -> dict[str, Clip]:
    return {clip.id: clip for clip in read_manifest(path)}


# Memento10k


def entry(name: str, score: float | None = 0.8, **more: object) -> dict[str, object]:
    fields = {"filename": name, "url": "http://x", "alpha": -0.001, "action_labels": ["running", "to jump"], **more}
    return fields if score is None else {**fields, "mem_score": score}


@pytest.fixture
def memento(tmp_path: Path) -> Path:
    """Two clips in train, one in val, one in test that has no score; `stack` is a `.npy` only."""
    root = tmp_path / "Memento10k"
    (root / "videos").mkdir(parents=True)
    (root / "videos_npy").mkdir()
    split = {"train": [entry("a.mp4", 0.1), entry("stack.mp4", 0.999)], "val": [entry("b.mp4")]}
    for name, entries in {**split, "test": [entry("t.mp4", None, alpha=None, action_labels=None)]}.items():
        (root / f"memento_{name}_data.json").write_text(json.dumps(entries))
    for name in ("a", "b", "t"):
        write_video(root / f"videos/{name}.mp4", 5, size=(32, 32))
    for name in ("a", "stack"):
        np.save(root / f"videos_npy/{name}.npy", np.full((45, 16, 16, 3), 90, np.uint8))
    return root


def test_scores_splits_and_files_of_memento10k(memento, tmp_path):
    run("memento10k", memento, "--out", tmp_path / "m.csv")
    found = clips(tmp_path / "m.csv")
    assert {id: clip.split for id, clip in found.items()} == {"a": "train", "stack": "train", "b": "val", "t": "test"}
    assert found["a"].labels == {"memorability": "0.1", "alpha": "-0.001", "action_labels": "running;to jump"}
    assert found["t"].labels == {"memorability": "", "alpha": "", "action_labels": ""}
    assert found["a"].path == memento / "videos/a.mp4"
    assert (found["stack"].path, found["stack"].fps) == (memento / "videos_npy/stack.npy", 15.0)
    assert found["a"].fps is None


def test_stacks_can_be_chosen_and_what_is_missing_is_named_and_counted(memento, tmp_path):
    done = run("memento10k", memento, "--videos", "npy", "--fps", 10, "--out", tmp_path / "m.csv", status=1)
    assert "files that do not exist, their clips are left out: 2" in done.stderr
    assert str(memento / "videos_npy/b.npy") in done.stderr
    assert {id: clip.fps for id, clip in clips(tmp_path / "m.csv").items()} == {"a": 10.0, "stack": 10.0}


def test_scores_of_test_are_not_read_even_where_there_are_some(memento, tmp_path):
    (memento / "memento_test_data.json").write_text(json.dumps([entry("t.mp4", 7)]))
    run("memento10k", memento, "--out", tmp_path / "m.csv")
    assert clips(tmp_path / "m.csv")["t"].labels["memorability"] == ""


def test_scores_move_along_their_line_to_another_lag(memento, tmp_path):
    done = run("memento10k", memento, "--score-at", 40, "--lag", 80, "--out", tmp_path / "m.csv")
    found = clips(tmp_path / "m.csv")
    assert float(found["a"].labels["memorability"]) == pytest.approx(0.14)
    assert float(found["stack"].labels["memorability"]) == 1
    assert found["t"].labels["memorability"] == ""
    assert "1 scores would lie outside 0 to 1 at a lag of 40; they are 0 or 1" in done.stderr
    assert score_at_lag(0.8, -0.001, lag=80, of=80) == 0.8


def test_stacks_and_videos_are_read_in_one_pass(memento, tmp_path):
    run("memento10k", memento, "--out", tmp_path / "m.csv")
    line = ["extract", "--manifest", tmp_path / "m.csv", "--out", tmp_path / "c", "--workers", "1", "color"]
    done = CliRunner().invoke(egotools, [*map(str, line), "--fps", "2", "--bins", "4"])
    assert done.exit_code == 0, done.output
    store = open_store(tmp_path / "c/color.lmdb")
    assert list(store) == ["a", "b", "stack", "t"]
    assert len(store["stack"].values) == 6  # 45 frames at 15 Hz, twice a second


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([entry("a.mp4", 1.2)], "a.mp4: the score 1.2 is not a number from 0 to 1"),
        ([entry("a.mp4", float("nan"))], "the score nan is not"),
        ([entry("a.mp4", True)], "the score True is not"),
        ([entry("a.mp4", None)], "a.mp4: no 'mem_score'"),
        ([{"mem_score": 0.5}], "entry 1 has no 'filename'"),
        ([entry("a.mp4"), entry("a.mp4")], "'a' appears twice"),
        ([entry("a.mp4", action_labels=["a;b"])], "'action_labels' is no list of texts without ';'"),
        ({"a": 1}, "holds no list"),
        ([entry("gone.mp4")], "none of the 1 files that its annotations name exists, such as"),
    ],
)
def test_unusable_annotations_of_memento10k_are_refused_by_name(tmp_path, entries, problem):
    write_video_at(tmp_path / "videos/a.mp4")
    (tmp_path / "memento_train_data.json").write_text(json.dumps(entries))
    assert problem in refused("memento10k", tmp_path, "--out", tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


def write_video_at(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, 3, size=(32, 32))


def test_a_folder_that_is_no_memento10k_is_refused(tmp_path):
    assert "is this the dataset's folder?" in refused("memento10k", tmp_path, "--out", tmp_path / "m.csv")
    (tmp_path / "memento_val_data.json").write_text("{")
    assert "memento_val_data.json: not JSON" in refused("memento10k", tmp_path, "--out", tmp_path / "m.csv")


def test_without_alpha_a_score_at_another_lag_is_unknown(memento, tmp_path):
    (memento / "memento_val_data.json").write_text(json.dumps([entry("b.mp4", alpha=None)]))
    line = refused("memento10k", memento, "--score-at", 40, "--out", tmp_path / "m.csv")
    assert "b.mp4: no 'alpha'" in line


# VideoMem


@pytest.fixture
def mem(tmp_path: Path) -> Path:
    root = tmp_path / "VideoMem"
    lines = ["video,short-term_memorability,nb_short-term_annotations,long-term_memorability,nb_long-term_annotations"]
    for number in range(16):
        lines.append(f"video{number}.webm,0.{number:02},30,0.5,12")
        write_video_at(root / f"resized_mp4/video{number}.mp4")
    (root / "ground-truth_dev-set.csv").write_text("\n".join(lines))
    return root


def test_short_term_scores_of_videomem_are_the_label_and_the_rest_keeps_its_name(mem, tmp_path):
    split = [f"video{number}.webm" for number in range(12)], [f"video{number}.webm" for number in range(12, 16)]
    (mem / "train_test_split_videomem.pkl").write_bytes(pickle.dumps(split))
    done = run("videomem", mem, "--out", tmp_path / "m.csv")
    found = clips(tmp_path / "m.csv")
    assert found["video3"].path == mem / "resized_mp4/video3.mp4"
    assert found["video3"].labels == {
        "memorability": "0.03",
        "nb_short-term_annotations": "30",
        "long-term_memorability": "0.5",
        "nb_long-term_annotations": "12",
    }
    assert [found[f"video{number}"].split for number in (0, 11, 12, 15)] == ["train", "train", "val", "val"]
    assert "train 12, val 4" in done.stderr


def test_a_json_split_names_what_it_leaves_out(mem, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({"train": ["video0.webm", "video99.webm"], "val": ["video1.webm"]}))
    done = run("videomem", mem, "--split", tmp_path / "s.json", "--out", tmp_path / "m.csv")
    assert "1 videos of s.json have no score, such as video99" in done.stderr
    assert "14 videos are in no split, such as video2" in done.stderr


def test_without_a_split_one_clip_of_eight_is_drawn_the_same_every_time(mem):
    first, again, other = VideoMem().clips(mem), VideoMem().clips(mem), VideoMem(seed=1).clips(mem)
    assert [clip.split for clip in first.clips].count("val") == 2
    assert first == again
    assert first.clips != other.clips
    assert first.remarks == ["no train_test_split_videomem.pkl: 2 clips were drawn for val, seed 0"]


class Evil:
    def __reduce__(self):
        return print, ("this must never run",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (Evil(), "not a pickle that can be read safely"),
        ([["a"], "b"], "holds no two lists of names"),
        ([["a"]], "holds no two lists of names"),
        ({"train": ["a"], "val": [1]}, "holds no two lists of names"),
        ((["video1.webm"], ["video1.webm"]), "1 videos are in train and in val, such as video1"),
    ],
)
def test_unusable_splits_are_refused_and_nothing_in_them_runs(mem, tmp_path, capsys, content, problem):
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(content))
    assert problem in refused("videomem", mem, "--split", tmp_path / "s.pkl", "--out", tmp_path / "m.csv")
    assert "never run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("video,score\nvideo1.webm,1.5", "row 2: the score '1.5' is not a number from 0 to 1"),
        ("video,score\nvideo1.webm,", "row 2: the score '' is not"),
        ("video,score\nvideo1.webm,0.1\nvideo1.mp4,0.2", "'video1' appears twice"),
        ("video\nvideo1.webm", "two columns are needed"),
        ("video,score", "no videos, only the first line"),
    ],
)
def test_unusable_scores_of_videomem_are_refused_by_row(mem, tmp_path, text, problem):
    (mem / "ground-truth_dev-set.csv").write_text(text)
    assert problem in refused("videomem", mem, "--out", tmp_path / "m.csv")


# LaMem


def test_images_of_lamem_are_clips_of_one_frame(tmp_path):
    root = tmp_path / "LaMem"
    (root / "images").mkdir(parents=True)
    (root / "splits").mkdir()
    for number, split in enumerate(("train", "val", "test")):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(root / f"images/{number:08}.jpg")
        (root / f"splits/{split}_2.txt").write_text(f"{number:08}.jpg 0.{number}5\n")
    (root / "splits/train_2.txt").write_text("00000000.jpg 0.05\n00000009.jpg 0.5\n")
    done = run("lamem", root, "--split-number", 2, "--out", tmp_path / "m.csv", status=1)
    found = clips(tmp_path / "m.csv")
    assert {id: (clip.split, clip.labels["memorability"]) for id, clip in found.items()} == {
        "00000000": ("train", "0.05"),
        "00000001": ("val", "0.15"),
        "00000002": ("test", "0.25"),
    }
    assert found["00000001"].path == root / "images/00000001.jpg"
    assert "left out: 1" in done.stderr
    assert "no splits/train_1.txt" in refused("lamem", root, "--out", tmp_path / "m.csv")
    (root / "splits/val_2.txt").write_text("00000001.jpg\n")
    line = refused("lamem", root, "--split-number", 2, "--out", tmp_path / "m.csv")
    assert "val_2.txt, row 1: the score '00000001.jpg' is not" in line


# Tables


def test_arrays_with_one_value_a_row_become_labels_that_read_back_to_the_bit(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "key": np.array([10, 2, 33]),
        "double": rng.normal(size=3),
        "single": rng.normal(size=3).astype(np.float32),
        "half": rng.normal(size=3).astype(np.float16),
        "count": np.array([2**62 + 1, -1, 0]),
        "name": np.array(["a,b", 'ü "x"', ""]),
        "bytes": np.array([b"x", b"y", b"z"]),
        "part": np.array(["train", "test", "train"]),
    }
    more = {"features": rng.normal(size=(3, 5)), "other": np.zeros(4), "path": np.array(["x", "y", "z"])}
    np.savez(tmp_path / "f.npz", **arrays, **more)
    done = run("table", tmp_path / "f.npz", "--id", "key", "--split", "part", "--out", tmp_path / "t.csv")
    found = read_manifest(tmp_path / "t.csv")
    assert [clip.id for clip in found] == ["10", "2", "33"]
    assert [clip.path for clip in found] == [Path()] * 3
    assert [clip.split for clip in found] == ["train", "test", "train"]
    for name in ("double", "single", "half"):
        assert [float(clip.labels[name]) for clip in found] == arrays[name].astype(np.float64).tolist()
    assert [int(clip.labels["count"]) for clip in found] == arrays["count"].tolist()
    assert [clip.labels["name"] for clip in found] == arrays["name"].tolist()
    assert [clip.labels["bytes"] for clip in found] == ["x", "y", "z"]
    assert set(found[0].labels) == set(arrays) - {"key", "part"}
    assert "no label: features, other, path" in done.stderr


def test_every_column_of_a_csv_is_a_label_and_split_is_the_split(tmp_path):
    (tmp_path / "f.csv").write_text("video_id,score,split\nx,0.10,val\ny,,\n")
    run("table", tmp_path / "f.csv", "--id", "video_id", "--out", tmp_path / "t.csv")
    found = clips(tmp_path / "t.csv")
    assert {id: (clip.labels, clip.split) for id, clip in found.items()} == {
        "x": ({"score": "0.10"}, "val"),
        "y": ({"score": ""}, ""),
    }


def test_missing_numbers_are_left_empty(tmp_path):
    np.savez(tmp_path / "f.npz", id=["a", "b"], score=[0.5, np.nan])
    run("table", tmp_path / "f.npz", "--id", "id", "--out", tmp_path / "t.csv")
    assert [clip.labels["score"] for clip in read_manifest(tmp_path / "t.csv")] == ["0.5", ""]


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"id": np.array(["a", "a"])}, "'a' appears twice"),
        ({"id": np.array(["a", ""])}, "a clip needs an id"),
        ({"id": np.array([{}, {}], object)}, "'id' cannot be read: it holds Python objects, which could run code"),
        ({"id": np.array(["a", "b"]), "x": np.array([{}, {}], object)}, "'x' cannot be read: it holds Python objects"),
        ({"id": np.zeros((2, 1))}, "'id' has the shape [2, 1], not one id per row"),
        ({"id": np.zeros(2), "x": np.array([1j, 2])}, "'x' holds complex128, neither texts nor numbers"),
        ({"ids": np.array(["a", "b"])}, "no array 'id'; the file has ids"),
        ({"id": np.zeros(0)}, "it has no rows"),
    ],
)
def test_unusable_tables_are_refused_in_one_line(tmp_path, arrays, problem):
    np.savez(tmp_path / "f.npz", **arrays)
    assert problem in refused("table", tmp_path / "f.npz", "--id", "id", "--out", tmp_path / "t.csv")


def test_columns_that_are_not_there_are_named(tmp_path):
    (tmp_path / "f.csv").write_text("video_id,score\nx,0.1\n")
    line = ["table", tmp_path / "f.csv", "--out", tmp_path / "t.csv", "--id"]
    assert "no column 'id'; there are video_id, score" in refused(*line, "id")
    assert "no column 'fold'" in refused(*line, "video_id", "--split", "fold")
    assert "text.txt" in refused("table", tmp_path / "text.txt", "--id", "x", "--out", tmp_path / "t.csv")


def test_the_scores_of_real_videos_are_a_table_and_the_excerpt_of_memento10k_too(shared, tmp_path):
    folder = shared / "data/memorability"
    run("table", folder / "trecvid2020_train.npz", "--id", "video_id", "--out", tmp_path / "t.csv")
    found = clips(tmp_path / "t.csv")
    assert len(found) == 588
    assert np.float32(float(found["26"].labels["short_term"])) == np.float32(0.87)
    excerpt = folder / "memento10k_excerpt_scores.csv"
    run("table", excerpt, "--id", "video_id", "--out", tmp_path / "e.csv")
    assert clips(tmp_path / "e.csv")["17"].labels["scores_raw_short_term"] == "0.9891304347826086"
