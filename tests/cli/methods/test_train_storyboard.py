"""`egotools train storyboard` on a video, as users type it, and what its run is for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root
from PIL import Image
from storyboard_networks import narrow

from egotools.errors import EgotoolsError
from egotools.manifests.segments import read_segments
from egotools.methods.storyboard.evaluation import EvalSet, set_names
from egotools.stores import open_store
from egotools.weights.storyboard import read_storyboard

SIZES = ("--depth", "18", "--crop-size", "16", "--step-batch-size", "4", "--curr-batch-size", "2")
MEMORIES = ("--replay-batch-size", "2", "--short-buffer-size", "8", "--long-buffer-size", "16", "--subsample", "2")
METHOD = ("--method", "simclr", "--class-length", "6")
FAST = (*SIZES, *MEMORIES, "--workers", "0", "--device", "cpu")


@pytest.fixture(autouse=True)
def _narrow_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 32 frames, its manifest, and twelve labeled images; tests only read it."""
    folder = tmp_path_factory.mktemp("stream")
    write_video(folder / "a.mp4", 32)
    (folder / "m.csv").write_text(f"id,path,start,end,split\na,{folder / 'a.mp4'},0,,\n")
    rows = ["id,path,start,end,split,class"]
    for number in range(12):
        path = folder / f"{number}.png"
        Image.fromarray(np.full((20, 24, 3), 250 * (number % 2), np.uint8)).save(path)
        rows.append(f"{number},{path},0,,{'test' if number > 7 else 'train'},{'bright' if number % 2 else 'dark'}")
    (folder / "images.csv").write_text("\n".join(rows) + "\n")
    return folder


def typed(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


def trained(folder: Path, out: Path, *more: object) -> Result:
    return typed("train", "storyboard", "--manifest", folder / "m.csv", "--out", out, *FAST, *more)


def test_a_run_extracts_is_exported_and_begins_another(folder, tmp_path):
    run = tmp_path / "runs" / "rc"
    more = (*METHOD, "--eval-manifest", f"{folder / 'images.csv'}:class", "--eval-every", 5, "--merge-from", 0)
    # Not in bf16: processors with AMX compute wrong gradients for networks as narrow as these, not every time.
    done = trained(folder, run, *more, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["frames"], report["steps"]) == (32, 8)
    assert 0 <= report["evaluation"]["images_knn_oracle"] <= 1
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "images_svm_validation" in line] == [5, 8]
    assert read_segments(run / "segments.csv")[0].id == "a"
    again = trained(folder, run, *more)
    assert "is done" in again.output or "already" in again.output

    views = [f"run:{run}", "--fps", 10, f"run:{run}", "--fps", 10, "--view", "cluster", "--name", "squeezed"]
    done = typed("extract", "--manifest", folder / "m.csv", "--out", tmp_path / "caches", *views)
    assert done.exit_code == 0, done.output
    found = [open_store(tmp_path / "caches" / f"{name}.lmdb")["a"].values for name in ("rc", "squeezed")]
    assert [each.shape for each in found] == [(32, 8), (32, 8)]
    assert not np.allclose(*found)

    done = typed("weights", "export", run, "--to", "storyboard", "--out", tmp_path / "step_8.pth")
    assert done.exit_code == 0, done.output
    assert read_storyboard(tmp_path / "step_8.pth").method == "simclr"
    second = trained(folder, tmp_path / "second", *METHOD, "--init", tmp_path / "step_8.pth")
    assert second.exit_code == 0, second.output


def test_segments_of_a_file_are_the_classes_of_iid(folder, tmp_path):
    (tmp_path / "s.csv").write_text("id,start,end,label\na,0,1.5,x\na,1.5,3.2,y\n")
    options = ("--method", "tc", "--memory", "iid", "--segments", tmp_path / "s.csv")
    done = trained(folder, tmp_path / "run", *options)
    assert done.exit_code == 0, done.output
    assert read_storyboard(tmp_path / "run" / "storyboard.safetensors").classes == 2


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,0,1.5,x\nb,0,1,y\n", "1 clip not in the stream: b"),
        ("a,0,1.5,x\n", "17 of 32 frames of 'a', the first at 1.5 s, have no segment"),
        ("a,0,3.2,x\na,3.2,4,y\n", "from 3.2 s on has no frame"),
    ],
)
def test_segments_that_do_not_fit_the_stream_are_named(folder, tmp_path, rows, said):
    (tmp_path / "s.csv").write_text(f"id,start,end,label\n{rows}")
    done = trained(folder, tmp_path / "run", "--method", "tc", "--memory", "iid", "--segments", tmp_path / "s.csv")
    assert done.exit_code == 1
    assert isinstance(done.exception, EgotoolsError)
    assert said in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_segments_that_are_not_there_are_named(folder, tmp_path):
    words = ("--method", "tc", "--memory", "iid", "--segments", tmp_path / "none.csv")
    done = trained(folder, tmp_path / "run", *words)
    assert isinstance(done.exception, EgotoolsError)
    assert "none.csv: cannot be read: No such file or directory" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "simclr"), "--class-length is needed"),
        (("--class-length", "6"), "--method is needed"),
        ((*METHOD, "--segments", "s.csv"), "--segments is for --memory iid"),
        ((*METHOD, "--eval-manifest", "images.csv"), "is not FILE:LABEL"),
    ],
)
def test_wrong_usage_is_explained(folder, tmp_path, words, said):
    done = trained(folder, tmp_path / "run", *words)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())


def test_the_checkpoint_of_another_network_is_refused_by_name(folder, tmp_path):
    run = tmp_path / "run"
    assert trained(folder, run, *METHOD).exit_code == 0
    done = trained(folder, tmp_path / "other", *METHOD, "--norm", "batch", "--init", f"run:{run}")
    assert done.exit_code == 1
    assert "group norm" in str(done.exception)
    done = trained(folder, run, *METHOD, "--long-buffer-size", 12)
    assert "long_buffer_size=16, not 12" in str(done.exception)


def test_labeled_images_of_one_name_are_told_apart():
    a, b = EvalSet(Path("a.csv"), "x"), EvalSet(Path("b/a.csv"), "y")
    assert set_names([a]) == ["a"]
    assert set_names([a, b]) == ["a_x", "a_y"]
    with pytest.raises(EgotoolsError, match="two sets would be named 'a_x'"):
        set_names([a, EvalSet(Path("b/a.csv"), "x")])


def test_a_checkpoint_that_lacks_a_head_begins_a_run_that_says_so(folder, tmp_path):
    assert trained(folder, tmp_path / "osiris", "--method", "osiris").exit_code == 0
    done = trained(folder, tmp_path / "run", *METHOD, "--init", f"run:{tmp_path / 'osiris'}")
    assert done.exit_code == 0, done.output
    assert "has no supcon_projector that fits" in done.output


def test_several_processes_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = trained(folder, tmp_path / "run", *METHOD)
    assert done.exit_code == 2
    assert "trains in one process" in done.output


def test_labeled_sets_that_cannot_be_evaluated_on_are_refused_before_the_training(folder, tmp_path):
    (tmp_path / "other").mkdir()
    rows = (folder / "images.csv").read_text()
    cases = {
        "other/images.csv": (rows, "two sets would be named 'images_class'"),
        "train.csv": (rows.replace("test", "train"), "needs images of the splits train and test"),
        "kinds.csv": (
            rows.replace("class", "kind"),
            "no column 'class' in the manifest; choose from id, path, split, kind",
        ),
        "dark.csv": (rows.replace("bright", "dark"), "all of train are of one class of 'class'"),
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_text(content)
        sets = [
            word for path in (folder / "images.csv", tmp_path / name) for word in ("--eval-manifest", f"{path}:class")
        ]
        done = trained(folder, tmp_path / "run", *METHOD, *sets)
        assert done.exit_code == 1
        assert said in str(done.exception)
        assert not (tmp_path / "run").exists()


def test_classes_are_counted_as_published(folder, tmp_path):
    done = trained(folder, tmp_path / "run", "--method", "simclr-tc", "--class-length", "8")
    assert done.exit_code == 0, done.output
    assert read_storyboard(tmp_path / "run" / "storyboard.safetensors").classes == 32 // 8 + 1
