"""What is judged was not learned from: by video, by group, by run, and by the features that the run knows."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from tabled import write_cache, write_table

from egotools.errors import EgotoolsError, TableError
from egotools.evaluate.knn import KNN, knn
from egotools.evaluate.splits import Partition
from egotools.methods.probe.probe import Probe, probe
from egotools.stores import Recipe
from egotools.tables.matching import Feature, features_of, matched, record_of
from egotools.tables.table import Table

VIDEOS, CLIPS = 24, 8  # clips of each
ONE = Probe(c=(0.1,), seeds=1)


def texts(values: Sequence[object]) -> Any:
    return np.array([str(value) for value in values], dtype=object)


def flattering(rng: np.random.Generator, *, splits: bool = False) -> Table:
    """Features that show the video and nothing of the label, which is drawn by video."""
    video = np.repeat(np.arange(VIDEOS), CLIPS)
    centers, label = 3 * rng.normal(size=(VIDEOS, 48)), rng.integers(0, 4, VIDEOS)
    values = (centers[video] + rng.normal(size=(len(video), 48))).astype(np.float32)
    number = np.arange(len(video)) % CLIPS
    split = np.where(number % 4 == 0, "test", "train") if splits else np.full(len(video), "")
    labels = {"label": texts(label[video]), "video": texts([f"v{each:02}" for each in video])}
    ids = texts([f"v{one:02}/{two}" for one, two in zip(video, number, strict=True)])
    return Table(ids, values, np.zeros((len(video), 2)), labels, texts(split))


def with_column(table: Table, **columns: Any) -> Table:
    return replace(table, labels={**{name: table.labels[name] for name in table.labels}, **columns})


def test_splits_whose_sides_share_videos_are_remarked_on(rng: np.random.Generator) -> None:
    table = flattering(rng, splits=True)
    said = "24 of 24 evaluated videos are on both sides, which flatters features; --group video keeps them apart"
    found = probe(table, "label", ONE)
    assert found.figures["accuracy"] > 0.9
    assert said in found.remarks
    assert said in knn(table, "label", KNN(k=(1,))).remarks
    assert not probe(table, "video", ONE).remarks  # clips are to find their own video
    room = replace(table, labels={"label": table.labels["label"], "recording": table.labels["video"]})
    assert "24 of 24 evaluated recordings are on both sides" in probe(room, "label", ONE).remarks[0]


def test_with_a_group_the_probe_learns_from_no_group_that_is_judged(rng: np.random.Generator) -> None:
    table = flattering(rng, splits=True)
    group = Partition(group="video")
    assert knn(table, "label", KNN(k=(5,)), partition=group).figures["accuracy"] < 0.45
    with pytest.raises(TableError, match=r"24 of 24 evaluated videos are on both sides \(train, test\).* no classes"):
        probe(table, "label", ONE, partition=group)
    split = table.split.copy()
    split[(split == "test") & (table.labels["video"] >= "v12")] = "train"
    half = replace(table, split=split)
    found = probe(half, "label", ONE, partition=group)
    assert found.remarks[0] == "12 of 12 evaluated videos are on both sides: 72 rows of train left out, 96 trained on"
    assert found.figures["train_rows"] == 96
    assert not set(found.learned.groups) & set(found.predictions.rows.labels["video"].tolist())
    assert found.figures["accuracy"] < 0.6


def test_with_a_group_too_few_classes_are_refused_by_count(rng: np.random.Generator) -> None:
    table = flattering(rng, splits=True)
    split = table.split.copy()
    split[(split == "test") & (table.labels["video"] == "v00")] = "train"
    with pytest.raises(TableError, match=r"23 of 23 evaluated videos are on both sides .* 1 class would be left"):
        probe(replace(table, split=split), "label", ONE, partition=Partition(group="video"))


def test_val_chooses_c_on_no_group_that_is_learned_or_judged(rng: np.random.Generator) -> None:
    table = flattering(rng)
    video = np.repeat(np.arange(VIDEOS), CLIPS)
    split = texts(np.where(video < 12, "train", np.where(video < 18, "val", "test")))
    split[video == 0] = np.where(np.arange(CLIPS) < 4, "train", "val")
    clean = probe(replace(table, split=split), "label", Probe(), partition=Partition(group="video"))
    assert clean.figures["seeds"] == 1  # val is there to choose by
    split[video >= 12] = np.tile(np.where(np.arange(CLIPS) < 4, "val", "test"), 12)
    shared = probe(replace(table, split=split), "label", Probe(), partition=Partition(group="video"))
    assert shared.figures["seeds"] == 3  # none of it is free, so C is chosen on parts of train


@pytest.mark.parametrize("label", ["rare", "its own in each video"])
def test_a_class_of_one_video_does_not_end_the_hold_out_by_video(rng: np.random.Generator, label: str) -> None:
    table = flattering(rng)
    names = table.labels["label"].copy()
    number = np.arange(len(table)) % CLIPS
    if label == "rare":
        names[:CLIPS] = "rare"
    else:
        names[number < 2] = np.char.add("intro ", table.labels["video"][number < 2].astype(str)).astype(object)
    found = probe(with_column(table, label=names), "label", Probe(c=(0.1,)))
    assert found.figures["protocol"] == "25% held out, video kept whole"
    assert found.figures["accuracy"] < 0.5
    count = "1 class" if label == "rare" else "24 classes"
    assert any(
        said.startswith(f"{count} in one video only, so trained on but not evaluated: ") for said in found.remarks
    )
    judged = set(found.predictions.rows.labels["video"].tolist())
    first = found.predictions.rows.labels["video"][np.array(found.predictions.details["seed"]) == "0"]
    assert judged
    assert not set(first.tolist()) & set(found.learned.groups)


def test_a_hold_out_that_cannot_be_by_video_says_so(rng: np.random.Generator) -> None:
    table = flattering(rng)
    found = probe(with_column(table, scene=table.labels["video"]), "scene", ONE)
    assert found.figures["protocol"] == "25% held out, clip kept whole"
    assert found.remarks == ("24 of 24 evaluated videos are on both sides, which flatters features",)


def test_neighbors_of_the_same_video_are_remarked_on(rng: np.random.Generator) -> None:
    table = flattering(rng)
    said = "clips of one video vote on each other, which flatters features; --group video keeps them apart"
    assert said in knn(table, "label", KNN(k=(1,))).remarks
    assert not knn(table, "label", KNN(k=(1,)), partition=Partition(group="video")).remarks
    assert not knn(table, "video", KNN(k=(1,))).remarks


# --- runs


def invoke(*line: object) -> Result:
    return CliRunner().invoke(root, [str(part) for part in line])


def shown(*line: object) -> tuple[dict[str, Any], str]:
    result = invoke(*line, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout), result.stderr


def error_of(*line: object) -> str:
    error = invoke(*line).exception
    assert isinstance(error, EgotoolsError), error
    assert "\n" not in str(error)
    return str(error)


COLOR = Recipe({"extractor": "color", "version": 1, "weights": "a" * 16})
HOG = Recipe({"extractor": "hog", "version": 1})


@pytest.fixture
def place(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A manifest without splits, `m.csv`, with splits, `s.csv`, and two caches of features that show the video."""
    table = flattering(rng)
    labels = {name: table.labels[name].tolist() for name in table.labels}
    labels["memorability"] = rng.random(len(table)).round(3).tolist()
    ids, number = table.ids.tolist(), np.arange(len(table)) % CLIPS
    splits = np.where(number % 4 == 0, "test", "train").tolist()
    write_table(tmp_path / "m.csv", ids, labels)
    write_table(tmp_path / "s.csv", ids, labels, splits)
    write_cache(tmp_path / "color.lmdb", ids, table.values[:, :30], COLOR)
    write_cache(tmp_path / "hog.lmdb", ids, table.values[:, 30:], HOG)
    return tmp_path


def joined(place: Path, *names: str, manifest: str = "m.csv") -> list[object]:
    return [
        "--manifest",
        place / manifest,
        *(part for name in names for part in ("--features", place / f"{name}.lmdb")),
    ]


def train(place: Path, *more: object, names: Sequence[str] = ("color", "hog"), manifest: str = "m.csv") -> None:
    line = ["train", "probe", *joined(place, *names, manifest=manifest), "--label", "label", "--c", "0.1"]
    assert invoke(*line, "--seeds", "1", *more, "--out", place / "p").exit_code == 0


def test_a_run_is_judged_on_what_it_did_not_learn_from(place: Path) -> None:
    train(place, "--group", "video")
    learned = json.loads((place / "p/learned.json").read_text())[""]
    assert (len(learned["ids"]), len(learned["groups"]), learned["group"]) == (128, 16, "video")
    line = ["eval", "probe", "--run", place / "p"]
    found, said = shown(*line, *joined(place, "color", "hog"), "--out", place / "out")
    assert (found["rows"], found["accuracy"] < 0.6) == (64, True)
    assert "128 of 192 rows left out: the run was trained on them, or on others of their video" in said
    with (place / "out/predictions.csv").open() as file:
        assert not {row["id"] for row in csv.DictReader(file)} & set(learned["ids"])
    everything, said = shown(*line, *joined(place, "color", "hog"), "--all-rows")
    assert (everything["rows"], everything["accuracy"] > 0.8) == (192, True)
    assert "128 of 192 evaluated rows are no test" in said
    tested, said = shown(*line, *joined(place, "color", "hog", manifest="s.csv"))
    assert (tested["rows"], tested["protocol"]) == (16, "a fitted probe applied to test")
    assert "32 of 48 rows left out" in said


def test_other_clips_of_a_video_that_was_learned_are_not_judged_either(place: Path) -> None:
    train(place, "--group", "video")
    text = (place / "m.csv").read_text().replace("/", "|")  # other windows, of other ids
    (place / "w.csv").write_text(text)
    ids = [f"v{video:02}|{clip}" for video in range(VIDEOS) for clip in range(CLIPS)]
    for name, recipe, width in (("color", COLOR, 30), ("hog", HOG, 18)):
        write_cache(place / f"w/{name}.lmdb", ids, np.random.default_rng(1).normal(size=(192, width)), recipe)
    line = ["eval", "probe", "--run", place / "p", "--manifest", place / "w.csv"]
    line += ["--features", place / "w/hog.lmdb", "--features", place / "w/color.lmdb"]
    assert shown(*line)[0]["rows"] == 64


def test_a_run_without_groups_leaves_out_its_clips_and_others_if_asked(place: Path) -> None:
    train(place, manifest="s.csv")
    line = ["eval", "probe", "--run", place / "p", *joined(place, "color", "hog")]
    assert shown(*line)[0]["rows"] == 48
    assert "none of 192 rows can be evaluated: the run was trained on them, or on others of their video" in error_of(
        *line, "--group", "video"
    )
    assert "none of 144 rows can be evaluated" in error_of(
        "eval", "probe", "--run", place / "p", *joined(place, "color", "hog", manifest="s.csv"), "--test-split", "train"
    )


def test_a_run_of_an_earlier_version_loads_and_is_remarked_on(place: Path) -> None:
    train(place)
    (place / "p/learned.json").unlink()
    (place / "p/features.json").unlink()
    found, said = shown("eval", "probe", "--run", place / "p", *joined(place, "hog", "color"))
    assert found["rows"] == 192
    assert "does not say which clips it was trained on" in said


def test_all_rows_is_for_runs(place: Path) -> None:
    line = joined(place, "color")
    assert invoke("eval", "probe", *line, "--label", "label", "--all-rows").exit_code == 2
    assert invoke("eval", "memorability", *line, "--baseline", "ridge", "--all-rows").exit_code == 2


# --- features


def test_features_are_found_by_recipe_and_name_whatever_their_order(place: Path) -> None:
    train(place)
    line = ["eval", "probe", "--run", place / "p"]
    first = shown(*line, *joined(place, "color", "hog"))[0]
    assert shown(*line, *joined(place, "hog", "color"))[0]["accuracy"] == first["accuracy"]
    (place / "color.lmdb").rename(place / "renamed.lmdb")
    assert shown(*line, *joined(place, "hog", "renamed"))[0]["accuracy"] == first["accuracy"]
    ids = [f"v{video:02}/{clip}" for video in range(VIDEOS) for clip in range(CLIPS)]
    write_cache(place / "more.lmdb", ids, np.ones((192, 3)), Recipe({"extractor": "waveform"}))
    found, said = shown(*line, *joined(place, "more", "hog", "renamed"))
    assert found["accuracy"] == first["accuracy"]
    assert "more.lmdb is not used" in said
    write_cache(place / "copy.lmdb", ids, np.ones((192, 30)), COLOR)
    assert "both match the features 'color'" in error_of(*line, *joined(place, "hog", "renamed", "copy"))
    assert "too: give --features .../color.lmdb" in error_of(*line, *joined(place, "hog"))


def test_features_of_another_recipe_are_refused_by_entry_though_they_have_the_width(place: Path) -> None:
    train(place, names=("color",))
    ids = [f"v{video:02}/{clip}" for video in range(VIDEOS) for clip in range(CLIPS)]
    line = ["eval", "probe", "--run", place / "p", "--manifest", place / "m.csv", "--features", place / "o/color.lmdb"]
    for identity, said in (
        ({"extractor": "color", "version": 1, "weights": "b" * 16}, f"was made with weights='{'b' * 16}'"),
        ({"extractor": "other", "version": 1, "weights": "a" * 16}, "was made with extractor='other'"),
        ({"imported": {}}, "was made with extractor=None"),
    ):
        path = write_cache(place / "o/color.lmdb", ids, np.ones((192, 30)), Recipe(identity))
        assert said in error_of(*line)
        path.unlink()


def test_memorability_takes_features_in_the_order_of_the_run(place: Path) -> None:
    line = ["train", "memorability", "--hidden", "4", "--epochs", "2", "--out", place / "r"]
    write_table_with_val(place)
    names = [*joined(place, "color", manifest="v.csv"), "--features", place / "dup.lmdb"]
    ids = [f"v{video:02}/{clip}" for video in range(VIDEOS) for clip in range(CLIPS)]
    write_cache(place / "dup.lmdb", ids, np.random.default_rng(2).normal(size=(192, 30)), Recipe({"extractor": "zz"}))
    assert invoke(*line, *names).exit_code == 0
    judge = ["eval", "memorability", "--run", place / "r", "--draws", "5", "--manifest", place / "v.csv"]
    expected = shown(*judge)[0]
    (place / "dup.lmdb").rename(place / "aa.lmdb")
    swapped = shown(*judge, "--features", place / "aa.lmdb", "--features", place / "color.lmdb")[0]
    assert swapped["spearman"] == expected["spearman"]
    assert expected["clips"] == 48
    everything, said = shown(*judge, "--features", place / "aa.lmdb", "--features", place / "color.lmdb", "--all-rows")
    assert everything["clips"] == 192
    assert "144 of 192 evaluated rows are no test" in said
    (place / "aa.lmdb").rename(place / "dup.lmdb")
    assert "none of 144 rows can be evaluated" in error_of(*judge, "--split", "train")
    (place / "r/learned.json").unlink()
    assert "does not say which clips it was trained on" in shown(*judge)[1]


def write_table_with_val(place: Path) -> None:
    text = (place / "s.csv").read_text().replace(",test,", ",val,")
    (place / "v.csv").write_text(text)


def test_what_was_derived_in_the_same_way_from_other_clips_is_the_same(tmp_path: Path) -> None:
    ids = ["a", "b"]
    for folder, weights in (("one", "w"), ("two", "w"), ("three", "x")):
        write_cache(
            tmp_path / folder / "color.lmdb", ids, np.ones((2, 3)), Recipe({"extractor": "c", "weights": weights})
        )
        identity = {"derivation": "pool", "options": {}, "inputs": {"color": f"content of {folder}"}}
        origin = {"inputs": {"color": str(tmp_path / folder / "color.lmdb")}}
        write_cache(tmp_path / folder / "pooled.lmdb", ids, np.ones((2, 3)), Recipe(identity, origin))
    first = record_of(tmp_path / "one/pooled.lmdb")
    wanted = features_of({"pooled": first})
    two, three = tmp_path / "two/pooled.lmdb", tmp_path / "three/pooled.lmdb"
    assert matched(wanted, [two], run=tmp_path / "r") == ([two], [])
    with pytest.raises(TableError, match=r"made with inputs\.color\.weights='x'"):
        matched(wanted, [three], run=tmp_path / "r")
    with pytest.raises(TableError, match=r"made with inputs\.color='content of two'"):
        matched([Feature("pooled", first["identity"])], [two], run=tmp_path / "r")


def test_rows_that_name_no_group_are_counted(rng: np.random.Generator) -> None:
    table = flattering(rng)
    who = table.labels["video"].copy()
    who[:CLIPS] = ""
    table, group = with_column(table, who=who), Partition(group="who")
    said = "8 of 192 rows have no 'who': their clips are groups of their own"
    assert said in knn(table, "label", KNN(k=(1,)), partition=group).remarks
    assert said in probe(table, "label", ONE, partition=group).remarks


def test_the_probe_sees_small_differences_of_large_numbers(rng: np.random.Generator) -> None:
    label = np.arange(120) % 3
    values = (np.eye(3)[label] + rng.normal(size=(120, 3)) * 0.05 + 1e6).astype(np.float32)
    ids, split = texts([f"c{number}" for number in range(120)]), texts(np.where(np.arange(120) < 80, "train", "test"))
    table = Table(ids, values, np.zeros((120, 2)), {"label": texts(label)}, split)
    assert probe(table, "label", Probe(c=(1.0,), seeds=1)).figures["accuracy"] == 1.0
