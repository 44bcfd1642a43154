"""`train action` and `eval action` with R(2+1)D networks on video files, as users type them."""

from __future__ import annotations

import json
from pathlib import Path

import moving
import pytest
import torch
from click.testing import CliRunner, Result
from egotools.cli.main import root
from safetensors.torch import load_file
from typing_commands import complaint

from egotools.nn import r2plus1d
from egotools.weights.replai import read_replai

NET = ("--net", "r2plus1d10", "--size", 32, "--min-size", 40, "--max-size", 48, "--frames", 2)
COUNTS = {"a": 20, "b": 18, "c": 17, "d": 16, "e": 1}
SPLITS = {"a": "train", "b": "train", "c": "val", "d": "test", "e": "test"}
VERBS = {"a": "cut", "b": "wash", "c": "cut", "d": "wash", "e": "peel"}
NOUNS = {"a": "onion", "b": "knife", "c": "onion", "d": "knife", "e": "onion"}
TAIL = {"a": "0", "b": "0", "c": "0", "d": "1", "e": "0"}


def typed(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


@pytest.fixture(scope="module", autouse=True)
def _narrow() -> object:
    """Networks of few channels."""
    patch = pytest.MonkeyPatch()
    patch.setattr(r2plus1d, "WIDTHS", (4, 4, 8, 8))
    patch.setattr(r2plus1d, "WIDTH", 8)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests only read it."""
    folder = tmp_path_factory.mktemp("videos")
    videos = moving.write_videos(folder / "videos", COUNTS)
    return moving.write_manifest(folder / "m.csv", videos, SPLITS, verb=VERBS, noun=NOUNS, subset_tail=TAIL)


def trained(manifest: Path, out: Path, *more: object, net: tuple[object, ...] = NET) -> Result:
    words = ("--manifest", manifest, "--workers", 0, "--device", "cpu", "--out", out, "--json")
    return typed("train", "action", *words, *net, "--batch-size", 2, "--label", "verb", "--label", "noun", *more)


@pytest.fixture(scope="module")
def run(manifest: Path) -> Path:
    """A run of two steps; tests only read it."""
    out = manifest.parent / "run"
    done = trained(manifest, out, "--epochs", 2, "--schedule", 1)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["clips"], report["val_clips"], report["steps"], report["epochs"]) == (2, 1, 2, 2)
    assert report["labels"] == ["verb", "noun"]
    assert {"top1_verb", "top5_noun", "top1_all"} <= set(report["best"])
    return out


def evaluated(run: Path, manifest: Path, *more: object) -> Result:
    return typed("eval", "action", "--run", run, "--manifest", manifest, "--workers", 0, "--device", "cpu", *more)


def test_a_run_keeps_its_classes_its_network_and_a_backbone_that_another_training_begins_with(run, manifest, tmp_path):
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "metrics.jsonl", "checkpoint.pt", "report.json", "files.npz", "learned.json", "training.png"),
        *("recognition.safetensors", "recognition.best.safetensors", "backbone.safetensors", "backbone.json"),
        "classes.json",
    }
    classes = json.loads((run / "classes.json").read_text())
    assert classes == {
        "labels": {"verb": ["cut", "wash"], "noun": ["knife", "onion"]},
        "clips": {"verb": [1, 1], "noun": [1, 1]},
    }
    before = read_replai(f"run:{run}").video
    done = trained(manifest, tmp_path / "more", "--steps", 1, "--init", f"run:{run}", "--seed", 1)
    assert done.exit_code == 0, done.output
    after = load_file(tmp_path / "more" / "recognition.safetensors")
    assert all(torch.equal(value, after[f"backbone.{name}"]) for name, value in before.items())  # frozen
    said = complaint(
        trained(manifest, tmp_path / "deep", "--init", f"run:{run}", net=("--net", "r2plus1d18", *NET[2:]))
    )
    assert "its video network is R(2+1)D-10, not R(2+1)D-18" in said


def test_a_manifest_of_val_alone_is_learned_from_and_the_command_says_so(manifest, tmp_path):
    alone = tmp_path / "val.csv"
    alone.write_text(manifest.read_text().replace(",train", ",val").replace(",test", ",val"))
    done = trained(alone, tmp_path / "run", "--steps", 1)
    assert done.exit_code == 0, done.output
    assert "no clip has the split 'train': learned from all of val and test" in done.stderr
    assert "no clip to validate on: not validated" in done.stderr
    report = json.loads(done.stdout)
    assert (report["clips"], report["val_clips"]) == (5, 0)


def test_a_run_is_evaluated_by_one_drawn_window_and_by_the_mean_of_several(run, manifest, tmp_path):
    done = evaluated(run, manifest, "--clips", 1, "--clips", 3, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [(each["clips"], each["is_random"]) for each in report["clips"]] == [(1, True), (3, False)]
    assert report["rows"] == 2
    figures = report["clips"][1]["figures"]
    assert {*figures} == {"verb", "noun", "action"}
    assert figures["verb"]["accuracy"] in (0, 0.5)  # one verb was not learned
    assert report["clips"][0]["subsets"]["tail"]["rows"] == 1
    assert "verb: 1 class not among the training clips: always an error: 'peel'" in done.stderr
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["id", "d", "e"]
    again = json.loads(evaluated(run, manifest, "--clips", 3, "--batch-size", 1, "--json").stdout)
    assert again["clips"][0]["figures"] == figures
    assert json.loads(evaluated(run, manifest, "--json").stdout)["clips"][0]["clips"] == 10


def test_options_of_the_other_networks_are_refused_by_name(run, manifest, tmp_path):
    words = ("train", "action", "--manifest", manifest, "--label", "verb", "--out", tmp_path / "r")
    for more, said in (
        (("--net", "r2plus1d10", "--blocks", 3), "--blocks is for --net resnet..., not r2plus1d..."),
        (("--preset", "epic", "--no-flow-jitter"), "--flow-jitter is for --net resnet..., not r2plus1d..."),
        (("--pool", "average"), "--pool is for --net r2plus1d..., not resnet..."),
        (("--net", "resnet18", "--preset", "ego4d"), "--preset ego4d is for --net r2plus1d..."),
        (("--net", "r2plus1d18", "--preset", "linear"), "--preset linear is for --net resnet..."),
        (("--label", "noun"), "several --label are for --net r2plus1d..., not resnet18"),
        (("--preset", "epic", "--warmup", 3), "--warmup is for --decay cosine"),
        (("--preset", "ego4d", "--bn-mode", "train"), "--bn-mode is for last layers that learn alone"),
    ):
        done = typed(*words, *more)
        assert done.exit_code == 2, done.output
        assert said in " ".join(done.stderr.split())
    assert "--crops is for a run of --net resnet..." in evaluated(run, manifest, "--crops", "ten").stderr


def test_presets_are_those_of_the_network_and_a_file_chooses_it_too(manifest, tmp_path):
    (tmp_path / "c.yaml").write_text("net: r2plus1d10\npreset: small\nframes: 2\n")
    words = ("--config", tmp_path / "c.yaml", "--size", 32, "--steps", 1)
    done = trained(manifest, tmp_path / "file", *words, net=())
    assert done.exit_code == 0, done.output
    chosen = json.loads((tmp_path / "file" / "config.json").read_text())["identity"]
    assert {name: chosen[name] for name in ("net", "size", "min_size", "frames", "learning_rate", "dropout")} == {
        **{"net": "r2plus1d10", "size": 32, "min_size": 55, "frames": 2, "learning_rate": 0.005, "dropout": 0.0},
    }


def test_clips_without_one_of_the_labels_and_files_that_cannot_be_read_are_named(manifest, tmp_path):
    lines = manifest.read_text().splitlines()
    lines += [
        lines[1].replace("a,", "x,", 1).replace("cut", ""),
        lines[1].replace("a,", "y,", 1).replace("a.mp4", "no"),
    ]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    done = trained(tmp_path / "m.csv", tmp_path / "run", "--steps", 1)
    assert done.exit_code == 0, done.output
    assert "1 clip with an empty 'verb' left out: x" in done.stderr
    assert "1 clip left out: unreadable" in done.stderr
    report = json.loads(done.stdout)
    assert (report["clips"], [*report["left_out"]["unreadable"]]) == (2, ["y"])
    assert "--label verb is given twice" in complaint(trained(manifest, tmp_path / "twice", "--label", "verb"))
