"""`egotools train memdpc` on video files, as users type it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import moving
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from egotools.cli.main import root
from PIL import Image
from typing_commands import complaint

from egotools.stores import open_store
from egotools.training import how
from egotools.weights.memdpc import network_of, read_memdpc

pytestmark = pytest.mark.usefixtures("narrow_memdpc")

SIZES = ("--size", "32", "--blocks", "2", "--length", "1", "--stride", "2", "--predict", "1", "--slots", "4")
FAST = (*SIZES, "--batch-size", "2", "--steps", "2", "--workers", "0", "--device", "cpu")
COUNTS = {"a": 9, "b": 8, "c": 7, "d": 6, "short": 4}
SPLITS = {"a": "train", "b": "train", "c": "val", "d": "test", "short": "train"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests only read it."""
    folder = moving.write_videos(tmp_path_factory.mktemp("videos"), COUNTS)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def typed(manifest: Path, out: Path, *more: object) -> Result:
    words = ["train", "memdpc", "--manifest", manifest, "--out", out, *FAST, *more]
    return CliRunner().invoke(root, [str(word) for word in words])


@pytest.fixture(scope="module")
def run(videos: Path, narrow_memdpc: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps; tests only read it."""
    folder = tmp_path_factory.mktemp("trained")
    manifest = moving.write_manifest(folder / "m.csv", videos, SPLITS)
    done = typed(manifest, folder / "run", "--json")
    assert done.exit_code == 0, done.output
    assert "1 clip left out: too short, 5 frames are needed: short" in done.stderr
    report = json.loads(done.stdout)
    assert (report["clips"], report["val_clips"], report["steps"]) == (2, 1, 2)
    assert report["left_out"] == {"short": ["short"], "unreadable": {}}
    return folder / "run"


def test_a_run_keeps_its_network_by_published_names_figures_and_a_picture(run):
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "metrics.jsonl", "checkpoint.pt", "report.json", "files.npz", "learned.json", "training.png"),
        *("memdpc.safetensors", "memdpc.best.safetensors", "backbone.safetensors", "backbone.json"),
    }
    published = read_memdpc(run / "memdpc.safetensors")
    assert (published.depth, published.slots, published.classes) == ("resnet18", 4, None)
    kept = torch.load(run / "checkpoint.pt", weights_only=True)["parts"]["model"]
    assert all(torch.equal(value, kept[name]) for name, value in network_of(published).state_dict().items())
    view = json.loads((run / "backbone.json").read_text())["views"]["default"]
    assert view == {
        "extractor": "memdpc",
        "options": {"net": "resnet18", "size": 32, "blocks": 2, "length": 1, "stride": 2},
    }
    last = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
    names = {
        f"{figure}_{way}" for figure in ("loss", "top1", "top3", "top5", "clip") for way in ("forward", "backward")
    }
    names |= {"loss", "learning_rate", "position_plateau", "val_loss", "val_top1", "val_clip", "seconds_step", "epoch"}
    assert names <= {*last}
    identity = json.loads((run / "config.json").read_text())["identity"]
    assert (identity["net"], identity["steps"], identity["init"], identity["seed"]) == ("resnet18", 2, None, 0)
    assert json.loads((run / "learned.json").read_text())[""]["ids"] == ["a", "b"]


def test_a_run_is_an_extractor_beside_an_untrained_one_and_weights_to_begin_with(run, videos, tmp_path):
    manifest = moving.write_manifest(tmp_path / "m.csv", videos, {"a": "", "short": ""})
    words = ["extract", "--manifest", manifest, "--out", tmp_path / "c", "--device", "cpu", "--workers", "1"]
    words += [f"run:{run}", "memdpc", "--weights", "random:0", "--size", "32", "--name", "untrained"]
    words += [f"run:{run}", "--feature", "context", "--name", "context"]
    done = CliRunner().invoke(root, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    shapes = {name: open_store(tmp_path / "c" / f"{name}.lmdb")["a"].values.shape for name in ("run", "context")}
    assert shapes == {"run": (4, 16), "context": (6, 32)}
    done = typed(manifest, tmp_path / "next", "--init", f"run:{run}", "--steps", "1", "--batch-size", "1", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["arguments"]["init"] is not None
    assert "no clip has the split 'train': learned from every clip" in done.stderr
    assert "no clip to validate on: not validated" in done.stderr


def test_folders_of_frames_are_read_as_they_are_and_bf16_is_for_hardware_that_has_it(tmp_path, monkeypatch):
    rows = ["id,path,fps"]
    for number in range(2):
        (tmp_path / f"f{number}").mkdir()
        rows.append(f"f{number},f{number},30")
        for place, frame in enumerate(moving.frames(number, 6), 1):
            Image.fromarray(frame).save(tmp_path / f"f{number}" / f"flow_{place:05d}.jpg")
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "f1/flow_00003.jpg").unlink()
    monkeypatch.setattr(how, "has_fast_bf16", lambda _: False)
    more = ("--modality", "flow", "--flow-flip-sign", "--steps", "1", "--precision", "bf16")
    done = typed(tmp_path / "m.csv", tmp_path / "run", *more)
    assert done.exit_code == 0, done.output
    assert "train memdpc: 2 clips, 1 step," in done.stdout
    assert f"1 file used as it is: {tmp_path / 'f1'}: 1 frame is missing of 6 (number 3)" in done.stderr
    assert "note: --precision bf16: trained in float32" in done.stderr
    assert json.loads((tmp_path / "run/report.json").read_text())["precision_used"] == "float32"


def test_what_cannot_be_trained_is_refused_and_leaves_nothing(run, videos, tmp_path):
    short = moving.write_manifest(tmp_path / "s.csv", videos, {"short": "", "broken": ""})
    said = complaint(typed(short, tmp_path / "new"))
    assert re.search(r"no clip is left: 1 clip left out: too short, 5 frames are needed: short; .*broken\.mp4", said)
    assert "lower --blocks 2, --length 1 or --stride 2, whose product is 4" in said
    two = moving.write_manifest(tmp_path / "m.csv", videos, {"a": "", "b": ""})
    assert "--batch-size 3; lower it" in complaint(typed(two, tmp_path / "new", "--batch-size", "3"))
    init = ("--init", f"run:{run}")
    deeper = complaint(typed(two, tmp_path / "new", *init, "--net", "resnet34"))
    assert deeper == f"{run}/memdpc.safetensors: its backbone is a resnet18, not a resnet34"
    assert "it has 4 memory slots, not 5" in complaint(typed(two, tmp_path / "new", *init, "--slots", "5"))
    assert "x.pth: no such file" in complaint(typed(two, tmp_path / "new", "--init", "x.pth"))
    assert not (tmp_path / "new").exists()
    done = typed(two, tmp_path / "new", "--predict", "2")
    assert done.exit_code == 2
    assert "--predict 2 must be below --blocks 2" in done.stderr


def test_a_run_that_is_done_is_left_and_another_setting_refused(run):
    manifest = run.parent / "m.csv"
    again = typed(manifest, run)
    assert "nothing to do" in again.stderr
    assert "val, best" in again.stdout
    assert "holds a run with slots=4, not 5" in complaint(typed(manifest, run, "--slots", "5"))


def test_other_methods_refuse_to_train_in_several_processes(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = CliRunner().invoke(root, ["train", "pca", "--help"])
    assert "trains in one process: start it without torchrun" in done.stderr


@pytest.mark.integration
def test_two_processes_under_torchrun_make_one_run(videos, tmp_path):
    splits = {"a": "train", "b": "train", "c": "val", "d": "val"}
    manifest = moving.write_manifest(tmp_path / "m.csv", videos, splits)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    words = ["egotools", "train", "memdpc", "--manifest", manifest, "--out", tmp_path / "run", *FAST]
    more = ["--batch-size", "1", "--gather-negatives", "--json"]
    done = subprocess.run(
        [*launcher, *map(str, words), *more],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)  # one process speaks
    assert report["last"]["position_plateau"] == pytest.approx(2 * np.log(2))  # the clips of both are negatives
    assert (report["clips"], report["val_clips"], report["val"]["epoch"]) == (2, 2, 2)
    assert json.loads((tmp_path / "run/config.json").read_text())["identity"]["processes"] == 2
