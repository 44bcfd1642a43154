"""Figures that there are none of are null, with the reason: JSON has no NaN."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root
from tabled import write_cache, write_table

from egotools.config import digest, finite, to_json
from egotools.stores import Recipe, open_store
from egotools.stores.store import check_same_recipe
from egotools.training.runs import Run

IDS = [f"c{number:02}" for number in range(40)]
SPLITS = [("test", "val", "train", "train")[number % 4] for number in range(40)]
QUICK = ["--epochs", "2", "--hidden", "4"]


def strict(text: str) -> Any:
    """The value of JSON as other programs read it."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def write(place: Path, scores: Any, rng: np.random.Generator) -> list[str]:
    """A manifest and a cache, and the options that name them."""
    manifest = write_table(place / "m.csv", IDS, {"score": list(scores)}, SPLITS)
    cache = write_cache(place / "f.lmdb", IDS, rng.normal(size=(40, 5)))
    return ["--features", str(cache), "--manifest", str(manifest), "--target", "score"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(root, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_numbers_that_are_not_finite_are_null_and_others_as_they_were() -> None:
    value = {
        "a": [math.nan, math.inf, -math.inf, 0.1],
        "b": np.array([np.nan, 1]),
        "c": np.float32(np.inf),
        "d": (1, "x"),
    }
    assert strict(to_json(value)) == {"a": [None, None, None, 0.1], "b": [None, 1.0], "c": None, "d": [1, "x"]}
    assert finite({"a": 1, "b": "NaN", "c": True}) == {"a": 1, "b": "NaN", "c": True}
    assert json.loads(to_json({"a": math.inf}, exact=True)) == {"a": math.inf}


def test_identities_keep_the_digests_that_they_had() -> None:
    assert digest({"b": 0.1, "a": [1, None, "x"]}) == "c1ce20516479151f"
    assert digest({"a": math.inf}) != digest({"a": None})


def test_a_recipe_with_an_infinite_option_is_still_the_same(tmp_path: Path) -> None:
    recipe = Recipe({"extractor": "mine.py:Mine", "options": {"most": math.inf}})
    write_cache(tmp_path / "f.lmdb", ["a"], np.ones((1, 2)), recipe)
    there = open_store(tmp_path / "f.lmdb").recipe
    assert there.identity["options"] == {"most": math.inf}
    check_same_recipe(tmp_path / "f.lmdb", there, recipe)
    assert Run.begin(tmp_path / "run", recipe).path == Run.begin(tmp_path / "run", recipe).path
    strict((tmp_path / "run/config.json").read_text())
    info = CliRunner().invoke(root, ["cache", "info", str(tmp_path / "f.lmdb"), "--json"])
    assert strict(info.stdout)["identity"]["options"] == {"most": None}


@pytest.mark.parametrize("judge", [("--baseline", "ridge"), ("--baseline", "svr")])
def test_scores_that_are_all_the_same_have_no_correlation(
    tmp_path: Path, rng: np.random.Generator, judge: tuple[str, str]
) -> None:
    line = ["eval", "memorability", *write(tmp_path, [0.5] * 40, rng), *judge, "--draws", "5"]
    report = strict(run(*line, "--json", "--out", str(tmp_path / "out")))
    kept = strict((tmp_path / "out/report.json").read_text())
    assert {**kept, "remarks": report["remarks"]} == report
    assert [report[name] for name in ("spearman", "pearson", "kendall", "r2")] == [None] * 4
    assert report["averaged"]["spearman"] == {"value": None, "interval": [None, None]}
    assert report["mse"] == pytest.approx(0, abs=1e-6)
    said = "all scores are the same, so there is no rank correlation: spearman, pearson, kendall and r2 are null"
    assert said in report["remarks"]
    table = run(*line)
    assert "nan" not in table.lower()
    assert "-" in next(each for each in table.splitlines() if "spearman" in each)


def test_a_training_on_such_scores_keeps_files_that_other_programs_read(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    line = ["train", "memorability", *write(tmp_path, [0.5] * 40, rng), *QUICK, "--out", str(tmp_path / "run")]
    report = strict(run(*line, "--json"))
    assert report["last"]["spearman"] is None
    assert any("all scores are the same" in remark for remark in report["remarks"])
    for path in (tmp_path / "run").rglob("*.json*"):
        for text in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            strict(text)
    assert "spearman" in run(*line)  # the report that is there already, as a table
    judged = strict(run("eval", "memorability", "--run", str(tmp_path / "run"), *line[4:6], "--draws", "3", "--json"))
    assert judged["spearman"] is None


def test_a_fold_of_equal_scores_is_counted(tmp_path: Path, rng: np.random.Generator) -> None:
    scores = np.where(np.arange(40) < 10, 0.5, rng.uniform(0.1, 0.9, 40))
    (tmp_path / "folds.json").write_text(json.dumps({"ids": [IDS[:10], IDS[10:25], IDS[25:]]}))
    line = [*write(tmp_path, scores, rng), "--folds", f"{tmp_path / 'folds.json'}:ids", "--baseline", "ridge"]
    report = strict(run("eval", "memorability", *line, "--draws", "3", "--json"))
    assert report["by_network"][0]["spearman"] is None
    assert report["by_network"][1]["spearman"] is not None
    assert any(remark.startswith("all scores of 1 of 3 networks are the same") for remark in report["remarks"])


def test_a_score_of_0_gives_no_infinity(tmp_path: Path, rng: np.random.Generator) -> None:
    scores = np.concatenate([[0.5, 0.0], rng.uniform(0.3, 0.7, 38)])
    line = [*write(tmp_path, scores, rng), "--baseline", "ridge", "--draws", "3", "--json"]
    report = strict(run("eval", "memorability", *line))
    assert report["kl"] is None
    assert report["js"] is not None
    assert any("score of 0" in remark for remark in report["remarks"])


def test_predictions_that_are_all_the_same_have_no_correlation(tmp_path: Path, rng: np.random.Generator) -> None:
    manifest_line = write(tmp_path, rng.uniform(0.2, 0.8, 40), rng)
    flat = np.repeat(rng.normal(size=(1, 5)), 40, axis=0)
    flat[[number for number in range(40) if SPLITS[number] == "train"]] += rng.normal(size=(20, 5))
    cache = write_cache(tmp_path / "flat.lmdb", IDS, flat)
    line = ["--features", str(cache), *manifest_line[2:], "--baseline", "ridge", "--draws", "3", "--json"]
    report = strict(run("eval", "memorability", *line))
    assert (report["spearman"], report["kendall"]) == (None, None)
    assert any("all predictions are the same" in remark for remark in report["remarks"])


def test_reports_that_hold_nan_are_read_as_before(tmp_path: Path) -> None:
    made = Run.begin(tmp_path / "run", Recipe({"method": "x"}))
    made.write("report.json", '{"spearman": NaN, "kl": Infinity, "mse": 0.5}')
    made.write("metrics.jsonl", '{"step": 1, "val_spearman": NaN}\n')
    assert made.report() == {"spearman": None, "kl": None, "mse": 0.5}
    assert math.isnan(made.metrics()[0]["val_spearman"])


def test_the_metrics_of_a_probe_are_json(tmp_path: Path, rng: np.random.Generator) -> None:
    line = write(tmp_path, [f"{number % 2}" for number in range(40)], rng)
    more = ["--label", "score", "--seeds", "1", "--c", "0.1", "--out", str(tmp_path / "run")]
    run("train", "probe", *line[:4], *more)
    for text in (tmp_path / "run/metrics.jsonl").read_text().splitlines():
        strict(text)
