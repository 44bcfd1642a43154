"""`egotools train probe` of several labels and `egotools eval action` of its runs, as users type them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from tabled import write_table
from typing_commands import complaint

from egotools.stores import Recipe, Source, open_writer
from egotools.types import Rows

LABELS = ("--label", "verb_class", "--label", "noun_class")
FAST = ("--epochs", 40, "--batch-size", 16, "--learning-rate", 0.5, "--device", "cpu")
CLIPS = 48


def typed(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


def written(folder: Path, name: str, rows: int, noise: float, skip: str = "") -> Path:
    """A cache whose rows show verb and noun, each with noise of its own."""
    rng = np.random.default_rng(len(name))
    path = folder / f"{name}.lmdb"
    with open_writer(path, Recipe({"extractor": name})) as writer:
        for clip in range(CLIPS):
            clean = np.zeros(8)
            clean[[clip % 4, 4 + clip // 4 % 3]] = 3
            values = clean + noise * rng.normal(size=(rows, 8))
            times = np.arange(rows)[:, np.newaxis] * 0.5 + [0.0, 0.5]
            if f"c{clip:02}" != skip:
                writer.append(f"c{clip:02}", Rows(values.astype(np.float32), times))
                writer.finish(f"c{clip:02}", Source(""))
        writer.commit()
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest: 32 clips of train; of val 15, one of a verb that train lacks, and one without a noun."""
    folder = tmp_path_factory.mktemp("kitchen")
    clips = range(CLIPS)
    columns: dict[str, list[Any]] = {
        "verb_class": [clip % 4 for clip in clips],
        "noun_class": [clip // 4 % 3 for clip in clips],
        "video": [f"P01_{clip // 16}" for clip in clips],
        "subset_head": [clip % 2 for clip in clips],
        "subset_tail": [1 - clip % 2 for clip in clips],
    }
    columns["verb_class"][40], columns["noun_class"][47] = 77, ""
    splits = ["train"] * 32 + ["val"] * 16
    write_table(folder / "e.csv", [f"c{clip:02}" for clip in clips], columns, splits)
    write_table(folder / "val.csv", [f"c{clip:02}" for clip in clips], columns, ["val"] * CLIPS)
    written(folder, "video", 10, 1.5)
    written(folder, "sound", 4, 1.5, skip="c33")
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    done = typed("train", "probe", "--features", place / "video.lmdb", "--manifest", place / "e.csv", *LABELS,
                 "--rows", "random", *FAST, "--out", place / "p", "--json")  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    report = json.loads(done.stdout)
    assert (report["protocol"], report["train_rows"]) == ("trained on train, evaluated on val", 32)
    assert [(each["clips"], each["is_random"]) for each in report["clips"]] == [(1, True), (10, False)]
    return place / "p"


def evaluated(run: Path, place: Path, *more: object, features: tuple[str, ...] = ("video",)) -> Result:
    caches = [word for name in features for word in ("--features", place / f"{name}.lmdb")]
    return typed("eval", "action", "--run", run, *caches, "--manifest", place / "e.csv", "--device", "cpu", *more)


def test_a_run_has_a_head_a_label_and_the_protocol_of_replai(run: Path, place: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.json", "metrics.jsonl", "checkpoint.pt", "report.json", "heads.safetensors", "features.json",
        "learned.json", "predictions.csv",
    }  # fmt: skip
    identity = json.loads((run / "config.json").read_text())["identity"]
    shown = {
        name: identity[name] for name in ("labels", "head", "rows", "normalize_features", "weight_decay", "schedule")
    }
    assert shown == {
        "labels": ["verb_class", "noun_class"], "head": "sgd", "rows": "random", "normalize_features": "none",
        "weight_decay": 0.0, "schedule": [18, 24],
    }  # fmt: skip
    assert "seeds" not in identity
    again = typed("train", "probe", "--protocol", "replai", "--features", place / "video.lmdb", "--manifest",
                  place / "e.csv", *LABELS, *FAST, "--out", run)  # fmt: skip
    assert "nothing to do" in again.stderr, again.output


def test_several_rows_of_a_clip_are_better_than_one_and_it_is_said_what_was_left_out(run: Path, place: Path) -> None:
    done = evaluated(run, place, "--clips", 1, "--clips", 10, "--json", "--out", place / "out")
    assert done.exit_code == 0, (done.output, done.exception)
    report = json.loads(done.stdout)
    one, ten = report["clips"]
    assert (report["rows"], one["is_random"], ten["clips"]) == (15, True, 10)
    for what in ("verb_class", "noun_class", "action"):
        assert one["figures"][what]["accuracy"] < ten["figures"][what]["accuracy"]
    assert ten["figures"]["noun_class"]["accuracy"] == 1
    assert ten["figures"]["verb_class"]["accuracy"] == pytest.approx(14 / 15)  # one is of a class that train lacks
    assert ten["figures"]["action"]["accuracy"] == pytest.approx(14 / 15)
    assert {name: part["rows"] for name, part in ten["subsets"].items()} == {"head": 7, "tail": 8}
    assert report["constant"]["figures"]["verb_class"]["accuracy"] == pytest.approx(3 / 15)
    said = " ".join(report["remarks"])
    assert "with an empty 'noun_class' left out: 'c47'" in said
    assert "verb_class: 1 class not among the training clips: always an error: '77'" in said
    assert json.loads((place / "out/report.json").read_text()) == report
    assert len((place / "out/predictions.csv").read_text().splitlines()) == 16
    other = json.loads(evaluated(run, place, "--clips", 1, "--seed", 5, "--json").stdout)["clips"][0]
    assert other["figures"] != one["figures"]
    table = evaluated(run, place, "--clips", 3)
    assert "tail" in table.stdout
    assert "no look" in table.stdout


def test_picture_and_sound_are_learned_from_together(place: Path) -> None:
    both = ("--features", place / "video.lmdb", "--features", place / "sound.lmdb", "--manifest", place / "e.csv")
    for rows in ("random", "mean"):
        done = typed("train", "probe", *both, *LABELS, "--rows", rows, *FAST, "--out", place / rows, "--json")
        assert done.exit_code == 0, (done.output, done.exception)
        report = json.loads(done.stdout)
        assert any("1 clip missing in" in remark for remark in report["remarks"])
        assert report["clips"][-1]["figures"]["noun_class"]["accuracy"] == 1
        found = json.loads(evaluated(place / rows, place, "--json", features=("sound", "video")).stdout)
        assert found["clips"][-1] == report["clips"][-1]
    assert found["clips"][0]["clips"] == "mean"
    rows = json.loads(evaluated(place / "mean", place, "--clips", 10, "--json", features=("sound", "video")).stdout)
    assert rows["clips"][0]["figures"]["noun_class"]["accuracy"] == 1


def test_without_a_split_to_train_on_whole_videos_are_held_out_and_stay_so(place: Path) -> None:
    line = ("--features", place / "video.lmdb", "--manifest", place / "val.csv")
    done = typed("train", "probe", *line, *LABELS, *FAST, "--out", place / "held", "--json")
    report = json.loads(done.stdout)
    assert report["rows"] in (15, 16)
    assert "only the split val" in " ".join(report["remarks"])
    again = typed("eval", "action", "--run", place / "held", *line, "--clips", 10, "--device", "cpu", "--json")
    found = json.loads(again.stdout)
    assert found["clips"][0]["figures"] == report["clips"][-1]["figures"]
    assert "rows left out: the run was trained on them" in " ".join(found["remarks"])
    assert (
        json.loads(typed("eval", "action", "--run", place / "held", *line, "--all-rows", "--json").stdout)["rows"] == 47
    )


def test_wrong_usage_and_other_runs_are_named(run: Path, place: Path) -> None:
    line = ("train", "probe", "--features", place / "video.lmdb", "--manifest", place / "e.csv", "--out", place / "no")
    for words, says in {
        (*LABELS, "--seeds", 3): "--seeds is for other heads",
        (*LABELS, "--reduce", "none"): "--reduce is for other heads",
        (*LABELS, "--head", "linear"): "--head linear is of one label",
        ("--label", "verb_class", "--loss", "sum"): "--loss is for --head sgd, not linear",
        ("--label", "verb_class", "--label", "verb_class"): "--label verb_class is given twice",
    }.items():
        done = typed(*line, *words)
        assert done.exit_code == 2
        assert says in done.stderr
    (place / "c.yaml").write_text("label: [verb_class, noun_class]\nrows: mean\nepochs: 1\n")
    images = ("train", "probe", "--backbone", "run:x", "--manifest", place / "e.csv", "--out", place / "no")
    assert "--backbone is for --head normalized" in typed(*images, "--config", place / "c.yaml").stderr
    assert "no column 'verbs'; its label columns are" in complaint(typed(*line, "--label", "verbs", "--rows", "mean"))
    assert "--crops is for a run of 'egotools train action'" in evaluated(run, place, "--crops", "ten").stderr
    assert "give --features" in evaluated(run, place, features=()).stderr
    assert "extractor='sound'; " in complaint(evaluated(run, place, features=("sound",)))
    probe = ("eval", "probe", "--run", run, "--features", place / "video.lmdb", "--manifest", place / "e.csv")
    assert "'egotools eval action --run" in complaint(typed(*probe))
    assert "'egotools eval action' evaluates its runs" in typed(*probe, "--head", "sgd").stderr
