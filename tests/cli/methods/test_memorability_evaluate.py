"""`egotools eval memorability` on files, as users type it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from memorability_files import (
    CLIPS,
    IDS,
    RAW,
    caches,
    complaint,
    files,
    judge,
    read_csv,
    run,
    shown,
    train,
    write_files,
    write_folds,
)
from tabled import write_cache

from egotools.methods.memorability.reference import reference_normalization
from egotools.nn.mlp import ScoreMLP
from egotools.stores import Recipe


@pytest.fixture
def data(tmp_path, rng):
    return write_files(tmp_path, rng)


def test_evaluation_writes_report_predictions_and_scatter(data):
    run(*train(data, "--seeds", "2"))
    content = shown(*judge(data, "--out", data / "out"))
    assert files(data / "out") == {"predictions.csv", "report.json", "scatter.png"}
    assert any("names no files" in remark for remark in content["remarks"])
    assert content["clips"] == 24  # of test, which has scores
    rows = read_csv(data / "out/predictions.csv")
    assert [row["id"] for row in rows] == IDS[96:]
    assert shown(*judge(data, "--split", "val"))["protocol"] == "24 val clips scored by a trained run"
    assert "a memorability in the split 'none'; choose from test, train, val" in complaint(
        *judge(data, "--split", "none")
    )


def test_ablation_retrains_every_subset_of_the_groups(data):
    run(*train(data, names=("csn", "m3s", "similarity-csn")))
    report = shown(*judge(data, "--ablation"))
    subsets = {tuple(entry["features"]): entry for entry in report["ablation"]}
    assert len(subsets) == 7
    whole = json.loads((data / "run/report.json").read_text())["last"]["spearman"]
    assert subsets["m3s", "csn", "similarity"]["spearman"] == pytest.approx(whole, abs=1e-9)
    assert subsets["similarity",]["columns"] == 3
    assert subsets["csn",]["spearman"] > 0.5 > subsets["similarity",]["spearman"]
    assert "m3s+csn" in run(*judge(data, "--ablation")).stdout


@pytest.mark.parametrize("kind", ["ridge", "svr"])
def test_baselines_are_judged_on_the_runs_folds_and_leave_nothing(data, kind):
    write_folds(data / "folds.json", IDS[:20], IDS[20:40], IDS[40:])
    run(*train(data, "--folds", f"{data / 'folds.json'}:ids", names=("csn",)))
    before = files(data)
    by_run = shown(*judge(data, "--baseline", kind))
    plain = ["eval", "memorability", "--manifest", data / "m.csv", "--baseline", kind, "--draws", "20"]
    alone = shown(*plain, *caches(data, "csn"), "--folds", f"{data / 'folds.json'}:ids")
    assert by_run["spearman"] == alone["spearman"] > 0.6
    assert files(data) == before
    assert "--features is needed" in complaint(*plain)


def test_published_weights_are_judged_and_lacking_columns_named(data):
    network = ScoreMLP(26, (8,))
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, data / "w.tar"
    )
    line = ["eval", "memorability", "--weights", data / "w.tar", "--manifest", data / "m.csv", "--draws", "20"]
    line += caches(data, "m3s", "csn")
    assert "takes 26 columns, and the features have 21: m3s 15, csn 6; --zero-similarity" in complaint(*line)
    assert shown(*line, "--zero-similarity", "--out", data / "out")["clips"] == 24
    from egotools.tables.table import read_table

    table = read_table(data / "m.csv", [data / "m3s.lmdb", data / "csn.lmdb"], split="test")
    mean, deviation = reference_normalization("memento10k")
    values = np.concatenate(
        [(table.values[:, :15] - mean) / deviation, table.values[:, 15:], np.zeros((24, 5))], axis=1
    )
    with torch.no_grad():
        expected = network(torch.from_numpy(values.astype(np.float32))).squeeze(1).numpy()
    rows = read_csv(data / "out/predictions.csv")
    np.testing.assert_allclose([float(row["predicted"]) for row in rows], expected, atol=1e-5)


def test_a_group_that_published_weights_need_is_named(data, rng):
    torch.save(ScoreMLP(15 + 720 + 2048 + 852, (4,)).state_dict(), data / "w.tar")
    write_cache(data / "wide/csn.lmdb", IDS, rng.normal(size=(CLIPS, 2048)))
    line = ["eval", "memorability", "--weights", data / "w.tar", "--manifest", data / "m.csv", "--zero-similarity"]
    line += ["--features", data / "wide/csn.lmdb"]
    assert "2048; --features with m3s and hrnet must be among them" in complaint(*line)
    assert "2048; --features with hrnet must" in complaint(*line, *caches(data, "m3s"))


def test_features_that_a_run_needs_are_named(data):
    run(*train(data))
    assert "too: give --features .../m3s.lmdb" in complaint(*judge(data, *caches(data, "csn")))
    write_cache(data / "new/m3s.lmdb", IDS, np.random.default_rng(0).normal(size=(CLIPS, 14)), Recipe(RAW))
    assert "14 columns" in complaint(*judge(data, *caches(data, "csn"), "--features", data / "new/m3s.lmdb"))
    other = Recipe({**RAW, "options": {"deviations": True}})
    write_cache(data / "other/m3s.lmdb", IDS, np.random.default_rng(0).normal(size=(CLIPS, 15)), other)
    line = judge(data, *caches(data, "csn"), "--features", data / "other/m3s.lmdb")
    assert "made with options.deviations=True" in complaint(*line)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--run, --weights or --baseline is needed"),
        (["--weights", "w.tar", "--run", "r"], "--weights cannot be combined with"),
        (["--ablation", "--baseline", "ridge"], "it needs --run"),
        (["--run", "r", "--draws", "0"], "--draws must be above 0"),
    ],
)
def test_wrong_options_of_an_evaluation_are_wrong_usage(data, options, said):
    assert said in run("eval", "memorability", "--manifest", data / "m.csv", *options, status=2).output


def test_a_run_that_is_none_is_one_line(data):
    assert "is no run" in complaint(*judge(data))
    run(*train(data))
    (data / "run/normalization.safetensors").unlink()
    assert "missing or damaged" in complaint(*judge(data))
    (data / "run/report.json").unlink()
    assert "not done" in complaint(*judge(data))
