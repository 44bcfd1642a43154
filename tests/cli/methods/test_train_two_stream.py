"""`egotools train two-stream` on files, as users type it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import assembly
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from egotools.cli.main import root
from tabled import write_table

from egotools.errors import EgotoolsError
from egotools.manifests.segments import Segment, write_segments
from egotools.methods.two_stream.options import TwoStream
from egotools.methods.two_stream.pairs import read_pairs
from egotools.methods.two_stream.refiner import read_refiner
from egotools.stores import Recipe, Source, open_writer
from egotools.training import how
from egotools.types import Rows

RATE = 10.0  # rows a second
FAST = ("--preset", "small", "--epochs", "2", "--chunk", "2", "--slots", "16", "--batch-size", "2", "--device", "cpu")
WIDTH = 16


def write(
    folder: Path,
    clips: dict[str, tuple[str, str, str]],
    rows: dict[str, int] | None = None,
    *,
    starts: dict[str, float] | None = None,
    rates: dict[str, float] | None = None,
    width: int = WIDTH,
) -> None:
    """A manifest of clips with recording, view and split, and their features."""
    names = list(clips)
    columns = {"recording": [clips[n][0] for n in names], "view": [clips[n][1] for n in names]}
    write_table(folder / "a.csv", names, columns, [clips[n][2] for n in names])
    random = np.random.default_rng(0)
    with open_writer(folder / "f.lmdb", Recipe({"imported": {"content": "x"}})) as writer:
        for name in names:
            count, rate = (rows or {}).get(name, 40), (rates or {}).get(name, RATE)
            times = (starts or {}).get(name, 0.0) + np.arange(count) / rate
            values = random.normal(size=(count, width)).astype(np.float32)
            writer.append(name, Rows(values, np.stack([times, times + 1 / rate], axis=1)))
            writer.finish(name, Source(""))
        writer.commit()


def recordings(*splits: str, views: tuple[str, ...] = ("e4", "v3")) -> dict[str, tuple[str, str, str]]:
    """A recording a split, each seen by all views."""
    return {f"r{n}/{view}": (f"r{n}", view, split) for n, split in enumerate(splits) for view in views}


def typed(folder: Path, *more: object, out: str = "run", fast: tuple[str, ...] = FAST) -> Result:
    words = ["train", "two-stream", "--manifest", folder / "a.csv", "--features", folder / "f.lmdb"]
    return CliRunner().invoke(root, [str(w) for w in [*words, *fast, "--out", folder / out, *more]])


def trained(folder: Path, *more: object, **options: Any) -> dict[str, Any]:
    done = typed(folder, "--json", *more, **options)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def complaint(folder: Path, *more: object, status: int = 1, **options: Any) -> str:
    done = typed(folder, *more, **options)
    assert done.exit_code == status, done.output
    said = done.stderr if status == 2 else str(done.exception)
    assert status == 2 or (isinstance(done.exception, EgotoolsError) and "\n" not in said)
    return said


def test_a_run_keeps_refiner_figures_and_a_picture_and_the_stream_for_resuming_only(tmp_path):
    write(tmp_path, recordings("pair", "pair", "pair", "val", "train"))
    report = trained(tmp_path)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("config.json", "metrics.jsonl", "checkpoint.pt", "report.json", "features.json", "learned.json"),
        *("refiner.safetensors", "refiner.best.safetensors", "refiner.json", "training.png"),
    }
    assert (report["recordings"], report["items"], report["val_items"], report["rows"]) == (3, 6, 2, 120)
    identity = json.loads((tmp_path / "run/config.json").read_text())["identity"]
    assert identity["sizes"]["gate"] == {"layers": 1, "heads": 8}
    assert (identity["epochs"], identity["learning_rate"], identity["size"]) == (2, 1e-4, "small")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"loss", "reconstruction", "invariance", "val_variance", "val_raw_variance", "val_cosine"} <= {*lines[0]}
    refiner, facts = read_refiner(f"run:{tmp_path / 'run'}")
    assert (facts.objective, facts.student, facts.teacher) == ("view-invariance", "e4", "v3")
    assert (facts.width, facts.layers, facts.heads, facts.attention_axis) == (WIDTH, 1, 8, "none")
    kept = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["parts"]["model"]
    assert {name.partition(".")[0] for name in kept} == {"refiner", "stream"}
    assert all(torch.equal(kept[f"refiner.{name}"], value) for name, value in refiner.state_dict().items())
    learned = json.loads((tmp_path / "run/learned.json").read_text())[""]
    assert (learned["group"], learned["groups"]) == ("recording", ["r0", "r1", "r2"])
    again = typed(tmp_path)
    assert "nothing to do" in again.stderr
    assert "relative distance" in again.stdout
    assert "epochs=2, not 3" in complaint(tmp_path, "--epochs", "3")


@pytest.mark.parametrize("objective", ["simple-3d", "sync-kd"])
def test_the_other_objectives_have_their_own_defaults(tmp_path, objective, monkeypatch):
    write(tmp_path, recordings("pair", "pair", "val"))
    monkeypatch.setattr(how, "has_fast_bf16", lambda _: False)
    report = trained(tmp_path, "--objective", objective, "--precision", "bf16")
    assert any("--precision bf16: trained in float32" in remark for remark in report["remarks"])
    assert report["precision_used"] == "float32"
    assert report["arguments"]["learning_rate"] == {"simple-3d": 1e-4, "sync-kd": 1e-2}[objective]
    assert ("stream" in report["parameters"]) == (objective == "simple-3d")
    assert ("distillation" in report["last"]) == (objective == "sync-kd")
    assert read_refiner(f"run:{tmp_path / 'run'}")[1].objective == objective


def test_a_preset_is_the_published_code_with_all_its_quirks_and_flags_win(tmp_path):
    write(tmp_path, recordings("pair", "pair", "val"), width=64)
    write_segments(tmp_path / "s.csv", [Segment(f"r{n}", 0.0, 3.7, "a", f"r{n}") for n in range(3)])
    shrunk = ("--chunk", "2", "--slots", "8", "--epochs", "1", "--device", "cpu", "--span-round", "10")
    report = trained(tmp_path, "--preset", "report", "--size", "small", "--segments", tmp_path / "s.csv", fast=shrunk)
    done = report["arguments"]
    assert {name: done[name] for name in ("attention_axis", "mask_padding", "trim_padding", "frame_shift")} == {
        "attention_axis": "batch",
        "mask_padding": False,
        "trim_padding": False,
        "frame_shift": 1,
    }
    assert (done["learning_rate"], done["seed"], done["view_offset"], done["span_round"]) == (1e-3, 42, 1.0, 10)
    assert report["rows"] == 2 * 29  # of 3.7 s at 10 a second, rounded down to tens, and one is labelled too late
    assert json.loads((tmp_path / "run/config.json").read_text())["origin"]["preset"] == "report"


def test_items_are_those_of_the_references_pairs(tmp_path):
    manifest, segments = assembly.write_lists(tmp_path)
    with open_writer(tmp_path / "f.lmdb", Recipe({"imported": {"content": "x"}})) as writer:
        for clip, (first, end) in assembly.made()["frames"].items():
            starts = np.arange(first - 1, end - 1) / assembly.FPS
            times = np.stack([starts, starts + 1 / assembly.FPS], axis=1)
            writer.append(clip, Rows(np.zeros((end - first, 1), np.float32), times))
            writer.finish(clip, Source(""))
        writer.commit()
    pairs = read_pairs(manifest, [tmp_path / "f.lmdb"], segments, TwoStream(frame_shift=1, span_round=1000))
    arrays = assembly.golden("dataset")[1]
    assert [len(views[0]) for views in pairs.train] == arrays["ssl_val_max1200_len"].tolist()
    assert [round(views[0].times[0, 0] * 30) + 1 for views in pairs.train] == arrays["ssl_val_max1200_start"].tolist()
    short = read_pairs(manifest, [tmp_path / "f.lmdb"], segments, TwoStream(slots=8)).train
    assert all(len(one) == len(other) <= 160 for one, other in short)
    assert all(np.allclose(one.times, other.times) for one, other in short)


def test_views_of_different_length_meet_where_both_are_and_what_is_lost_is_counted(tmp_path):
    clips = recordings("pair", "pair", "val")
    write(tmp_path, clips, {"r0/e4": 30, "r1/v3": 36}, starts={"r0/v3": 0.5})
    report = trained(tmp_path)
    assert report["rows"] == 25 + 36
    said = "24 rows left out at times that not all views have, in 2 of 2 sequences: r0, r1"
    assert any(said in remark for remark in report["remarks"]), report["remarks"]


def test_recordings_without_one_of_the_views_are_counted_and_left_out(tmp_path):
    clips = recordings("pair", "pair", "pair", "val")
    del clips["r1/v3"]
    write(tmp_path, clips)
    report = trained(tmp_path)
    assert report["recordings"] == 2
    assert any(
        "1 sequences without all of the views e4, v3 left out, of the recordings r1" in r for r in report["remarks"]
    )


def test_without_a_split_pair_the_split_train_is_learned_from_or_all_clips_and_that_is_said(tmp_path):
    for split, said in (("train", "the split train"), ("", "all clips")):
        (tmp_path / f"of-{split}").mkdir()
        write(tmp_path / f"of-{split}", recordings(split, split))
        pairs = read_pairs(tmp_path / f"of-{split}/a.csv", [tmp_path / f"of-{split}/f.lmdb"], None, TwoStream())
        assert any(f"learned from {said}" in remark for remark in pairs.remarks)
        assert any("validated on what is learned from" in remark for remark in pairs.remarks)
        assert pairs.val is pairs.train


def test_recordings_in_both_splits_are_named(tmp_path):
    clips = {**recordings("pair", "pair"), "late/e4": ("r1", "e4", "val"), "late/v3": ("r1", "v3", "val")}
    write(tmp_path, clips)
    pairs = read_pairs(tmp_path / "a.csv", [tmp_path / "f.lmdb"], None, TwoStream())
    assert "1 recordings are both learned from and in val: r1" in pairs.remarks


def test_a_third_view_takes_part(tmp_path):
    write(tmp_path, recordings("pair", "pair", "val", views=("e4", "v3", "v4")), {"r0/v4": 30})
    report = trained(tmp_path, "--third", "v4")
    assert report["views"] == ["e4", "v3", "v4"]
    assert report["rows"] == 30 + 40
    assert read_refiner(f"run:{tmp_path / 'run'}")[1].third == "v4"


def test_what_cannot_be_paired_is_refused_before_anything_is_written(tmp_path):
    clips = recordings("pair", "val")
    for number, (changed, options, said) in enumerate(
        [
            ({}, {"starts": {"r0/v3": 100.0}}, "r0/e4 and r0/v3 have no rows at the same time"),
            ({}, {"rates": {"r0/v3": 5.0}}, "have rows at different times: extract both with the same rate"),
            ({}, {"starts": {"r0/v3": 0.05}}, "have rows at different times"),
            ({"r0/v3": ("other", "v3", "pair")}, {}, "no recording has rows of the views e4 and v3 in .* 'recording'"),
            ({"r0/v3": ("r0", "v4", "pair")}, {}, "no recording has rows of the views e4 and v3"),
            ({"r0/again": ("r0", "e4", "pair")}, {}, "recording 'r0' has two clips of the view 'e4'"),
            ({}, {"width": 12}, "features of width 12 cannot be shared among the 8 attention heads of --size small"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, {**clips, **changed}, **options)
        assert re.search(said, complaint(folder))
        assert not (folder / "run").exists()


def test_wrong_usage_and_views_that_nobody_has_are_named(tmp_path):
    write(tmp_path, recordings("pair", "val"))
    assert "no clip has the view 'e9'; there are e4, v3" in complaint(tmp_path, "--student", "e9")
    assert "different views" in complaint(tmp_path, "--student", "v3", status=2)
    assert "--third" in complaint(tmp_path, "--objective", "sync-kd", "--third", "v4", status=2)
    assert "which --accumulate 3 does not divide" in complaint(tmp_path, "--accumulate", "3")
    assert "absent.csv" in complaint(tmp_path, "--segments", tmp_path / "absent.csv")
    assert not (tmp_path / "run").exists()


def test_a_training_that_is_interrupted_leaves_no_pooled_features_behind_and_is_resumed(tmp_path, monkeypatch):
    from egotools.training.runs import Run

    write(tmp_path, recordings("pair", "pair", "val"))
    whole = trained(tmp_path, out="whole")
    log = Run.log

    def interrupted(self: Run, figures: Any) -> None:
        log(self, figures)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "log", interrupted)
    typed(tmp_path)
    assert not [*(tmp_path / "run").glob("pooled*")]
    monkeypatch.undo()
    assert trained(tmp_path)["last"] == whole["last"]
    names = ("metrics.jsonl", "refiner.safetensors", "refiner.best.safetensors", "training.png")
    assert all((tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in names)
