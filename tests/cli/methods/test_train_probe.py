from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from safetensors.numpy import load_file

from egotools.errors import EgotoolsError, OutputError, RunError
from egotools.files.disk import write_whole
from egotools.stores import Recipe, Source, open_writer
from egotools.training.runs import Run
from egotools.types import Rows

LABELS = ["cat", "dog"] * 10


def write_cache(path: Path, rng: np.random.Generator, *, width: int = 4, clips: int = 20) -> Path:
    with open_writer(path, Recipe({"extractor": "toy", "width": width})) as writer:
        for number in range(clips):
            values = rng.normal(size=(1, width)).astype(np.float32)
            values[0, 0] += 10 * (number % 2)
            writer.append(f"clip{number:02}", Rows(values, np.array([[0.0, 1.0]])))
            writer.finish(f"clip{number:02}", Source(""))
        writer.commit()
    return path


@pytest.fixture
def place(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder with a manifest m.csv and the cache x.lmdb of features that show the label."""
    rows = [f"clip{number:02},,{label}" for number, label in enumerate(LABELS)]
    (tmp_path / "m.csv").write_text("\n".join(["id,path,animal", *rows]) + "\n")
    write_cache(tmp_path / "x.lmdb", rng)
    return tmp_path


def train(place: Path, *arguments: str, features: str = "x.lmdb") -> Result:
    line = ["train", "probe", "--manifest", str(place / "m.csv"), "--features", str(place / features)]
    return CliRunner().invoke(root, [*line, "--label", "animal", "--out", str(place / "p"), *arguments])


def apply(place: Path, *arguments: str, features: str = "x.lmdb") -> Result:
    line = ["eval", "probe", "--manifest", str(place / "m.csv"), "--features", str(place / features)]
    return CliRunner().invoke(root, [*line, "--run", str(place / "p"), *arguments])


def error_of(result: Result) -> str:
    assert isinstance(result.exception, EgotoolsError), result.output
    return str(result.exception)


def test_a_run_holds_all_that_is_needed_to_use_and_to_trust_it(place: Path) -> None:
    result = train(place, "--seeds", "2")
    assert result.exit_code == 0, result.output
    names = {path.name for path in (place / "p").iterdir()}
    assert names == {
        "config.json", "metrics.jsonl", "report.json", "probe.safetensors", "predictions.csv", "confusion.png",
        "learned.json", "features.json",
    }  # fmt: skip
    report = json.loads((place / "p" / "report.json").read_text())
    assert report["accuracy"] == 1.0
    assert report["versions"]["torch"]
    assert report["arguments"]["seeds"] == 2
    lines = (place / "p" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["accuracy"] for line in lines] == [1.0, 1.0]
    tensors = load_file(place / "p" / "probe.safetensors")
    assert tensors["weight"].shape == (2, 4)
    assert set(tensors) == {"weight", "bias", "mean", "deviation"}


def test_the_same_line_again_has_nothing_to_do(place: Path) -> None:
    first = train(place, "--json")
    written = {path: path.stat().st_mtime_ns for path in (place / "p").iterdir()}
    again = train(place, "--json")
    assert "nothing to do" in again.stderr
    assert again.stdout == first.stdout
    assert written == {path: path.stat().st_mtime_ns for path in (place / "p").iterdir()}


def test_other_options_or_other_features_in_the_same_place_are_refused_by_name(
    place: Path, rng: np.random.Generator
) -> None:
    train(place)
    assert "seeds=3, not 5" in error_of(train(place, "--seeds", "5"))
    write_cache(place / "y.lmdb", rng, width=5)
    assert "features.1.width=4, not 5" in error_of(train(place, features="y.lmdb"))
    with (place / "m.csv").open("a") as manifest:
        manifest.write("clip99,,cat\n")
    assert "manifest=" in error_of(train(place))


def test_a_folder_of_other_files_is_refused(place: Path) -> None:
    (place / "p").mkdir()
    (place / "p" / "notes.txt").write_text("mine")
    assert "holds no run" in error_of(train(place))
    assert [path.name for path in (place / "p").iterdir()] == ["notes.txt"]


def test_a_mistake_leaves_no_run_behind(place: Path) -> None:
    result = train(place, "--label", "verb")
    assert "no column 'verb'" in error_of(result)
    assert not (place / "p").exists()


def test_an_interrupted_run_is_made_again(place: Path) -> None:
    train(place)
    (place / "p" / "report.json").unlink()
    assert train(place).exit_code == 0
    assert (place / "p" / "report.json").exists()


def test_a_saved_probe_applies_to_other_features(place: Path, rng: np.random.Generator) -> None:
    train(place)
    write_cache(place / "fresh.lmdb", rng)
    result = apply(place, "--json", "--all-rows", "--out", str(place / "applied"), features="fresh.lmdb")
    report = json.loads(result.stdout)
    assert report["accuracy"] == 1.0
    assert report["rows"] == 20
    rows = list(csv.DictReader((place / "applied" / "predictions.csv").read_text().splitlines()))
    assert [row["predicted"] for row in rows] == LABELS


def test_features_of_another_width_are_refused(place: Path, rng: np.random.Generator) -> None:
    train(place)
    write_cache(place / "wide.lmdb", rng, width=7)
    assert "fitted on 4 features a row, these have 7" in error_of(apply(place, features="wide.lmdb"))


def test_what_is_no_run_is_refused(place: Path) -> None:
    assert "is no run: it has no config.json" in error_of(apply(place))
    Run.begin(place / "p", Recipe({"method": "other"}))
    assert "not a run of 'egotools train probe'" in error_of(apply(place))
    (place / "p" / "config.json").write_text("{")
    assert "cannot be read" in error_of(apply(place))


def test_a_report_that_is_not_there_says_the_run_is_not_done(tmp_path: Path) -> None:
    run = Run.begin(tmp_path / "r", Recipe({"method": "x"}))
    with pytest.raises(RunError, match="is not done"):
        run.report()


def test_a_file_that_cannot_be_written_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder cannot be written"):
        write_whole(tmp_path / "folder", "new")
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / "a" / "b", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "folder"]
    assert (tmp_path / "a").read_text() == "old"
