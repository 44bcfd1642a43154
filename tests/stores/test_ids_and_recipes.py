"""Ids as keys, and recipes compared: what is sorted, refused and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from egotools.errors import RecipeError, StoreError
from egotools.stores.store import Recipe, check_dtype, check_same_recipe, classes_of, differences, id_of, key_of

IDS = some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=90)
WORDS = some.text("ab", min_size=1, max_size=2)
IDENTITIES = some.recursive(
    some.none() | some.integers(0, 3) | WORDS, lambda inner: some.dictionaries(WORDS, inner, max_size=3), max_leaves=6
).filter(lambda value: isinstance(value, dict))


@given(IDS)
def test_an_id_comes_back_from_its_key(id):
    assert id_of(key_of(id), Path("x.lmdb")) == id


@given(some.lists(IDS, max_size=6))
def test_keys_sort_as_code_points_do(ids):
    """UTF-8 keeps their order, which UTF-16 does not."""
    assert sorted(ids, key=key_of) == sorted(ids)


@pytest.mark.parametrize(
    ("id", "said"), [("", "1 to 400 bytes"), ("ä" * 201, "1 to 400 bytes"), ("a\0b", "no NUL"), ("\udcff", "UTF-8")]
)
def test_what_cannot_be_an_id_is_refused(id, said):
    assert len(key_of("ä" * 200)) == 400
    with pytest.raises(StoreError, match=said):
        key_of(id)


@pytest.mark.parametrize("key", [b"", b"\xff", b"a\0", b"a" * 401])
def test_bytes_that_are_no_id_name_the_file(key):
    with pytest.raises(StoreError, match=r"x\.lmdb"):
        id_of(key, Path("x.lmdb"))


@given(IDENTITIES, IDENTITIES)
def test_differences_are_those_of_every_entry_and_turn_around(one, other):
    def leaves(value, prefix=""):
        """Every entry by its dotted name; empty mappings count as entries."""
        found = {}
        for name, each in value.items():
            found[prefix + name] = each
            if isinstance(each, dict):
                found |= leaves(each, f"{prefix}{name}.")
        return found

    told = list(differences(one, other))
    assert bool(told) == any(
        leaves(one).get(name) != leaves(other).get(name) for name in {*leaves(one), *leaves(other)}
    )
    assert {(name, now, was) for name, was, now in map(_hashable, told)} == {*map(_hashable, differences(other, one))}
    for name, was, now in told:
        assert (leaves(one).get(name), leaves(other).get(name)) == (was, now)
        assert was != now


def _hashable(difference):
    name, was, now = difference
    return name, repr(was), repr(now)


def test_nested_entries_are_told_by_dotted_names_in_the_order_of_the_first():
    there = {"b": {"x": 1, "y": 2}, "a": 0, "same": [1]}
    wanted = {"same": [1], "new": 5, "a": 1, "b": {"y": 3, "x": 1}}
    assert list(differences(there, wanted)) == [("b.y", 2, 3), ("a", 0, 1), ("new", None, 5)]
    assert list(differences({"a": {"x": 1}}, {"a": 3})) == [("a", {"x": 1}, 3)]


def test_recipes_are_compared_as_they_would_be_written():
    path = Path("x.lmdb")
    check_same_recipe(path, Recipe({"k": [1, 2]}, {"by": "one"}), Recipe({"k": (1, 2)}, {"by": "another"}))
    with pytest.raises(RecipeError, match=r"x\.lmdb was made with options\.k=1, not 2; choose another --out"):
        check_same_recipe(path, Recipe({"options": {"k": 1}}), Recipe({"options": {"k": 2}}))


def test_only_a_cache_of_indices_has_classes_and_needs_float32():
    values, indices = Recipe({}, {"learned": {"file": "x"}}), Recipe({}, {"learned": {"classes": 7}})
    assert [classes_of(each) for each in (Recipe({}), Recipe({}, {"learned": None}), values, indices)] == [
        None, None, None, 7,
    ]  # fmt: skip
    check_dtype(values, "float16", Path("x.h5"))
    check_dtype(indices, np.dtype("<f4"), Path("x.h5"))
    with pytest.raises(StoreError, match=r"x\.h5: .*float16"):
        check_dtype(indices, "float16", Path("x.h5"))
