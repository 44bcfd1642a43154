"""Labels, splits, ids and file names that look the same are the same, in every command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root
from tabled import write_cache, write_table

from egotools.errors import EgotoolsError, ManifestError
from egotools.manifests.folders import join_labels
from egotools.manifests.partition import split_clips
from egotools.manifests.table import read_manifest
from egotools.tables.table import read_table
from egotools.types import Clip

NFC, NFD = "caf\u00e9", "cafe\u0301"
CLIPS = 60
IDS = [f"c{number:02}" for number in range(CLIPS)]
LABELS = [("007", "NA", "None")[number % 3] for number in range(CLIPS)]
SPLITS = ["test" if number < 15 else "train" for number in range(CLIPS)]


@pytest.fixture
def cache(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Features that show the label."""
    values = 3 * np.eye(6)[np.arange(CLIPS) % 3] + 0.3 * rng.normal(size=(CLIPS, 6))
    return write_cache(tmp_path / "f.lmdb", IDS, values)


def report_of(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(root, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def judged(command: Sequence[str], cache: Path, manifest: Path, *more: object) -> dict[str, Any]:
    return report_of(*command, "--features", cache, "--manifest", manifest, "--label", "label", *more)


COMMANDS = [("eval", "knn", "--k", "1"), ("eval", "probe", "--c", "0.01")]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("around", ["{} ", "\u00a0{}", "{}\u200b", "\ufeff{}", "{}\t"])
def test_labels_that_white_space_tells_apart_are_one(
    tmp_path: Path, cache: Path, command: Sequence[str], around: str
) -> None:
    labels = [around.format(label) if number % 2 else label for number, label in enumerate(LABELS)]
    report = judged(command, cache, write_table(tmp_path / "m.csv", IDS, {"label": labels}, SPLITS))
    assert report["accuracy"] == 1.0
    assert [entry["class"] for entry in report["classes"]] == ["007", "NA", "None"]
    assert report["remarks"] == []


def test_train_probe_learns_the_same_classes_and_a_run_is_applied_to_untidy_labels(tmp_path: Path, cache: Path) -> None:
    labels = [f"{label} " if number % 2 else label for number, label in enumerate(LABELS)]
    manifest = write_table(tmp_path / "m.csv", IDS, {"label": labels}, SPLITS)
    report = judged(("train", "probe", "--c", "0.01"), cache, manifest, "--out", tmp_path / "run")
    assert (len(report["classes"]), report["accuracy"]) == (3, 1.0)


@pytest.mark.parametrize("command", COMMANDS)
def test_labels_that_case_alone_tells_apart_stay_apart_and_are_named(
    tmp_path: Path, cache: Path, command: Sequence[str]
) -> None:
    labels = ["na" if label == "NA" and number % 2 else label for number, label in enumerate(LABELS)]
    report = judged(command, cache, write_table(tmp_path / "m.csv", IDS, {"label": labels}, SPLITS))
    assert len(report["classes"]) == 4
    assert "2 labels differ by case only: 'NA', 'na'" in report["remarks"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("written", ["Train", "TRAIN", " train", "train\u00a0"])
def test_a_split_written_two_ways_is_one(tmp_path: Path, cache: Path, command: Sequence[str], written: str) -> None:
    splits = [written if 15 <= number < 45 else split for number, split in enumerate(SPLITS)]
    report = judged(command, cache, write_table(tmp_path / "m.csv", IDS, {"label": LABELS}, splits))
    assert (report["train_rows"], report["rows"], report["remarks"]) == (45, 15, [])


@pytest.mark.parametrize("command", COMMANDS)
def test_rows_of_other_splits_are_counted(tmp_path: Path, cache: Path, command: Sequence[str]) -> None:
    splits = ["holdout" if 15 <= number < 45 else split for number, split in enumerate(SPLITS)]
    splits[-1] = ""
    report = judged(command, cache, write_table(tmp_path / "m.csv", IDS, {"label": LABELS}, splits))
    assert report["train_rows"] == 14
    assert report["remarks"] == [
        "1 row without a split is neither trained on nor evaluated",
        "30 rows of the split 'holdout' are neither trained on nor evaluated",
    ]


def test_val_is_of_use_to_a_probe_and_not_to_neighbors(tmp_path: Path, cache: Path) -> None:
    splits = ["Val" if 15 <= number < 30 else split for number, split in enumerate(SPLITS)]
    manifest = write_table(tmp_path / "m.csv", IDS, {"label": LABELS}, splits)
    assert judged(("eval", "probe"), cache, manifest)["remarks"] == []
    assert judged(("eval", "knn"), cache, manifest)["remarks"] == [
        "15 rows of the split 'val' are neither trained on nor evaluated"
    ]
    assert judged(("eval", "knn"), cache, manifest, "--test-split", " VAL")["rows"] == 15


def test_groups_that_white_space_tells_apart_are_one_and_case_is_named(tmp_path: Path, cache: Path) -> None:
    people = [f"p{number // 6}" + " " * (number % 2) for number in range(CLIPS)]
    people[0] = "P0"
    manifest = write_table(tmp_path / "m.csv", IDS, {"label": LABELS, "person": people})
    report = judged(("eval", "knn", "--k", "59"), cache, manifest, "--group", "person", "--out", tmp_path / "out")
    assert report["remarks"] == ["2 values of 'person' differ by case only: 'P0', 'p0'"]
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert json.dumps(IDS[6]) in lines[1]
    assert not any(f'""{other}""' in lines[7] for other in IDS[6:12])  # c06 never meets its own person


def test_train_pca_reads_a_split_however_it_is_written(tmp_path: Path, cache: Path) -> None:
    splits = ["Train " if split == "train" else split for split in SPLITS]
    manifest = write_table(tmp_path / "m.csv", IDS, {"label": LABELS}, splits)
    more = ["--features", cache, "--manifest", manifest, "--components", 2, "--out", tmp_path / "run"]
    assert report_of("train", "pca", "--split", "TRAIN", *more)["clips"] == 45


def test_memorability_is_learned_from_splits_however_they_are_written(
    tmp_path: Path, cache: Path, rng: np.random.Generator
) -> None:
    splits = [("Train", "train ", "VAL", "val")[number % 4] for number in range(CLIPS)]
    manifest = write_table(tmp_path / "m.csv", IDS, {"memorability": rng.uniform(size=CLIPS)}, splits)
    line = ["--features", cache, "--manifest", manifest, "--baseline", "ridge"]
    assert report_of("eval", "memorability", *line)["clips"] == 30


def test_labels_files_are_tidied_and_name_files_in_either_form(tmp_path: Path) -> None:
    (tmp_path / f"{NFD}.mp4").touch()  # as macOS writes it
    (tmp_path / "b.mp4").touch()
    labels = tmp_path / "labels.csv"
    labels.write_text(f"path,split,action\n{NFC}.mp4,Train,cut \nb.mp4,TEST,\u00a0cut\n", encoding="utf-8")
    clips = [Clip(NFD, tmp_path / f"{NFD}.mp4"), Clip("b", tmp_path / "b.mp4")]
    joined = join_labels(clips, tmp_path, labels)
    assert joined.rows_left == joined.clips_left == []
    assert [(clip.id, clip.split, clip.labels["action"]) for clip in joined.clips] == [
        (NFC, "train", "cut"),
        ("b", "test", "cut"),
    ]


def test_people_that_white_space_tells_apart_are_on_one_side_of_a_split(tmp_path: Path) -> None:
    clips = [Clip(str(n), Path(), labels={"person": f"p{n // 4}" + " " * (n % 2)}) for n in range(40)]
    divided = split_clips(clips, by="person", fractions={"train": 0.5, "test": 0.5}, seed=3)
    sides = {clip.labels["person"].strip(): set[str]() for clip in divided}
    for clip in divided:
        sides[clip.labels["person"].strip()].add(clip.split)
    assert all(len(found) == 1 for found in sides.values())


def test_ids_that_are_equal_in_unicode_are_one_and_twice_in_a_manifest_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f"id,path\n{NFC},\n{NFD},\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="row 3: the id 'caf\u00e9' is also that of row 2"):
        read_manifest(path)


def test_only_the_label_columns_that_are_asked_for_are_read(tmp_path: Path, cache: Path) -> None:
    manifest = write_table(tmp_path / "m.csv", IDS, {"label": LABELS, "notes": ["n"] * CLIPS}, SPLITS)
    table = read_table(manifest, [cache], labels=["label"])
    assert list(table.labels) == ["label"]
    with pytest.raises(EgotoolsError, match="no column 'verb'; its label columns are: label, notes"):
        table.column("verb")


def test_a_table_is_read_by_paths_that_are_text(tmp_path: Path, cache: Path) -> None:
    manifest = write_table(tmp_path / "m.csv", IDS, {"label": LABELS}, SPLITS)
    one, other = read_table(str(manifest), [str(cache)]), read_table(manifest, [cache])
    assert one.values.tolist() == other.values.tolist()
