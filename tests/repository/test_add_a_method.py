"""The method that docs/add-a-method.md shows works as it stands, once it is built in."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import write_video
from shown_files import build_in, shown_files
from typing_commands import typed

from egotools.tables import read_table

PAGE = Path(__file__).parents[2] / "docs/add-a-method.md"
LINES = re.findall(r"^egotools (.*)$", PAGE.read_text(), re.MULTILINE)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder in which somebody has built the method in and typed the first commands of the page."""
    monkeypatch.chdir(tmp_path)
    build_in(PAGE, tmp_path, monkeypatch)
    Path("videos").mkdir()
    write_video(Path("videos/tiny.mp4"))
    for line in LINES[:2]:
        assert typed(monkeypatch, *shlex.split(line)) == 0
    return tmp_path


def best_loss(rows: np.ndarray, size: int) -> float:
    """What a linear autoencoder can reach: what the first principal components leave of standardized rows."""
    varying = rows[:, rows.std(0) > 1e-6 * np.abs(rows.mean(0))]
    singular = np.linalg.svd((varying - varying.mean(0)) / varying.std(0), compute_uv=False)
    return float(np.square(singular[size:]).sum() / rows.size)


def test_every_python_block_of_the_page_is_a_file():
    assert list(shown_files(PAGE)) == [
        *("egotools/methods/autoencoder.py", "cli/methods/autoencoder.py", "cli/methods/__init__.py"),
    ]
    assert PAGE.read_text().count("```python") == 3
    assert len(LINES) == 3


@pytest.mark.integration
@pytest.mark.usefixtures("reader")
def test_the_method_learns_what_there_is_to_learn_and_is_done_once(monkeypatch, capfd):
    words = [*shlex.split(LINES[2]), "--epochs", "1000"]
    assert typed(monkeypatch, *words) == 0
    report = json.loads(Path("runs/a/report.json").read_text())
    table = read_table("m.csv", ["caches/mine/color.lmdb"], reduce=None)
    best = best_loss(table.values.astype(np.float64), 2)
    assert best * (1 - 1e-4) < report["loss"] < best * 1.1
    assert {path.name for path in Path("runs/a").iterdir()} >= set(re.findall(r"`(\w+\.\w+)`", kept_files()))
    capfd.readouterr()
    assert typed(monkeypatch, *words) == 0
    assert "nothing to do" in capfd.readouterr().err
    assert typed(monkeypatch, *words, "--size", "3") == 1
    assert "size=2, not 3" in capfd.readouterr().err
    assert typed(monkeypatch, *words, "--size", "0") == 2


def kept_files() -> str:
    """The page's line about what a run has."""
    return next(line for line in PAGE.read_text().splitlines() if line.startswith("The run has "))
