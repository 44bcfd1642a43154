"""`egotools train action` and `egotools eval action` on video files, as users type them."""

from __future__ import annotations

import json
from pathlib import Path

import moving
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from typing_commands import complaint

from egotools.weights.memdpc import network_of, read_memdpc

pytestmark = pytest.mark.usefixtures("narrow_memdpc")

SIZES = ("--size", "32", "--blocks", "2", "--length", "1", "--stride", "2", "--batch-size", "2", "--steps", "1")
COUNTS = {"a": 9, "b": 8, "c": 7, "d": 6, "e": 3}
SPLITS = {"a": "train", "b": "train", "c": "val", "d": "test", "e": "test"}
LABELS = {"a": "run", "b": "jump", "c": "run", "d": "jump", "e": "run"}


def typed(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests only read it."""
    folder = tmp_path_factory.mktemp("videos")
    videos = moving.write_videos(folder / "videos", COUNTS)
    return moving.write_manifest(folder / "m.csv", videos, SPLITS, action=LABELS)


@pytest.fixture(scope="module")
def run(manifest: Path, narrow_memdpc: None) -> Path:
    """A run of one step; tests only read it."""
    out = manifest.parent / "run"
    words = ("--manifest", manifest, "--label", "action", "--finetune", "--workers", 0, "--device", "cpu")
    done = typed("train", "action", *words, *SIZES, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["clips"], report["val_clips"], report["steps"]) == (2, 1, 1)
    assert report["best"]["top1"] in (0, 1)
    again = typed("train", "action", *words, *SIZES, "--out", out)
    assert "is done with these options" in again.stderr
    return out


def evaluated(run: Path, manifest: Path, *more: object) -> Result:
    return typed("eval", "action", "--run", run, "--manifest", manifest, "--workers", 0, "--device", "cpu", *more)


def test_a_run_keeps_its_network_by_published_names_its_classes_and_a_backbone(run):
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "metrics.jsonl", "checkpoint.pt", "report.json", "files.npz", "learned.json", "training.png"),
        *("memdpc.safetensors", "memdpc.best.safetensors", "backbone.safetensors", "backbone.json", "classes.json"),
    }
    assert json.loads((run / "classes.json").read_text()) == {"label": "action", "classes": ["jump", "run"]}
    published = read_memdpc(run / "memdpc.safetensors")
    assert (published.depth, published.slots, published.classes) == ("resnet18", None, 2)
    network_of(published)


def test_a_run_is_evaluated_on_clips_that_it_has_not_learned_and_its_probabilities_are_fused(run, manifest, tmp_path):
    done = evaluated(run, manifest, "--crops", "ten", "--out", tmp_path / "ten", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["rows"], [*report["crops"]]) == (2, ["center", "five", "ten"])
    assert report["crops"]["ten"]["accuracy"] == report["accuracy"]
    assert report["top5"] == 1
    assert "2 clips with frames below 224 pixels at a side, which are enlarged" in done.stderr
    kept = json.loads((tmp_path / "ten" / "probabilities.json").read_text())
    assert [*kept["probabilities"]] == ["d", "e"]
    assert all(sum(each) == pytest.approx(1) for each in kept["probabilities"].values())

    other = {**kept, "classes": ["run", "jump"], "probabilities": {"d": [0.0, 1.0], "x": [0.5, 0.5]}}
    (tmp_path / "other.json").write_text(json.dumps(other))
    done = evaluated(run, manifest, "--fuse", tmp_path / "other.json", "--json")
    report = json.loads(done.stdout)
    assert "1 clip left out that other probabilities do not have: e" in done.stderr
    assert (report["rows"], report["accuracy"]) == (1, 1)
    assert [each["accuracy"] for each in report["runs"]][1] == 1

    (tmp_path / "other.json").write_text(json.dumps({**kept, "classes": ["jump", "walk"]}))
    said = complaint(evaluated(run, manifest, "--fuse", tmp_path / "other.json"))
    assert said.endswith("is of other classes than the run: run, walk")


def test_clips_that_a_run_has_learned_are_left_out_unless_asked_for(run, manifest):
    said = complaint(evaluated(run, manifest, "--test-split", "train"))
    assert "none of 2 rows can be evaluated: the run was trained on them" in said
    done = evaluated(run, manifest, "--all-rows", "--weights", "last", "--without-normalize", "--jitter", "--json")
    assert json.loads(done.stdout)["rows"] == 5
    assert "2 of 5 evaluated rows are no test" in done.stderr


def test_a_run_of_something_else_and_a_batch_of_one_are_refused(run, manifest, tmp_path):
    words = ("train", "action", "--manifest", manifest, "--label", "action", "--out", tmp_path / "r")
    done = typed(*words, "--batch-size", 1)
    assert done.exit_code == 2
    assert "--batch-size must be 2 or more" in done.stderr
    assert "3 examples" not in complaint(typed(*words, "--init", tmp_path / "no.pth.tar"))
    assert "2 examples make no batch for --batch-size 4" in complaint(typed(*words, "--size", 32, "--workers", 0))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"identity": {"method": "pca"}, "origin": {}}')
    assert "is not a run of 'egotools train action'" in complaint(evaluated(tmp_path / "run", manifest))
