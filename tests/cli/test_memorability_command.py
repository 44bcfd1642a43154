"""`egotools train|eval|predict memorability` on files, as users type them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import write_video
from egotools.cli.main import root
from tabled import write_cache, write_table

from egotools.methods.memorability.reference import reference_normalization
from egotools.nn.mlp import ScoreMLP
from egotools.stores import Recipe

CLIPS = 120
IDS = [f"clip/{number}" for number in range(CLIPS)]
SPLITS = ["train"] * 72 + ["val"] * 24 + ["test"] * 24
RAW = {"extractor": "m3s", "options": {"deviations": False}}
SIMILARITY = Recipe({"derivation": "similarity"}, {"learned": {"classes": 3}})
FAST = ["--hidden", "8", "--epochs", "8", "--batch-size", "8", "--learning-rate", "0.01"]


def run(*arguments, status=0):
    result = CliRunner().invoke(root, [str(each) for each in arguments], catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit) and status != 1:
        raise result.exception
    assert status == 1 or result.exit_code == status, result.output
    return result


def shown(*arguments):
    """The JSON that a command prints."""
    return json.loads(run(*arguments, "--json").stdout)


def complaint(*arguments):
    """The one line of an error."""
    result = run(*arguments, status=1)
    assert result.exception is not None
    text = str(result.exception)
    assert "\n" not in text
    return text


@pytest.fixture
def data(tmp_path, rng):
    """A manifest and caches: the score follows from the first column of csn and, less, of m3s."""
    csn, raw = rng.normal(size=(CLIPS, 6)), 1000 + 50 * rng.normal(size=(CLIPS, 15))
    score = 1 / (1 + np.exp(-2 * csn[:, 0] - 0.01 * (raw[:, 0] - 1000)))
    write_table(tmp_path / "m.csv", IDS, {"memorability": score.round(4), "other": rng.random(CLIPS)}, SPLITS)
    write_cache(tmp_path / "csn.lmdb", IDS, csn)
    write_cache(tmp_path / "m3s.lmdb", IDS, raw, Recipe(RAW))
    write_cache(tmp_path / "similarity-csn.lmdb", IDS, (np.arange(CLIPS) % 4 - 1)[:, None], SIMILARITY)
    return tmp_path


def caches(data, *names):
    return [part for name in names for part in ("--features", data / f"{name}.lmdb")]


def train(data, *options, names=("csn", "m3s"), out="run", fast=FAST):
    return [
        "train",
        "memorability",
        "--manifest",
        data / "m.csv",
        *caches(data, *names),
        *fast,
        *options,
        "--out",
        data / out,
    ]


def judge(data, *options, out="run"):
    return ["eval", "memorability", "--run", data / out, "--manifest", data / "m.csv", "--draws", "20", *options]


def read_csv(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


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
    assert "no numbers of 3 clusters" in complaint(*train(data, names=("similarity-odd",), out="odd"))


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


def test_how_a_training_runs_is_recorded_unless_it_is_usual_and_a_change_is_refused(data):
    run(*train(data, "--log-every", "3"))
    usual = json.loads((data / "run/config.json").read_text())["identity"]
    assert not {"precision", "max_norm", "accumulate", "log_every", "save_every"} & set(usual)  # as in release 0.1
    run(*train(data, "--save-every", "1"))  # the same training
    other = ["--precision", "bf16", "--max-norm", "0.5", "--accumulate", "3"]
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
    said = "72 training clips make 9 batches an epoch, which --accumulate 2 does not divide"
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


def write_folds(path, *folds):
    path.write_text(json.dumps({"ids": folds, "one": [[]], "text": 3}))


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


def test_evaluation_writes_report_predictions_and_scatter(data):
    run(*train(data, "--seeds", "2"))
    content = shown(*judge(data, "--out", data / "out"))
    assert files(data / "out") == {"predictions.csv", "report.json", "scatter.png"}
    assert any("names no files" in remark for remark in content["remarks"])
    assert content["clips"] == 24  # of test, which has scores
    rows = read_csv(data / "out/predictions.csv")
    assert [row["id"] for row in rows] == IDS[96:]
    assert shown(*judge(data, "--split", "val"))["protocol"] == "24 val clips judged by a trained run"
    assert "a memorability in the split 'none'; there are: test, train, val" in complaint(
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
    assert "--features says" in complaint(*plain)


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
    assert "two caches are called csn" in complaint(*line)
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
        (["--dropout", "1"], "--dropout is a share"),
        (["--epochs", "0"], "--epochs is above 0"),
        (["--hidden", "8,0"], "--hidden are widths"),
        (["--loss", "spearman", "--batch-size", "1"], "--batch-size 2 at least"),
        (["--patience", "0"], "--patience is above 0"),
        (["--weight-decay", "-1"], "--weight-decay is 0 or above"),
        (["--loss", "mean"], "'mean' is not one of"),
    ],
)
def test_wrong_options_of_a_training_are_wrong_usage(data, options, said):
    assert said in run(*train(data, *options, fast=()), status=2).output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--run says which"),
        (["--weights", "w.tar", "--run", "r"], "--weights stands alone"),
        (["--ablation", "--baseline", "ridge"], "it needs --run"),
        (["--run", "r", "--draws", "0"], "--draws is above 0"),
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


def test_imported_features_cannot_be_computed_for_new_videos(data, tiny_video):
    run(*train(data))
    line = ["predict", "memorability", "--run", data / "run", tiny_video]
    assert "were imported: they cannot be computed" in complaint(*line) or "cannot be made again" in complaint(*line)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on real caches of small videos, made as the issue's lines make them, of extractors that take no time."""
    folder = tmp_path_factory.mktemp("trained")
    for number in range(24):
        write_video(
            folder / f"videos/{number:02d}.mp4" if (folder / "videos").mkdir(exist_ok=True) is None else folder,
            6,
            first=3 * number,
        )
    manifest = folder / "m.csv"
    run("manifest", "folder", folder / "videos", "--out", manifest)
    rows = read_csv(manifest)
    for number, row in enumerate(rows):
        row |= {"split": "train" if number % 4 else "val", "memorability": str(round(0.2 + number / 40, 3))}
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    out = folder / "caches"
    only = "brightness,contrast,size_orig"
    run("extract", "--manifest", manifest, "--out", out, "m3s", "--only", only, "--frames", "3", "color", "--fps", "10")
    run("derive", "similarity", "--features", out / "color.lmdb", "--manifest", manifest, "--eps", "40", "--out", out)
    run(
        "derive", "pool", "--features", out / "color.lmdb", "--statistics", "mean,max", "--name", "pooled", "--out", out
    )
    names = ("m3s", "color", "similarity-color", "pooled")
    run(*train(folder, "--seeds", "2", names=[f"caches/{name}" for name in names]))
    return folder


def test_predictions_of_videos_are_those_of_their_cached_features(trained, tmp_path):
    run(*judge(trained, "--split", "val", "--out", tmp_path / "out"))
    assert (tmp_path / "out/extremes.png").stat().st_size > 5000
    rows = {row["id"]: row for row in read_csv(tmp_path / "out/predictions.csv")}
    videos = [trained / f"videos/{number:02d}.mp4" for number in (20, 0, 4)]
    found = shown("predict", "memorability", "--run", trained / "run", *videos)
    assert [Path(each["path"]) for each in found] == videos
    for each in found:
        cached = rows[next(id for id in rows if Path(each["path"]).stem in id)]
        assert each["score"] == pytest.approx(float(cached["predicted"]), abs=1e-4)
        assert each["deviation"] == pytest.approx(float(cached["deviation"]), abs=1e-4)


def test_a_run_predicts_without_the_caches_it_was_trained_on(trained, tmp_path):
    video = trained / "videos/08.mp4"
    before = shown("predict", "memorability", "--run", trained / "run", video)
    (trained / "caches").rename(tmp_path / "elsewhere")
    try:
        assert shown("predict", "memorability", "--run", trained / "run", video) == before
    finally:
        (tmp_path / "elsewhere").rename(trained / "caches")


def test_a_video_that_cannot_be_read_is_named_and_the_others_are_scored(trained, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    line = ["predict", "memorability", "--run", trained / "run", trained / "videos/00.mp4", tmp_path / "broken.mp4"]
    result = CliRunner().invoke(root, [str(each) for each in line])
    assert result.exit_code == 1
    assert "00.mp4" in result.stdout.replace("\n", "")
    assert f"failed: {tmp_path / 'broken.mp4'}" in result.stderr


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


def test_code_that_a_cache_or_a_run_names_is_not_run_unless_it_is_trusted(data, tiny_video):
    own, ran = data / "own.py", data / "ran"
    own.write_text(f"open({str(ran)!r}, 'w').close()\n")
    origin = {"extractor": f"{own}:Own", "weights": str(data / "w.npz")}
    values = np.arange(CLIPS * 2.0).reshape(CLIPS, 2) % 7
    write_cache(data / "own.lmdb", IDS, values, Recipe({"extractor": "own", "options": {}}, origin))
    run(*train(data, names=("own",)))
    assert not ran.exists()
    predict = ["predict", "memorability", "--run", data / "run", tiny_video]
    assert f"--trust {own}" in complaint(*predict)
    assert not ran.exists()
    complaint(*predict, "--trust", own)
    assert ran.exists()
