"""State changes: positions of clips and their rows, and training and evaluation by the commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from clip_rows import every, write_rows
from egotools.cli.main import root as egotools
from fill import DATA

from egotools.manifests.table import read_manifest, write_manifest
from egotools.methods.state_change.examples import read_examples
from egotools.methods.state_change.frames import nearest_position, position_frames, rows_of_times
from egotools.methods.state_change.options import StateChange
from egotools.methods.state_change.run import open_run, read_sides, train_state_change
from egotools.training.how import How
from egotools.types import Clip, Rows

WIDTH = 6


def run(*words: object, status: int = 0) -> Result:
    done = CliRunner().invoke(egotools, [*map(str, words)])
    assert done.exit_code == status, (done.output, done.exception)
    return done


# Positions


@pytest.mark.parametrize("case", range(5))
def test_the_reference_picks_the_frames_and_labels_of_the_golden(case):
    about = json.loads((DATA / "replai/pnr_frame_sampling.json").read_text())["inputs"][0]["cases"][case]
    golden = np.load(DATA / "replai/pnr_frame_sampling.npz")
    frames = position_frames(about["start"], about["end"])
    np.testing.assert_array_equal(frames, golden[f"frames_{case}"])
    if about["pnr"] is not None:
        np.testing.assert_array_equal(np.abs(frames - about["pnr"]), golden[f"distance_{case}"])
        assert nearest_position(frames, about["pnr"]) == about["keyframe_label"]


def test_exact_positions_are_where_the_metric_assumes_them():
    np.testing.assert_array_equal(position_frames(1000, 1240, "exact"), 1000 + 15 * np.arange(16))
    frames = position_frames(7, 7 + 215, "exact")
    assert np.abs(frames - (7 + 215 / 16 * np.arange(16))).max() <= 0.5
    np.testing.assert_array_equal(position_frames(3, 19, "exact"), np.arange(3, 19))


@pytest.mark.parametrize("count", [16, 17, 31, 100])
def test_any_clip_of_16_frames_and_more_has_16_positions_of_its_own(count):
    for sampling in ("reference", "exact"):
        frames = position_frames(101, 101 + count, sampling)
        assert len(set(frames.tolist())) == 16
        assert frames[0] >= 101
        assert frames[-1] < 101 + count


def test_fewer_than_16_frames_have_no_positions():
    with pytest.raises(ValueError, match="15 frames"):
        position_frames(0, 15)


def test_a_position_takes_the_row_whose_middle_is_nearest():
    times = 100 + 0.5 * np.arange(16)
    np.testing.assert_array_equal(rows_of_times(times + 0.25, every(16, 0.5, 100.0), 0.25), np.arange(16))
    np.testing.assert_array_equal(rows_of_times(times, every(16, 0.5, 100.0), 0.25), np.arange(16))  # both are as near
    np.testing.assert_array_equal(rows_of_times(times + 0.25, every(160, 0.05, 100.0), 0.25)[:3], [5, 15, 25])
    assert rows_of_times(times, every(8, 1.0, 100.0), 0.25) is None
    assert rows_of_times(times, every(14, 0.5, 100.0), 0.25) is None
    assert rows_of_times(times, np.zeros((0, 2)), 0.25) is None


# Clips off a cache


def clip(number: int, split: str, *, state: int | None, at: int = 0, frames: int = 240, seconds: float = 8.0) -> Clip:
    """A clip that begins at frame 3000 = 100 s, its change in the middle of a position."""
    changed = state == 1
    labels = {
        "state_change": "" if state is None else str(state),
        "pnr": str(100 + (15 * at + 7) / 30) if changed else "",
        "start_frame": "3000",
        "end_frame": str(3000 + frames),
        "pnr_frame": str(3000 + 15 * at + 7) if changed else "",
        "video": f"v{number}",
    }
    return Clip(f"c{number}", Path(), 100.0, 100.0 + seconds, split, labels)


def rows(state: int | None, at: int, random: np.random.Generator) -> Rows:
    """16 rows of 0.5 s. Of a clip with a change the first column is high, and the second at its position."""
    values = random.normal(scale=0.3, size=(16, WIDTH))
    if state == 1:
        values[:, 0] += 1.0
        values[at, 1] += 3.0
    return Rows(values.astype(np.float32), every(16, 0.5, 100.0))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A manifest of 96 clips to train, 24 of val and 24 of test, and a cache of them."""
    folder, random = tmp_path_factory.mktemp("changes"), np.random.default_rng(0)
    clips, cached = [], {}
    for number in range(144):
        split, state, at = "train" if number < 96 else "val" if number < 120 else "test", number % 2, number * 7 % 16
        clips.append(clip(number, split, state=state, at=at))
        cached[f"c{number}"] = rows(state, at, random)
    write_manifest(folder / "c.csv", clips)
    write_rows(folder / "c.lmdb", cached)
    return folder


LEARNS = ("--epochs", 30, "--learning-rate", 0.1, "--sampling", "exact")


def test_heads_learn_whether_and_when_the_state_changes(made, tmp_path):
    out, shared = tmp_path / "run", ("--manifest", made / "c.csv", "--features", made / "c.lmdb")
    run("train", "state-change", *shared, "--out", out, *LEARNS)
    done = run("eval", "state-change", "--run", out, *shared, "--out", tmp_path / "r", "--json")
    content = json.loads(done.stdout)
    assert (content["clips"], content["changed"]) == (24, 12)
    assert content["protocol"] == "24 clips of test"
    assert content["accuracy"] >= 0.9
    assert content["pnr_error"] == pytest.approx(7 / 30.125)  # all positions are right; within one lie 7 frames
    assert content["baselines"]["accuracy"] == 0.5
    assert content["baselines"]["pnr_error"] > 1
    with (tmp_path / "r/predictions.csv").open() as file:
        first = next(csv.DictReader(file))
    assert first["id"] == "c120"
    assert 0 <= float(first["probability"]) <= 1
    assert 100 <= float(first["predicted_pnr"]) < 108
    assert run("train", "state-change", *shared, "--out", out, *LEARNS).stderr.count("nothing to do") == 1


def test_the_epoch_with_most_right_states_on_val_is_kept(made, tmp_path):
    config = StateChange(epochs=3, learning_rate=0.5, temporal=True, width=8, standardize=True)
    content, _ = train_state_change(tmp_path / "r", made / "c.csv", [made / "c.lmdb"], config)
    lines = [json.loads(line) for line in (tmp_path / "r/metrics.jsonl").read_text().splitlines()]
    assert content["best"]["accuracy"] == max(line["val_accuracy"] for line in lines)
    assert open_run(tmp_path / "r")[1] == config
    evaluated = run(
        *("eval", "state-change", "--run", tmp_path / "r", "--test-split", "val", "--json"),
        *("--manifest", made / "c.csv", "--features", made / "c.lmdb"),
    )
    assert json.loads(evaluated.stdout)["accuracy"] == content["best"]["accuracy"]
    assert "chosen on val" in evaluated.stderr


class Interrupted(Exception):
    pass


def test_an_interrupted_training_resumes_to_the_same_bytes(made, tmp_path):
    config, how = StateChange(epochs=4, temporal=True, width=8), How(save_every=0.0, log_every=2)  # 3 steps an epoch

    def interrupt(_: str, epoch: int, __: int) -> None:
        if epoch == 3:
            raise Interrupted

    whole = train_state_change(tmp_path / "whole", made / "c.csv", [made / "c.lmdb"], config, how=how)
    with pytest.raises(Interrupted):
        train_state_change(tmp_path / "cut", made / "c.csv", [made / "c.lmdb"], config, how=how, progress=interrupt)
    assert train_state_change(tmp_path / "cut", made / "c.csv", [made / "c.lmdb"], config, how=how) == whole
    for name in ("metrics.jsonl", "state_change.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_manifest_of_val_alone_is_trained_and_evaluated_on_and_says_so(made, tmp_path):
    clips = [each for each in read_manifest(made / "c.csv") if each.split == "val"]
    write_manifest(tmp_path / "val.csv", clips)
    shared = ("--manifest", tmp_path / "val.csv", "--features", made / "c.lmdb")
    done = run("train", "state-change", *shared, "--out", tmp_path / "r", "--epochs", 2)
    assert "no clip has the split 'train': trained on all" in done.stderr
    assert "loss of the last batches" in done.stderr + done.stdout
    done = run("eval", "state-change", "--run", tmp_path / "r", *shared)
    assert "24 of 24 evaluated rows are no test" in done.stderr


def test_short_clips_and_clips_without_rows_in_time_are_named(made, tmp_path):
    random = np.random.default_rng(1)
    clips = [
        clip(0, "train", state=1, at=3),
        clip(1, "train", state=0, frames=15, seconds=0.5),
        clip(2, "train", state=0),
        clip(3, "train", state=0),
    ]
    write_manifest(tmp_path / "c.csv", clips)
    late = Rows(np.zeros((16, WIDTH), np.float32), every(16, 0.5, 104.0))
    cached = {"c0": rows(1, 3, random), "c1": rows(0, 0, random), "c2": late}
    found = read_examples(tmp_path / "c.csv", [write_rows(tmp_path / "c.lmdb", cached)], "reference")
    assert [each.id for each in found.clips] == ["c0"]
    assert found.fps == 30.125
    said = " ".join(found.remarks)
    assert "1 clip missing in" in said
    assert "1 clip of fewer than 16 frames left out: c1" in said
    assert "1 clip left out, with a position without a row nearby" in said
    np.testing.assert_array_equal(found.features[0], cached["c0"].values)


def test_windows_spread_over_a_clip_of_two_seconds_are_near_enough_to_its_positions(tmp_path):
    write_manifest(tmp_path / "c.csv", [clip(0, "train", state=1, at=3, frames=60, seconds=2.0)])
    begins = np.linspace(100, 101.5, 16)  # as `avid-video --clips 16` places windows of half a second
    spread = Rows(np.zeros((16, WIDTH), np.float32), np.stack([begins, begins + 0.5], axis=1))
    found = read_examples(tmp_path / "c.csv", [write_rows(tmp_path / "c.lmdb", {"c0": spread})], "reference")
    assert [each.id for each in found.clips] == ["c0"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"start_frame": "x"}, "clip 'c0': start_frame 'x' is not a whole number"),
        ({"state_change": "yes"}, "clip 'c0': state_change 'yes' is not 1, 0 or empty"),
        ({"end_frame": "3000"}, "clip 'c0': end_frame 3000 is not after start_frame 3000"),
        ({"pnr_frame": ""}, "clip 'c0': pnr_frame '' is not a whole number"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_by_its_column(made, tmp_path, change, problem):
    there = clip(0, "train", state=1)
    write_manifest(tmp_path / "c.csv", [Clip("c0", Path(), 100.0, 108.0, "train", {**there.labels, **change})])
    shared = ("--manifest", tmp_path / "c.csv", "--features", made / "c.lmdb", "--out", tmp_path / "r")
    assert problem in str(run("train", "state-change", *shared, status=1).exception)
    assert not (tmp_path / "r").exists()


def test_other_manifests_and_clips_without_labels_are_refused(made, tmp_path):
    write_manifest(tmp_path / "m.csv", [Clip("c0", Path(), 0.0, 8.0, "train", {"label": "x"})])
    shared = ("--features", made / "c.lmdb", "--out", tmp_path / "r")
    line = str(run("train", "state-change", "--manifest", tmp_path / "m.csv", *shared, status=1).exception)
    assert "no column 'start_frame'; 'egotools manifest ego4d" in line
    write_manifest(tmp_path / "t.csv", [clip(0, "test", state=None)])
    line = str(run("train", "state-change", "--manifest", tmp_path / "t.csv", *shared, status=1).exception)
    assert "no clip has a label in the column 'state_change'" in line


def test_features_of_another_width_are_refused_and_options_are_checked(made, tmp_path):
    shared = ("--manifest", made / "c.csv", "--features", made / "c.lmdb", "--out", tmp_path / "r")
    assert "--dropout must be" in run("train", "state-change", *shared, "--dropout", 1, status=2).output
    assert "--epochs must be" in run("train", "state-change", *shared, "--epochs", 0, status=2).output
    train, val, _ = read_sides(made / "c.csv", [made / "c.lmdb"], StateChange())
    assert (len(train), len(val)) == (96, 24)
