"""A folder of results has one writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from tabled import write_cache, write_table

from egotools.errors import EgotoolsError, OutputError, RunError, StoreError
from egotools.stores import Recipe
from egotools.training.runs import Run, once, one_writer, results_in

IDS = [f"clip/{number}" for number in range(24)]
HOLDS = """
import sys, time
from pathlib import Path
from egotools.training.runs import one_writer
with one_writer(Path(sys.argv[1])):
    print("here", flush=True)
    time.sleep(60)
"""


def invoke(*line: object) -> Result:
    return CliRunner().invoke(root, [str(part) for part in line])


def error_of(result: Result) -> str:
    assert isinstance(result.exception, EgotoolsError), result.output
    return str(result.exception)


@pytest.fixture
def place(tmp_path: Path, rng: np.random.Generator) -> Path:
    labels = {"label": ["a", "b"] * 12, "memorability": rng.random(24).round(3)}
    write_table(tmp_path / "m.csv", IDS, labels, ["train"] * 16 + ["val"] * 8)
    values = rng.normal(size=(24, 5))
    values[::2, 0] += 9
    write_cache(tmp_path / "x.lmdb", IDS, values, Recipe({"extractor": "toy"}))
    return tmp_path


def lines(place: Path) -> dict[str, list[Any]]:
    """Every command that writes results into a folder."""
    joined = ["--features", place / "x.lmdb", "--manifest", place / "m.csv"]
    return {
        "train probe": ["train", "probe", *joined, "--label", "label", "--c", "1", "--test-split", "val"],
        "train pca": ["train", "pca", *joined, "--components", "2"],
        "train memorability": ["train", "memorability", *joined, "--hidden", "4", "--epochs", "1"],
        "eval knn": ["eval", "knn", *joined, "--label", "label", "--k", "1"],
        "eval probe": ["eval", "probe", *joined, "--label", "label", "--c", "1"],
        "eval memorability": ["eval", "memorability", *joined, "--baseline", "ridge", "--draws", "5"],
    }


@pytest.mark.parametrize("command", lines(Path()))
def test_a_folder_that_is_being_written_is_refused_by_name_and_free_afterwards(place: Path, command: str) -> None:
    line = [*lines(place)[command], "--out", place / "r"]
    with one_writer(place / "r"):
        said = error_of(invoke(*line))
        assert said == f"{place}/r is being written by another process (process {os.getpid()}); wait for it to finish"
        assert [path.name for path in (place / "r").iterdir()] == [".writer"]
    result = invoke(*line)
    assert result.exit_code == 0, result.output
    assert ".writer" not in {path.name for path in (place / "r").iterdir()}


def test_the_demo_has_its_folder_for_itself(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    with one_writer(tmp_path / "out"):
        assert "is being written by another process" in error_of(
            invoke("demo", tmp_path / "videos", "--out", tmp_path / "out")
        )


@pytest.mark.parametrize("command", lines(Path()))
def test_a_mistake_leaves_no_folder(place: Path, command: str) -> None:
    line = lines(place)[command]
    line[line.index("--manifest") + 1] = place / "none.csv"
    error_of(invoke(*line, "--out", place / "deep" / "r"))
    assert not (place / "deep").exists()


@pytest.mark.parametrize("command", ["eval knn", "eval probe", "eval memorability"])
def test_no_evaluation_replaces_the_report_of_a_run(place: Path, command: str) -> None:
    Run.begin(place / "r", Recipe({"method": "probe"}))
    assert "holds a run, whose report this would replace" in error_of(
        invoke(*lines(place)[command], "--out", place / "r")
    )
    assert [path.name for path in (place / "r").iterdir()] == ["config.json"]


def test_a_killed_writer_keeps_nobody_out(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path / "r")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    with pytest.raises(StoreError, match=f"process {process.pid}"), one_writer(tmp_path / "r"):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / "r" / ".writer").exists()
    assert Run.begin(tmp_path / "r", Recipe({"method": "x"})).path == tmp_path / "r"  # that file is nobody's work
    with one_writer(tmp_path / "r"):
        pass


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "precious").write_text("mine")
    for name in (".writer", "metrics.jsonl"):
        (tmp_path / "r" / name).symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match="is a symbolic link, not a lock file"), one_writer(tmp_path / "r"):
        pass
    with pytest.raises(OutputError, match=r"metrics\.jsonl cannot be written"):
        Run(tmp_path / "r", Recipe({})).log({"step": 1})
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_run_that_is_done_needs_no_lock(tmp_path: Path) -> None:
    recipe = Recipe({"method": "x"})
    Run.begin(tmp_path / "r", recipe).write("report.json", '{"accuracy": 1}')
    with one_writer(tmp_path / "r"):
        assert once(tmp_path / "r", recipe, dict) == ({"accuracy": 1}, False)
    with pytest.raises(RunError, match="holds a run with method='x', not 'y'"):
        once(tmp_path / "r", Recipe({"method": "y"}), dict)


def test_without_a_folder_nothing_is_locked() -> None:
    with results_in(None):
        pass
