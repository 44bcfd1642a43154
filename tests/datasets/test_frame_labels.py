"""The layout of temporal segmentation: features, a label a frame, a mapping and bundles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root as egotools

from egotools.manifests.segments import read_segments
from egotools.manifests.table import read_manifest
from egotools.stores import open_store
from egotools.tables.sequences import read_sequences

LABELS = {"S1_Tea": ["take"] * 30 + ["pour"] * 20, "S2_Tea": ["pour"] * 40, "S3_Tea": ["take"] * 200}
WIDTH = 6


def write(top: Path, name: str, labels: list[str], shape: tuple[int, int] | None = None) -> None:
    rng = np.random.default_rng(len(labels))
    np.save(top / f"features/{name}.npy", rng.normal(size=shape or (WIDTH, len(labels))))
    (top / f"groundTruth/{name}.txt").write_text("".join(f"{label}\n" for label in labels))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    for folder in ("features", "groundTruth", "splits"):
        (tmp_path / folder).mkdir()
    for name, labels in LABELS.items():
        write(tmp_path, name, labels)
    (tmp_path / "mapping.txt").write_text("0 take\n1 pour\n2 background\n")
    for number, test in ((1, "S1_Tea"), (2, "S2_Tea")):
        train = [f"{name}.txt" for name in LABELS if name != test]
        (tmp_path / f"splits/train.split{number}.bundle").write_text("\r\n".join(train) + "\r\n")
        (tmp_path / f"splits/test.split{number}.bundle").write_text(f"{test}.txt\n")
    return tmp_path


def run(top: Path, *more: object, status: int = 0) -> Result:
    folders = ("--features", top / "features", "--labels", top / "groundTruth", "--bundles", top / "splits")
    places = ("--mapping", top / "mapping.txt", "--cache", top / "c/x.lmdb", "--out", top / "m.csv", "--fps", 10)
    done = CliRunner().invoke(egotools, ["manifest", "segmentation", *map(str, (*folders, *places, *more))])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def refused(top: Path) -> str:
    line = str(run(top, status=1).exception)
    assert "\n" not in line
    assert not (top / "m.csv").exists()
    return line


def test_the_layout_becomes_a_cache_a_manifest_and_segments(made):
    run(made)
    assert {clip.id: clip.split for clip in read_manifest(made / "m.csv")} == {
        "S2_Tea": "train", "S3_Tea": "train", "S1_Tea": "test"
    }  # fmt: skip
    rows = open_store(made / "c/x.lmdb")["S1_Tea"]
    np.testing.assert_allclose(rows.values, np.load(made / "features/S1_Tea.npy").T, rtol=1e-6)
    np.testing.assert_allclose(rows.times[[0, -1]], [[0, 0.1], [4.9, 5]])
    own = [each for each in read_segments(made / "m.segments.csv") if each.id == "S1_Tea"]
    assert [(each.start, each.end, each.label) for each in own] == [(0, 3, "take"), (3, 5, "pour")]
    found = read_sequences(made / "m.csv", [made / "c/x.lmdb"], made / "m.segments.csv", classes=["take", "pour"])
    assert found.of_split("test")[0].labels.tolist() == [0] * 30 + [1] * 20


def test_another_split_uses_the_same_cache(made):
    run(made)
    done = run(made, "--split-number", 2)
    assert "there already: nothing to do" in done.stderr
    assert [clip.id for clip in read_manifest(made / "m.csv") if clip.split == "test"] == ["S2_Tea"]
    assert "--overwrite" in str(run(made, "--fps", 5, status=1).exception)


def test_what_is_longer_is_cut_and_features_may_be_transposed(made):
    for name, labels in LABELS.items():
        write(made, name, labels, (len(labels) + (name == "S3_Tea") * 2, WIDTH))
    done = run(made)
    assert "frames x features, not features x frames as usual" in done.stderr
    assert "features and labels of 1 videos differ in length, by up to 2 frames" in done.stderr
    assert open_store(made / "c/x.lmdb")["S2_Tea"].values.shape == (40, WIDTH)
    write(made, "S3_Tea", LABELS["S3_Tea"], (198, WIDTH))
    run(made, "--overwrite")
    assert [each.end for each in read_segments(made / "m.segments.csv") if each.id == "S3_Tea"] == [19.8]


def test_videos_that_do_not_exist_are_named_and_counted(made):
    (made / "features/S2_Tea.npy").unlink()
    (made / "groundTruth/S3_Tea.txt").unlink()
    done = run(made, status=1)
    assert "files that do not exist, their clips are left out: 2" in done.stderr
    assert "features/S2_Tea.npy" in done.stderr
    assert [clip.id for clip in read_manifest(made / "m.csv")] == ["S1_Tea"]


def with_nan(top: Path) -> None:
    np.save(top / "features/S2_Tea.npy", np.full((WIDTH, 40), np.nan))


def with_a_video_twice(top: Path) -> None:
    (top / "splits/test.split1.bundle").write_text("S2_Tea.txt\n")


def with_gaps_in_numbers(top: Path) -> None:
    (top / "mapping.txt").write_text("0 take\n2 pour\n")


def without_bundles(top: Path) -> None:
    for path in (top / "splits").glob("*.split1.*"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda top: write(top, "S2_Tea", ["pour"] * 40, (WIDTH, 38)), "the lengths differ by more than 1%"),
        (lambda top: write(top, "S2_Tea", ["pour"] * 40, (40, WIDTH)), "S2_Tea.txt; it is transposed"),
        (lambda top: write(top, "S2_Tea", ["pour"] * 40, (WIDTH + 1, 40)), "'S2_Tea' has 7 features"),
        (lambda top: write(top, "S2_Tea", ["pour", "fly"] * 20), "S2_Tea.txt, row 2: the label 'fly' is not in"),
        (lambda top: write(top, "S2_Tea", ["pour", ""] * 20), "S2_Tea.txt, row 2: the label '' is not in"),
        (with_nan, "NaN or infinite values"),
        (lambda top: np.save(top / "features/S2_Tea.npy", np.array([{}], object)), "holds Python objects"),
        (lambda top: np.save(top / "features/S2_Tea.npy", np.ones(40)), "the shape is [40]"),
        (lambda top: (top / "groundTruth/S2_Tea.txt").write_text("\n"), "S2_Tea.txt: no labels"),
        (with_a_video_twice, "is also in train.split1.bundle, row 1"),
        (with_gaps_in_numbers, "mapping.txt, row 2: 'pour' has the number 2"),
        (without_bundles, "no train.split1.bundle, nor of test; there are test.split2.bundle, train.split2.bundle"),
    ],
)
def test_unusable_files_are_refused_by_name(made, spoil, problem):
    spoil(made)
    assert problem in refused(made)


def test_the_example_writes_the_layout_and_predictions(tmp_path, shared, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    from tcn_scores import convert

    convert(shared / "data/segmentation/gtea.npz", "svm", tmp_path)
    run(tmp_path, "--split-number", 3, "--fps", 1)
    clips = read_manifest(tmp_path / "m.csv")
    assert {split: sum(clip.split == split for clip in clips) for split in ("train", "test")} == {
        "train": 14,
        "test": 7,
    }
    store = open_store(tmp_path / "c/x.lmdb")
    assert (len(store), store.rows, store.width) == (21, 4667, 11)
    truth, said = (read_segments(tmp_path / f"{name}.csv") for name in ("segments", "predictions"))
    assert {each.id: each.end for each in truth} == {each.id: each.end for each in said}
    by_id = {each.id: [*filter(lambda one: one.id == each.id, truth)] for each in truth}
    for each in read_segments(tmp_path / "m.segments.csv"):
        assert each in by_id[each.id]
