"""`egotools train memorability` on files, as users type it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from egotools.cli.main import root
from memorability_files import (
    CLIPS,
    IDS,
    SIMILARITY,
    SPLITS,
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
from tabled import write_cache, write_table

from egotools.methods.memorability.reference import reference_normalization
from egotools.nn.mlp import ScoreMLP
from egotools.training import how


@pytest.fixture
def data(tmp_path, rng):
    return write_files(tmp_path, rng)


def test_a_training_learns_keeps_a_run_and_is_done_only_once(data):
    report = shown(*train(data))
    assert report["last"]["spearman"] > 0.6
    assert report["best"]["spearman"] >= report["last"]["spearman"]
    assert [each["name"] for each in report["features"]] == ["m3s", "csn"]  # the order of the published weights
    assert files(data / "run") == {
        "checkpoint.pt",
        "config.json",
        "features.json",
        "learned.json",
        "metrics.jsonl",
        "model.safetensors",
        "normalization.safetensors",
        "report.json",
    }
    epochs = [json.loads(line) for line in (data / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in epochs] == list(range(1, 9))
    assert epochs[0]["loss"] > epochs[-1]["loss"]
    assert epochs[-1]["val_spearman"] == report["last"]["spearman"]
    again = run(*train(data))
    assert "nothing to do" in again.stderr


def test_a_preset_and_a_file_are_defaults_that_flags_override_and_the_run_records(data):
    (data / "c.yaml").write_text("hidden: 8\nepochs: 3\npreset: reference\n")
    line = train(data, "--config", data / "c.yaml", "--epochs", "2", "--seed", "3", fast=())
    report = shown(*line)
    assert "nothing to do" in run(*line).stderr
    config = json.loads((data / "run/config.json").read_text())
    assert config["origin"]["preset"] == "reference"
    identity = config["identity"]
    assert (identity["epochs"], identity["hidden"], identity["mse_tails_center"]) == (2, [8], 0.80099205)
    assert (identity["norm"], report["arguments"]["reference"]) == ("reference", "memento10k")
    plain = train(data, "--hidden", "8", "--epochs", "2", "--norm", "reference", "--seed", "3", out="p", fast=())
    assert shown(*plain, "--mse-tails-center", "0.80099205")["last"] == report["last"]  # the same, said by flags
    assert "preset" not in json.loads((data / "p/config.json").read_text())["origin"]


def test_how_to_run_is_part_of_a_run_where_it_changes_the_weights(data):
    run(*train(data, "--max-norm", "0.1", "--accumulate", "3", "--save-every", "5"))
    identity = json.loads((data / "run/config.json").read_text())["identity"]
    assert (identity["max_norm"], identity["accumulate"]) == (0.1, 3)
    assert not {"precision", "save_every", "log_every"} & set(identity)
    assert "max_norm=0.1, not" in complaint(*train(data, "--accumulate", "3"))


def test_another_option_of_the_same_run_is_named(data):
    run(*train(data))
    assert "learning_rate=0.01, not 0.02" in complaint(*train(data, "--learning-rate", "0.02"))


def test_raw_features_are_normalized_by_the_training_clips_only(data):
    from safetensors.numpy import load_file

    from egotools.tables.table import read_table

    run(*train(data))
    kept = load_file(data / "run/normalization.safetensors")
    train_rows = read_table(data / "m.csv", [data / "m3s.lmdb"], split="train").values.astype(np.float64)
    np.testing.assert_allclose(kept["mean"], [*train_rows.mean(axis=0), *[0] * 6], rtol=1e-12)
    np.testing.assert_allclose(kept["deviation"], [*train_rows.std(axis=0), *[1] * 6], rtol=1e-12)
    run(*train(data, "--standardize", "csn", out="both"))
    assert (load_file(data / "both/normalization.safetensors")["deviation"][15:] != 1).all()
    run(*train(data, "--norm", "none", out="none"))
    assert (load_file(data / "none/normalization.safetensors")["deviation"] == 1).all()


def test_the_references_constants_can_be_taken(data):
    from safetensors.numpy import load_file

    run(*train(data, "--norm", "reference", "--reference", "videomem"))
    mean, deviation = reference_normalization("videomem")
    kept = load_file(data / "run/normalization.safetensors")
    assert (kept["mean"][:15] == mean).all()
    assert (kept["deviation"][:15] == deviation).all()


def test_cluster_numbers_are_taken_as_one_hots(data):
    report = shown(*train(data, names=("similarity-csn", "csn", "m3s")))
    assert report["features"] == [
        {"name": "m3s", "columns": 15},
        {"name": "csn", "columns": 6},
        {"name": "similarity-csn", "columns": 3},
    ]
    assert shown(*judge(data))["spearman"] > 0.5
    write_cache(data / "similarity-odd.lmdb", IDS, np.full((CLIPS, 1), 7.0), SIMILARITY)
    assert "not indices of 3 clusters" in complaint(*train(data, names=("similarity-odd",), out="odd"))


def test_seeds_give_mean_and_deviation_and_equal_seeds_equal_networks(data):
    report = shown(*train(data, "--seeds", "3"))
    each = [entry["last"]["spearman"] for entry in report["by_network"]]
    assert report["last"]["spearman"] == pytest.approx(np.mean(each))
    assert report["last"]["spearman_deviation_over_seeds"] == pytest.approx(np.std(each))
    lines = [json.loads(line) for line in (data / "run/metrics.jsonl").read_text().splitlines()]
    assert [(line["seed"], line["epoch"]) for line in lines] == [(s, e) for s in range(3) for e in range(1, 9)]
    run(*train(data, "--seed", "1", out="one"))
    models = [path.read_bytes() for path in (data / "run/seed-1/model.safetensors", data / "one/model.safetensors")]
    assert models[0] == models[1]
    assert (data / "run/seed-2/model.safetensors").read_bytes() != models[0]


def test_an_interrupted_training_ends_in_the_same_bits(data, monkeypatch):
    from egotools.training.checkpoint import Checkpoint
    from egotools.training.runs import Run

    options = ["--dropout", "0.3", "--seeds", "2"]
    run(*train(data, *options, out="whole"))
    log, steps = Run.log, []

    def interrupted(self, figures):
        log(self, figures)
        steps.append(figures["step"])
        if len(steps) == 11:  # in the third epoch of the second seed
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write('{"step": ')  # a line that the kill cuts off
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "log", interrupted)
    monkeypatch.setattr(Checkpoint, "save_if_due", Checkpoint.save)
    CliRunner().invoke(root, [str(each) for each in train(data, *options)])
    assert not (data / "run/report.json").exists()
    monkeypatch.undo()
    run(*train(data, *options))
    for name in sorted(files(data / "whole") - {"config.json", "report.json"}):
        if not name.endswith("checkpoint.pt"):  # a zip archive: equal content, other bytes
            assert (data / "run" / name).read_bytes() == (data / "whole" / name).read_bytes(), name


def test_how_a_training_runs_is_recorded_unless_it_is_usual_and_a_change_is_refused(data, monkeypatch):
    run(*train(data, "--log-every", "3"))
    usual = json.loads((data / "run/config.json").read_text())["identity"]
    assert not {"precision", "max_norm", "accumulate", "log_every", "save_every"} & set(usual)  # as in release 0.1
    run(*train(data, "--save-every", "1"))  # the same training
    other = ["--precision", "bf16", "--max-norm", "0.5", "--accumulate", "3"]
    monkeypatch.setattr(how, "has_fast_bf16", lambda _: False)
    assert "--precision bf16: trained in float32" in shown(*train(data, *other[:2], out="slow"))["remarks"][-1]
    monkeypatch.setattr(how, "has_fast_bf16", lambda _: True)
    assert "precision=None, not 'bf16'" in complaint(*train(data, *other[:2]))
    report = shown(*train(data, *other, out="other"))
    found = json.loads((data / "other/config.json").read_text())["identity"]
    assert {name: found[name] for name in set(found) - set(usual)} == {
        "precision": "bf16",
        "max_norm": 0.5,
        "accumulate": 3,
    }
    assert len((data / "other/metrics.jsonl").read_text().splitlines()) == 8  # epochs
    ablation = shown(*judge(data, "--ablation", "--split", "val", out="other"))["ablation"]
    best = next(each for each in ablation if len(each["features"]) == 2)
    assert best["spearman"] == pytest.approx(report["last"]["spearman"], abs=1e-6)  # trained in the same way


def test_batches_that_accumulate_does_not_divide_are_refused_before_anything_is_written(data):
    said = "72 training rows make 9 batches an epoch, which --accumulate 2 does not divide"
    assert said in complaint(*train(data, "--accumulate", "2"))
    assert not (data / "run").exists()


def test_a_training_that_diverges_ends_in_one_line(data):
    said = complaint(*train(data, "--optimizer", "sgd", "--learning-rate", "1e38"))
    assert "the loss is nan at step 9, so training ended" in said
    assert str(data / "run") in said
    assert not (data / "run/report.json").exists()


@pytest.mark.parametrize("method", ["memorability", "probe", "pca"])
def test_several_processes_do_not_train_the_same_twice(data, monkeypatch, method):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = run("train", method, *train(data)[2:], status=2)
    assert f"train {method} trains in one process: start it without torchrun" in result.output
    assert not (data / "run").exists()


def test_scores_can_begin_at_the_training_clips_mean(data):
    still = ["--learning-rate", "1e-12", "--epochs", "1"]
    write_table(data / "m.csv", IDS, {"memorability": np.linspace(0.8, 0.9, CLIPS)}, SPLITS)
    begun = [
        shown(*train(data, *still, *more, out=f"run{len(more)}"))["last"]["mae"] for more in ([], ["--start-at-mean"])
    ]
    assert begun[1] < 0.15 < begun[0]


def test_the_best_epoch_can_be_kept_and_patience_ends_early(data):
    report = shown(*train(data, "--patience", "2", "--epochs", "200", "--keep", "best"))
    assert report["last"]["epoch"] == report["best"]["epoch"] + 2 < 200
    judged = shown(*judge(data, "--split", "val"))
    assert judged["spearman"] == pytest.approx(report["best"]["spearman"], abs=1e-9)


def test_every_optimizer_and_scheduler_trains(data):
    for optimizer in ("adamw", "sgd", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam"):
        run(*train(data, "--optimizer", optimizer, "--epochs", "1", out=optimizer))
    rates = {}
    for scheduler in ("step", "exponential", "cosine", "none"):
        run(*train(data, "--scheduler", scheduler, "--scheduler-step", "2", "--epochs", "4", out=scheduler))
        lines = (data / scheduler / "metrics.jsonl").read_text().splitlines()
        rates[scheduler] = [json.loads(line)["learning_rate"] for line in lines]
    assert rates["step"] == pytest.approx([0.01, 0.01, 0.002, 0.002])
    assert rates["exponential"] == pytest.approx([0.01, 0.002, 0.0004, 0.00008])
    assert rates["cosine"] == pytest.approx([0.01, 0.00853553, 0.005, 0.00146447], rel=1e-5)
    assert rates["none"] == [0.01] * 4


@pytest.mark.parametrize("loss", ["l1", "mse-tails", "spearman", "mse-to-spearman"])
def test_every_loss_learns(data, loss):
    assert shown(*train(data, "--loss", loss, "--spearman-strength", "0.1"))["last"]["spearman"] > 0.5


def test_a_training_can_begin_with_a_published_checkpoint_or_a_run(data):
    run(*train(data))
    run(*train(data, "--init", f"run:{data / 'run'}", "--learning-rate", "1e-12", "--epochs", "1", out="next"))
    assert shown(*judge(data, out="next"))["spearman"] == pytest.approx(shown(*judge(data))["spearman"])
    torch.save(ScoreMLP(20, (8,)).state_dict(), data / "other.tar")
    assert "takes 20 columns; the features have 21: m3s 15, csn 6" in complaint(
        *train(data, "--init", data / "other.tar", out="x")
    )
    assert "no such file" in complaint(*train(data, "--init", data / "none.tar", out="y"))
    assert "--hidden 8, not 512,64" in complaint(*train(data, "--init", data / "other.tar", out="z", fast=()))


def test_folds_judge_each_clip_by_what_did_not_learn_from_it(data):
    write_folds(data / "folds.json", IDS[:20], IDS[20:40], [*IDS[40:], "gone", "lost"])
    options = ["--folds", f"{data / 'folds.json'}:ids", "--seeds", "2"]
    result = run(*train(data, *options))
    assert "note: 2 clips ('gone', 'lost') of 'ids' not among the clips with features: left out" in result.stderr
    assert (data / "run/fold-2/seed-1/model.safetensors").exists()
    report, judged = json.loads((data / "run/report.json").read_text()), shown(*judge(data, "--out", data / "out"))
    assert judged["spearman"] == pytest.approx(report["last"]["spearman"], abs=1e-9)
    assert judged["folds"] == 3
    assert judged["clips"] == CLIPS
    rows = read_csv(data / "out/predictions.csv")
    assert [row["id"] for row in rows] == IDS
    assert {row["id"]: row["fold"] for row in rows}[IDS[25]] == "fold-1"
    by_fold = np.array([[e["spearman"] for e in judged["by_network"] if e["fold"] == f"fold-{n}"] for n in range(3)])
    assert judged["spearman_deviation_over_folds"] == pytest.approx(by_fold.mean(axis=1).std())
    low, high = judged["averaged"]["spearman"]["interval"]
    assert low < judged["averaged"]["spearman"]["value"] < high


@pytest.mark.parametrize(
    ("key", "said"),
    [("none", "has no 'none'"), ("one", "no list of two or more"), ("text", "no list of two or more")],
)
def test_a_fold_file_that_lists_none_is_refused(data, key, said):
    write_folds(data / "folds.json", IDS[:20], IDS[20:])
    assert said in complaint(*train(data, "--folds", f"{data / 'folds.json'}:{key}"))


def test_a_fold_of_absent_clips_is_refused_and_so_is_a_file_without_key(data):
    write_folds(data / "folds.json", IDS[:20], ["gone"])
    assert "of fold 1 of 'ids' 0 clips have features" in complaint(
        *train(data, "--folds", f"{data / 'folds.json'}:ids")
    )
    assert "FILE.json:KEY" in run(*train(data, "--folds", "folds"), status=2).output
    assert "not readable as JSON" in complaint(*train(data, "--folds", f"{data / 'm.csv'}:ids"))


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({3: "1.2"}, r"clip 'clip/3': its memorability 1.2 is no score from 0 to 1"),
        ({3: "nan"}, "is no score from 0 to 1"),
        ({3: "high"}, "'high' is not a number"),
        ({3: "", 80: ""}, "1 clip ('clip/3') in the split 'train' have no memorability"),
        ({80: ""}, "1 clip ('clip/80') in the split 'val' have no memorability"),
    ],
)
def test_scores_that_cannot_be_learned_are_named(data, scores, said):
    values = [scores.get(row, "0.5") for row in range(CLIPS)]
    write_table(data / "m.csv", IDS, {"memorability": values}, SPLITS)
    assert said in complaint(*train(data))


def test_missing_scores_of_test_clips_are_no_matter(data, rng):
    values = [f"{value:.3f}" if row < 96 else "" for row, value in enumerate(rng.random(CLIPS))]
    write_table(data / "m.csv", IDS, {"memorability": values}, SPLITS)
    run(*train(data))
    assert "val clips" in shown(*judge(data))["protocol"]


def test_features_that_say_nothing_are_named(data, rng):
    write_cache(data / "flat.lmdb", IDS, np.full((CLIPS, 4), 0.1))
    assert "all 4 columns are the same for all 72 training clips" in complaint(*train(data, names=("csn", "flat")))
    values = rng.normal(size=(CLIPS, 4))
    values[:, 2] = 0.1
    write_cache(data / "half.lmdb", IDS, values)
    result = run(*train(data, "--standardize", "half", names=("csn", "half")))
    assert "note: 1 of 4 columns of half are constant over the training clips" in result.stderr


def test_other_bad_input_is_one_line(data, rng):
    values = rng.normal(size=(CLIPS, 4))
    values[5, 1] = np.nan
    write_cache(data / "broken.lmdb", IDS, values)
    assert "1 clip with NaN or infinite features: 'clip/5'" in complaint(*train(data, names=("csn", "broken")))
    assert "no column 'none'" in complaint(*train(data, "--target", "none"))
    assert "--standardize none: no such features; there are m3s, csn" in complaint(
        *train(data, "--standardize", "none")
    )
    write_cache(data / "more/csn.lmdb", IDS, rng.normal(size=(CLIPS, 4)))
    line = train(data, "--features", data / "more/csn.lmdb")
    assert "two caches are named csn" in complaint(*line)
    assert "leave one clip alone" in complaint(*train(data, "--loss", "spearman", "--batch-size", "71"))
    assert "no such cache" in complaint(*train(data, names=("gone",)))


def test_missing_clips_are_counted_and_named(data, rng):
    write_cache(data / "few.lmdb", IDS[2:], rng.normal(size=(CLIPS - 2, 4)))
    assert "2 clips missing in" in (stderr := run(*train(data, names=("csn", "few"))).stderr)
    assert "'clip/0', 'clip/1'" in stderr


def test_a_manifest_without_splits_asks_for_folds(data):
    write_table(data / "m.csv", IDS, {"memorability": [0.5] * CLIPS})
    assert "in the split 'train' (the manifest has none)" in complaint(*train(data))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dropout", "1"], "--dropout must be from 0"),
        (["--epochs", "0"], "--epochs must be above 0"),
        (["--hidden", "8,0"], "--hidden must be widths"),
        (["--loss", "spearman", "--batch-size", "1"], "--batch-size must be 2 or more"),
        (["--patience", "0"], "--patience must be above 0"),
        (["--weight-decay", "-1"], "--weight-decay must be 0 or above"),
        (["--loss", "mean"], "'mean' is not one of"),
    ],
)
def test_wrong_options_of_a_training_are_wrong_usage(data, options, said):
    assert said in run(*train(data, *options, fast=()), status=2).output


@pytest.mark.slow
def test_on_real_scores_a_linear_model_and_the_regularized_network_find_the_signal(shared, tmp_path):
    data = shared / "data/memorability"
    table = data / "trecvid2020_train.npz"
    manifest, cache = tmp_path / "t.csv", tmp_path / "c3d.lmdb"
    run("manifest", "table", table, "--id", "video_id", "--out", manifest)
    run("cache", "import", table, "--id", "video_id", "--values", "c3d_resnet18_512", "--out", cache)
    line = ["--manifest", manifest, "--features", cache, "--target", "short_term"]
    folds = ["--folds", f"{data / 'trecvid2020_6folds.json'}:contiguous_eval_ids"]
    assert shown("eval", "memorability", *line, *folds, "--baseline", "ridge", "--draws", "10")["spearman"] >= 0.22
    regularized = ["--dropout", "0.5", "--optimizer", "adamw", "--weight-decay", "1", "--learning-rate", "1e-4"]
    options = ["--standardize", "c3d", *regularized, "--start-at-mean", "--out", tmp_path / "run"]
    result = run("train", "memorability", *line, *folds, *options, "--json")
    assert json.loads(result.stdout)["last"]["spearman"] >= 0.15
    assert "note: 2 clips ('949', '5211') of 'contiguous_eval_ids'" in result.stderr
