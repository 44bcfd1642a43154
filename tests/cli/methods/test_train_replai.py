"""`egotools train replai` and `egotools eval replai` on video files, as users type them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import replai_files
import torch
from click.testing import CliRunner, Result
from egotools.cli.main import root
from typing_commands import complaint

from egotools.extraction.failures import write_failures
from egotools.loading.files import Files
from egotools.loading.kept_files import files_of
from egotools.manifests.table import read_manifest
from egotools.methods.replai.options import ReplaiOptions
from egotools.methods.replai.run import prepared_clips
from egotools.weights.replai import read_replai

NARROW = {name: str(value) for name, value in replai_files.SMALL.items()}
FAST = [word for name, value in NARROW.items() for word in (f"--{name.replace('_', '-')}", value)]
FAST += ["--steps", "2", "--workers", "0", "--device", "cpu"]
SPLITS = {"v0": "train", "v1": "train", "silent": "train", "broken": "train", "v2": "test", "v3": "test"}
DIRECTIONS = {"v0": "up", "v1": "up", "silent": "", "broken": "", "v2": "up", "v3": "down"}


@pytest.fixture(scope="module", autouse=True)
def _narrow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        replai_files.make_narrow(patch)
        yield


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos, one without sound, a broken one, their manifest and moments; tests only read them."""
    folder = tmp_path_factory.mktemp("audible")
    videos = replai_files.write_videos(folder / "videos", 4)
    (videos / "broken.mp4").write_bytes(b"no video")
    manifest = replai_files.write_manifest(folder / "m.csv", videos, SPLITS, way=DIRECTIONS)
    replai_files.extract_moments(manifest, folder / "caches")
    return folder


def typed(there: Path, method: str, *more: object) -> Result:
    words = [method, "replai", "--manifest", there / "m.csv", "--moments", there / "caches/moments.lmdb", *more]
    return CliRunner().invoke(root, [str(word) for word in words])


@pytest.fixture(scope="module")
def run(there: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps; tests only read it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    done = typed(there, "train", "--out", folder, *FAST, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["clips"], report["steps"], report["epochs"]) == (2, 2, 2)
    assert report["left_out"]["silent"] == ["silent"]
    assert list(report["left_out"]["unreadable"]) == ["broken"]
    assert any("1 clip left out: no sound: silent" in remark for remark in report["remarks"])
    return folder


def test_a_run_keeps_its_networks_by_published_names_and_figures(run):
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "metrics.jsonl", "checkpoint.pt", "report.json", "files.npz", "learned.json", "training.png"),
        *("replai.safetensors", "backbone.safetensors", "backbone.audio.safetensors", "backbone.json"),
    }
    kept = torch.load(run / "checkpoint.pt", weights_only=True)["parts"]["model"]
    found = read_replai(run)
    assert all(torch.equal(value, kept[f"backbone.video.{name}"]) for name, value in found.video.items())
    assert all(torch.equal(value, kept[f"mlp.{name}"]) for name, value in found.heads.items())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    stages = {f"seconds_{name}" for name in ("waiting", "decoding", "resizing", "sound", "finishing", "step")}
    assert {"loss", "clr_loss", "aot_loss", "learning_rate"} | stages <= {*lines[-1]}
    assert lines[-1]["loss"] == pytest.approx((lines[-1]["clr_loss"] + lines[-1]["aot_loss"]) / 2, rel=1e-5)
    identity = json.loads((run / "config.json").read_text())["identity"]
    assert identity["features"]["1"]["extractor"] == "moments"
    assert json.loads((run / "learned.json").read_text())[""]["ids"] == ["v0", "v1"]


def test_a_run_that_is_done_stays_and_other_options_are_refused(there, run):
    assert "nothing to do" in typed(there, "train", "--out", run, *FAST).stderr
    assert "holds a run with temperature=0.07, not 0.1" in complaint(
        typed(there, "train", "--out", run, *FAST, "--temperature", "0.1")
    )


def test_it_is_evaluated_on_other_clips_beside_the_untrained_network(there, run, tmp_path):
    more = ("--run", run, "--untrained", "--per-clip", "2", "--direction", "way", "--workers", "0")
    done = typed(there, "eval", *more, "--out", tmp_path / "e", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["clips"], report["moments"], report["protocol"]) == (2, 4, "2 moments a clip, on test")
    assert report["r5_chance"] == 1
    assert report["untrained"].keys() <= report.keys()
    assert {"auc", "auc_within", "order", "order_shuffled", "order_opposite", "aot_loss"} <= report["untrained"].keys()
    assert report["auc"] != report["untrained"]["auc"] or report["aot_loss"] != report["untrained"]["aot_loss"]
    assert json.loads((tmp_path / "e/report.json").read_text()) == report
    assert "no column 'nowhere'; its label columns are: way" in complaint(
        typed(there, "eval", "--run", run, "--direction", "nowhere")
    )


def test_a_run_that_has_learned_from_all_clips_is_evaluated_on_them_and_that_is_said(there, run):
    done = typed(there, "eval", "--run", run, "--test-split", "train", "--workers", "0")
    assert done.exit_code == 0, done.output
    assert "2 of 2 evaluated rows are no test: the run was trained on them" in done.stderr
    assert "AUC of own and other sounds" in done.stdout
    everything = typed(there, "eval", "--run", run, "--all-rows", "--workers", "0", "--json")
    assert json.loads(everything.stdout)["clips"] == 4


def test_a_training_begins_with_the_weights_of_a_run_and_can_leave_parts_out(there, run, tmp_path):
    words = ["train", "replai", "--manifest", there / "m.csv", "--out", tmp_path / "r", *FAST, "--steps", "1"]
    words += ["--init", f"run:{run}", "--without", "moments", "--without", "state-change", "--learning-rate", "1e-12"]
    done = CliRunner().invoke(root, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["moments"] is None
    assert "aot_loss" not in report["last"]
    assert report["last"]["loss"] == report["last"]["clr_loss"]
    assert "--init: both networks and the heads are taken" in report["remarks"]
    old, new = read_replai(run), read_replai(tmp_path / "r")
    for name, value in new.video.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(value, old.video[name], rtol=1e-5, atol=1e-8)
    assert torch.equal(new.heads["video_aot.0.weight"], old.heads["video_aot.0.weight"])
    other = typed(there, "train", "--out", tmp_path / "o", *FAST, "--init", f"run:{run}", "--net", "r2plus1d18")
    assert "its video network is R(2+1)D-10, not R(2+1)D-18" in complaint(other)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--without", "state-change", "--without", "correspondence"], "leave nothing to learn"),
        (["--without", "sound"], "'sound' is not one of"),
    ],
)
def test_wrong_usage(there, tmp_path, more, said):
    done = typed(there, "train", "--out", tmp_path / "r", *FAST, *more)
    assert done.exit_code == 2
    assert said in done.stderr


def test_without_moments_the_option_says_what_is_needed(there, tmp_path):
    words = ["train", "replai", "--manifest", str(there / "m.csv"), "--out", str(tmp_path / "r"), *FAST]
    done = CliRunner().invoke(root, words)
    assert done.exit_code == 2
    assert "--moments is needed" in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.integration
def test_two_processes_under_torchrun_make_one_run(there, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    words = ["egotools", "train", "replai", "--manifest", there / "m.csv", "--out", tmp_path / "run", *FAST, "--json"]
    more = ["--moments", there / "caches/moments.lmdb", "--steps", "1", "--audio-net", "speccnn"]
    manifest = replai_files.write_manifest(
        tmp_path / "m.csv", there / "videos", {f"v{number}": "train" for number in range(4)}, way=DIRECTIONS
    )
    words[words.index(there / "m.csv")] = manifest
    done = subprocess.run(
        [*launcher, *map(str, [*words, *more])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)  # one process speaks
    assert report["clips"] == 4
    assert json.loads((tmp_path / "run/config.json").read_text())["identity"]["processes"] == 2


def test_a_clip_whose_moments_could_not_be_looked_for_is_left_out_and_named(there, tmp_path):
    shutil.copy(there / "caches/moments.lmdb", tmp_path / "moments.lmdb")
    clips = [clip for clip in read_manifest(there / "m.csv") if clip.split == "train"]
    write_failures(tmp_path / "moments.lmdb", clips[:1], [(clips[0], "v0.mp4: its sound is odd")])
    options = ReplaiOptions(**replai_files.SMALL)
    found = prepared_clips(clips, files_of(clips, sound=True), options, tmp_path / "moments.lmdb", "m.csv")
    assert found.clips.ids == ["v1"]
    assert found.clips.failed["v0"] == "v0.mp4: its sound is odd"


def test_moments_keep_away_from_the_beginning_of_a_picture_that_begins_late(there):
    clips = [clip for clip in read_manifest(there / "m.csv") if clip.id == "v0"]
    (source,) = files_of(clips, sound=True).sources.values()
    late = replace(source, info=replace(source.info, times=source.info.times + 0.5, end=source.info.end + 0.5))
    files, options = Files({source.path: late}, {}), ReplaiOptions(**replai_files.SMALL, prominence=0.5)
    (found,) = prepared_clips(clips, files, options, there / "caches/moments.lmdb", "m.csv").clips.found
    assert found.moments is not None
    assert 1.1 <= found.moments.min() < found.moments.max() <= 2.4


def test_the_published_ways_are_a_preset(there, tmp_path):
    done = typed(there, "train", "--out", tmp_path / "r", "--preset", "reference", *FAST, "--steps", "1")
    assert done.exit_code == 0, done.output
    assert "the rate changes each epoch, and there are 1: --rate-every step changes it smoothly" in done.stderr
    identity = json.loads((tmp_path / "r/config.json").read_text())["identity"]
    published = {"swap_sides": True, "frame_windows": "published", "sound_windows": "published", "torch_order": True}
    assert published.items() <= identity.items()
    assert (identity["gather_grad"], identity["learning_rate"]) == (False, 0.005)
