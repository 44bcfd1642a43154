"""What runs record of their features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tabled import write_cache

from egotools.errors import RunError, TableError
from egotools.methods.records import check_records, keep_records, read_records, write_records
from egotools.stores import Recipe
from egotools.tables.matching import features_of, matched
from egotools.training.runs import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.begin(tmp_path / "run", Recipe({"method": "toy"}))


def cache(path: Path, **identity: object) -> Path:
    return write_cache(path, ["a"], np.ones((1, 2)), Recipe(identity))


def test_records_are_read_as_they_were_kept_in_their_order(run, tmp_path):
    write_records(run, [cache(tmp_path / "b.lmdb", extractor="x"), cache(tmp_path / "a.lmdb", extractor="y")])
    records = read_records(run)
    assert list(records) == ["b", "a"]
    assert records["b"]["identity"] == {"extractor": "x"}
    assert records["b"]["file"] is None


def test_two_caches_of_one_name_keep_their_places(run, tmp_path):
    caches = [cache(tmp_path / folder / "x.lmdb", extractor=folder) for folder in ("one", "two")]
    records = keep_records(run, caches)
    assert list(records) == ["x", "x-2"]
    features = features_of(records)
    assert [feature.name for feature in features] == ["x", "x"]
    assert matched(features, caches[::-1], run=run.path) == (caches, [])
    same = cache(tmp_path / "three/x.lmdb", extractor="one")
    with pytest.raises(TableError, match="both match the features 'x'"):
        matched(features, [*caches, same], run=run.path)


def test_a_run_without_records_says_what_to_do(run):
    with pytest.raises(RunError, match="train it again with another --out"):
        read_records(run)


def test_features_that_follow_from_themselves_are_refused(run, tmp_path):
    record = keep_records(run, [cache(tmp_path / "x.lmdb", extractor="x")])["x"]
    with pytest.raises(ValueError, match=r"'records\.x' follows from itself"):
        check_records({"x": {**record, "inputs": {"y": {**record, "inputs": {}}}}})
