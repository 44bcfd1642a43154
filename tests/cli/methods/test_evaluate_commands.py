from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from egotools.cli.methods import EVALUATE, PREDICT, TRAIN

from egotools.errors import EgotoolsError
from egotools.stores import Recipe, Source, open_writer
from egotools.types import FloatArray, Rows

LABELS = ["cat"] * 6 + ["dog"] * 6 + ["eel"] * 6


def write_cache(path: Path, values: FloatArray, *, ids: list[str] | None = None) -> Path:
    """A cache with one row a clip; clips are clip00, clip01, ... unless said."""
    with open_writer(path, Recipe({"extractor": path.stem})) as writer:
        for number, row in enumerate(values):
            clip = ids[number] if ids else f"clip{number:02}"
            writer.append(clip, Rows(row[None].astype(np.float32), np.array([[0.0, 1.0]])))
            writer.finish(clip, Source(""))
        writer.commit()
    return path


def write_manifest(path: Path, labels: list[str], *, split: str = "") -> Path:
    rows = [f"clip{number:02},,{split},{label},v{number // 2}" for number, label in enumerate(labels)]
    path.write_text("\n".join(["id,path,split,animal,video", *rows]) + "\n")
    return path


def features_of(labels: list[str], rng: np.random.Generator) -> FloatArray:
    _, numbers = np.unique(labels, return_inverse=True)
    values: FloatArray = np.eye(3, 5)[numbers] + 0.05 * rng.normal(size=(len(labels), 5))
    return values


@pytest.fixture
def place(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder with a manifest m.csv and the cache x.lmdb of features that show the label."""
    write_manifest(tmp_path / "m.csv", LABELS)
    write_cache(tmp_path / "x.lmdb", features_of(LABELS, rng))
    return tmp_path


def egotools(place: Path, *arguments: str) -> Result:
    """Runs a command whose files are m.csv and x.lmdb."""
    line = [*arguments, "--manifest", str(place / "m.csv")]
    if "--features" not in arguments:
        line += ["--features", str(place / "x.lmdb")]
    return CliRunner().invoke(root, line)


def error_of(result: Result) -> str:
    """The one line that the root command prints for a known mistake."""
    assert isinstance(result.exception, EgotoolsError), result.output
    text = str(result.exception)
    assert "\n" not in text
    return text


def test_knn_prints_json_for_programs(place: Path) -> None:
    result = egotools(place, "eval", "knn", "--label", "animal", "--k", "1,3", "--json")
    report = json.loads(result.stdout)
    assert report["accuracy"] == 1.0
    assert [entry["k"] for entry in report["by_k"]] == [1, 3]
    assert report["majority"] == pytest.approx(1 / 3)
    assert report["arguments"]["label"] == "animal"
    assert len(report["inputs"]["features"][0]["recipe"]) == 16


def test_knn_prints_tables_for_people(place: Path) -> None:
    result = egotools(place, "eval", "knn", "--label", "animal", "--group", "video")
    assert result.exit_code == 0, result.output
    assert "leave one video out" in result.stdout
    for text in ("majority", "mean class accuracy", "cat", "dog", "eel"):
        assert text in result.stdout


def test_knn_leaves_report_predictions_and_picture(place: Path) -> None:
    egotools(place, "eval", "knn", "--label", "animal", "--k", "2", "--out", str(place / "out"))
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "confusion.png",
        "predictions.csv",
        "report.json",
    ]
    rows = list(csv.DictReader((place / "out" / "predictions.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == [row["predicted"] for row in rows] == LABELS
    neighbors = json.loads(rows[0]["neighbors"])
    assert len(neighbors) == len(json.loads(rows[0]["similarities"])) == 2
    assert rows[0]["id"] not in neighbors
    assert (place / "out" / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_windows_of_a_clip_are_judged_one_by_one_when_asked(place: Path) -> None:
    with open_writer(place / "w.lmdb", Recipe({"extractor": "w"})) as writer:
        for number in range(18):
            values = np.eye(3, dtype=np.float32)[[number // 6] * 2]
            writer.append(f"clip{number:02}", Rows(values, np.array([[0.0, 1.0], [1.0, 2.0]])))
            writer.finish(f"clip{number:02}", Source(""))
        writer.commit()
    line = ("eval", "knn", "--label", "animal", "--reduce", "none", "--json", "--features", str(place / "w.lmdb"))
    assert json.loads(egotools(place, *line).stdout)["rows"] == 36


def test_probe_learns_and_reports_mean_and_deviation(place: Path) -> None:
    result = egotools(place, "eval", "probe", "--label", "animal", "--seeds", "2", "--json")
    report = json.loads(result.stdout)
    assert report["accuracy"] == 1.0
    assert report["accuracy_deviation"] == 0.0
    assert len(report["by_seed"]) == report["seeds"] == 2
    assert report["protocol"] == "25% held out, video kept whole"


@pytest.mark.parametrize("command", ["knn", "probe"])
def test_clips_that_miss_features_or_labels_are_remarks_on_stderr(place: Path, command: str) -> None:
    write_manifest(place / "m.csv", [*LABELS[:-1], "", "cat"])
    result = egotools(place, "eval", command, "--label", "animal", "--json")
    assert "1 clip with an empty 'animal' left out: 'clip17'" in result.stderr
    assert "left out: 'clip18'" in result.stderr
    assert json.loads(result.stdout)["remarks"]


@pytest.mark.parametrize("command", ["knn", "probe"])
@pytest.mark.parametrize(
    ("labels", "arguments", "message"),
    [
        (LABELS, ["--label", "verb"], "no column 'verb'; its label columns are: animal, video"),
        (["cat"] * 18, ["--label", "animal"], "all 18 labels are 'cat'"),
        (LABELS, ["--label", "animal", "--test-split", "test"], "split 'train'"),
        (LABELS, ["--label", "animal", "--features", "absent.lmdb"], "absent.lmdb"),
    ],
)
def test_mistakes_are_one_clear_line(
    place: Path, command: str, labels: list[str], arguments: list[str], message: str
) -> None:
    write_manifest(place / "m.csv", labels)
    assert message in error_of(egotools(place, "eval", command, *arguments))


@pytest.mark.parametrize("command", ["knn", "probe"])
def test_features_that_are_not_finite_name_their_clip(place: Path, command: str) -> None:
    values = np.eye(18)
    values[4, 4] = np.nan
    cache = write_cache(place / "nan.lmdb", values)
    result = egotools(place, "eval", command, "--label", "animal", "--features", str(cache))
    assert "'clip04'" in error_of(result)


def test_a_split_without_rows_to_judge_is_refused(place: Path) -> None:
    write_manifest(place / "m.csv", LABELS, split="train")
    assert "choose from train" in error_of(egotools(place, "eval", "knn", "--label", "animal"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["knn", "--label", "animal", "--k", "0"],
        ["knn", "--label", "animal", "--k", "a"],
        ["knn", "--label", "animal", "--train-split", "x", "--test-split", "x"],
        ["probe"],
        ["probe", "--label", "animal", "--c", "0"],
    ],
)
def test_wrong_usage_has_exit_status_two(place: Path, arguments: list[str]) -> None:
    assert egotools(place, "eval", *arguments).exit_code == 2


@pytest.mark.parametrize(("group", "names"), [("eval", EVALUATE), ("train", TRAIN), ("predict", PREDICT)])
def test_help_shows_an_example_of_every_command(group: str, names: Mapping[str, object]) -> None:
    for name in names:
        text = CliRunner().invoke(root, [group, name, "--help"]).output
        assert f"egotools {group} {name} --" in text


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_named(place: Path, device: str) -> None:
    result = egotools(place, "eval", "probe", "--label", "animal", "--device", device)
    assert error_of(result).startswith(f"--device {device}: not available on this machine")


def test_the_table_by_class_says_that_it_counts_all_seeds(place: Path) -> None:
    several = egotools(place, "eval", "probe", "--label", "animal", "--seeds", "2", "--c", "0.1").stdout
    assert "by class, 2 seeds together" in several
    assert "seeds together" not in egotools(place, "eval", "knn", "--label", "animal").stdout
