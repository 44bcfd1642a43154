"""Runs that release 0.1.0 wrote are complete, resumed and evaluated as then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from egotools.cli.main import root

RELEASE = Path(__file__).parents[1] / "data" / "release"
GIVEN = ["--features", RELEASE / "caches" / "color.lmdb", "--manifest", RELEASE / "m.csv"]
LINES = {
    "pca": ["--split", "train", "--components", "3", "--whiten"],
    "probe": ["--label", "label", "--c", "1", "--seeds", "1"],
    "memorability": ["--hidden", "4", "--epochs", "2", "--standardize", "color"],
}


def run(*line: object) -> Any:
    result = CliRunner().invoke(root, [*map(str, line), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A copy of them, which may be changed."""
    shutil.copytree(RELEASE / "runs", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.mark.parametrize("method", LINES)
def test_the_same_line_finds_the_run_complete(runs: Path, method: str) -> None:
    before = {path: path.read_bytes() for path in (runs / method).rglob("*")}
    found = run("train", method, *GIVEN, *LINES[method], "--out", runs / method)
    assert found == json.loads((RELEASE / "runs" / method / "report.json").read_text())
    assert {path: path.read_bytes() for path in (runs / method).rglob("*")} == before


def test_an_interrupted_training_is_resumed_from_its_checkpoint(runs: Path) -> None:
    place = runs / "memorability"
    expected = json.loads((place / "report.json").read_text())
    for name in ("report.json", "model.safetensors", "features.json"):
        (place / name).unlink()
    found = run("train", "memorability", *GIVEN, *LINES["memorability"], "--out", place)
    for name in ("last", "best", "by_network", "features", "arguments"):
        assert found[name] == expected[name], name
    for name in ("model.safetensors", "metrics.jsonl", "learned.json"):
        assert (place / name).read_bytes() == (RELEASE / "runs/memorability" / name).read_bytes()


def test_it_is_evaluated_as_it_was(runs: Path) -> None:
    expected = json.loads((runs / "memorability/report.json").read_text())["last"]
    found = run("eval", "memorability", "--run", runs / "memorability", *GIVEN, "--draws", "3")
    for name in ("spearman", "mse", "mae"):
        assert found[name] == pytest.approx(expected[name], rel=1e-5)  # float32 scores, normalized in float64
