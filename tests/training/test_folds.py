"""Which clips are trained and which tested on: every fold is apart, and what cannot be used is one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tabled import write_cache, write_table

from egotools.errors import TableError
from egotools.tables.table import read_table
from egotools.training.folds import FoldFile, by_folds, by_split

IDS = [f"c{number}" for number in range(8)]
SCORES = np.linspace(0, 1, 8, dtype=np.float32)


@pytest.fixture
def table(tmp_path):
    write_table(tmp_path / "m.csv", IDS, {}, ["train"] * 4 + ["val"] * 3 + ["test"])
    write_cache(tmp_path / "x.lmdb", IDS, np.ones((8, 2)))
    return read_table(tmp_path / "m.csv", [tmp_path / "x.lmdb"])


def folds(tmp_path, content):
    (tmp_path / "f.json").write_text(json.dumps(content))
    return FoldFile.parse(f"{tmp_path / 'f.json'}:key")


def test_splits_are_one_fold_without_a_name(table):
    fold = by_split(table, SCORES, "score")
    assert (fold.name, fold.train.tolist(), fold.test.tolist()) == ("", [0, 1, 2, 3], [4, 5, 6])


def test_each_list_is_tested_by_what_the_others_teach(table, tmp_path):
    lists = [["c5", "c0", "c5"], ["c1", "c2"], ["c7", "c3", "gone"]]
    found, remarks = by_folds(table, SCORES, "score", folds(tmp_path, {"key": lists}))
    assert [(fold.name, fold.test.tolist()) for fold in found] == [
        ("fold-0", [0, 5]),
        ("fold-1", [1, 2]),
        ("fold-2", [3, 7]),
    ]
    for fold in found:
        assert sorted([*fold.train, *fold.test]) == list(range(8))
    assert remarks == ["1 clip ('gone') of 'key' not among the clips with features: left out"]


@pytest.mark.parametrize(
    ("split", "said"),
    [("test", r"1 clips with features are in the split 'test'"), ("Train", "'train' is what is trained on")],
)
def test_splits_that_cannot_be_used_are_named(table, split, said):
    with pytest.raises(TableError, match=said):
        by_split(table, SCORES, "score", test_split=split)


def test_clips_without_a_score_are_named(table, tmp_path):
    bare = np.where(np.arange(8) < 4, np.float32(np.nan), SCORES)
    with pytest.raises(TableError, match=r"4 clips \('c0', 'c1', 'c2' and 1 more\) in the split 'train' have no score"):
        by_split(table, bare, "score")
    with pytest.raises(TableError, match=r"4 clips .* have no score"):
        by_folds(table, bare, "score", folds(tmp_path, {"key": [["c0", "c1"], ["c4", "c5"]]}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"other": []}, "'key'.*other"),
        ({"key": [["c0"]]}, "two or more lists"),
        ({"key": ["c0", "c1"]}, "two or more lists"),
        ([], "no keys"),
        ({"key": [["c0", "c1"], ["c2", "gone"]]}, "fold 1 of 'key'"),
    ],
)
def test_fold_files_that_cannot_be_used_are_named(table, tmp_path, content, said):
    with pytest.raises(TableError, match=f"f.json.*{said}"):
        by_folds(table, SCORES, "score", folds(tmp_path, content))


def test_a_fold_file_is_named_with_its_key():
    assert FoldFile.parse("a:b/c.json:key").key == "key"
    for text in ("a.json", ":key", "a.json:"):
        with pytest.raises(ValueError, match=r"FILE\.json:KEY"):
            FoldFile.parse(text)
