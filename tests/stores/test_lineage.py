"""Caches that were made from caches: no cycles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tabled import write_cache

from egotools.errors import StoreError
from egotools.stores import Recipe
from egotools.stores.lineage import check_no_cycle, cycle_in, inputs_of


def derived_from(folder: Path, name: str, *inputs: str) -> Path:
    origin = {"inputs": {each: str(folder / f"{each}.lmdb") for each in inputs}}
    write_cache(
        folder / f"{name}.lmdb", ["a"], np.ones((1, 1)), recipe=Recipe({"derivation": "pool", "of": name}, origin)
    )
    return folder / f"{name}.lmdb"


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({}, []),
        ({"c": ["a", "b"], "b": ["a"]}, []),
        ({"a": ["a"]}, ["a", "a"]),
    ],
)
def test_a_cycle_is_found_with_the_nodes_between(graph, cycle):
    assert cycle_in(graph) == cycle


def test_a_longer_cycle_ends_where_it_begins():
    found = cycle_in({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})
    assert found[0] == found[-1]
    assert {*found} == {"a", "b", "c"}


def test_a_cache_whose_input_is_extracted_or_gone_is_no_cycle(tmp_path):
    write_cache(tmp_path / "x.lmdb", ["a"], np.ones((1, 1)))
    cache = derived_from(tmp_path, "y", "x", "gone")
    assert inputs_of(cache) == [tmp_path / "x.lmdb", tmp_path / "gone.lmdb"]
    assert inputs_of(tmp_path / "x.lmdb") == inputs_of(tmp_path / "gone.lmdb") == []
    check_no_cycle(cache)


def test_inputs_that_lead_back_are_named(tmp_path):
    derived_from(tmp_path, "b", "a")
    first = derived_from(tmp_path, "a", "b")
    behind = derived_from(tmp_path, "c", "a")
    for cache in (first, behind):
        with pytest.raises(StoreError, match=rf"{cache}: its inputs form a cycle: .*[ab]\.lmdb <- .*derive it again"):
            check_no_cycle(cache)
