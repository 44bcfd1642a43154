"""Parts of a table, by hand: selections, joins, columns, and feature groups of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from tabled import write_cache, write_table

from egotools.errors import StoreError, TableError
from egotools.stores import Recipe, open_store
from egotools.tables.groups import Group, kind_of, one_hot, only, read_features
from egotools.tables.matching import Feature, essence_of, features_of, matched, numbered_inputs, record_of
from egotools.tables.table import Columns, Table, joined, manifest_digest, numbers_of, reduced

TEXTS = some.lists(some.text("abä", max_size=2), max_size=9)


def table(ids, **labels):
    count = len(ids)
    columns = {name: np.array(values, object) for name, values in labels.items()}
    times = np.stack([np.arange(count), np.arange(count) + 1.0], axis=1)
    values = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    return Table(np.array([*ids], object), values, times, columns, np.array(["train"] * count, object))


def content(table):
    labels = {name: table.labels[name].tolist() for name in table.labels}
    return table.ids.tolist(), table.values.tolist(), table.times.tolist(), labels, table.split.tolist()


@given(TEXTS)
def test_numbers_of_texts_lead_back_to_them(texts):
    names, numbers = numbers_of(texts)
    assert [names[number] for number in numbers] == texts
    assert names == sorted(set(texts))


@given(texts=TEXTS.filter(len), data=some.data())
def test_columns_of_selected_rows_are_the_selected_texts(texts, data):
    rows = np.array(data.draw(some.lists(some.integers(0, len(texts) - 1), max_size=6)), np.int64)
    columns = Columns({"x": np.array(texts, object)}, rows)
    assert columns["x"].tolist() == [texts[row] for row in rows]
    further = np.arange(len(rows))[::-1]
    assert Columns(columns, further)["x"].tolist() == [texts[row] for row in rows][::-1]
    assert ("x" in columns, "y" in columns, list(columns), len(columns)) == (True, False, ["x"], 1)


def test_parts_of_a_table_joined_again_are_the_table():
    whole = table("abcd", video=["v", "w", "", "v"], verb=["1", "2", "3", "4"])
    first = np.array([True, True, False, False])
    assert content(joined([whole.only(first), whole.only(~first)])) == content(whole)
    assert content(whole.only(first).only(np.array([False, True]))) == content(
        whole.only(np.array([False, True, False, False]))
    )
    assert content(whole.only(np.zeros(4, bool)))[0] == []


def test_without_values_everything_else_stays():
    whole = replace(table("ab", video=["v", "w"]), parts=(("x.lmdb", 2),))
    bare = whole.without_values()
    assert bare.values.shape == (2, 0)
    assert bare.parts == ()
    assert content(replace(bare, values=whole.values)) == content(whole)


def test_labels_that_case_alone_tells_apart_are_remarked_on_and_empty_ones_left_out():
    whole = table("abcd", verb=["Open", "open", "", "close"])
    found = whole.labeled("verb")
    assert found.ids.tolist() == ["a", "b", "d"]
    assert len(found.remarks) == 2
    assert "'c'" in found.remarks[0]
    assert "'Open', 'open'" in found.remarks[1]
    complete = table("ab", verb=["x", "y"])
    assert complete.labeled("verb") is complete
    with pytest.raises(TableError, match="'verb'"):
        table("ab", verb=["", ""]).labeled("verb")


def test_a_clip_of_one_row_is_that_row_and_of_several_their_mean_and_deviation(tmp_path, rng):
    from egotools.stores import Source, open_writer
    from egotools.types import Rows

    values = rng.normal(size=(5, 3)).astype(np.float32)
    with open_writer(tmp_path / "x.lmdb", Recipe({"extractor": "x"})) as writer:
        for id, own in (("one", values[:1]), ("five", values)):
            writer.append(id, Rows(own, np.zeros((len(own), 2))))
            writer.finish(id, Source(""))
        writer.commit()
    store = open_store(tmp_path / "x.lmdb")
    assert reduced(store.stored("one"), "mean").tolist() == values[0].tolist()
    assert reduced(store.stored("one"), "mean+std").tolist() == [*values[0].tolist(), 0, 0, 0]
    wide = values.astype(np.float64)
    np.testing.assert_allclose(reduced(store.stored("five"), "mean"), wide.mean(0), rtol=1e-12)
    expected = [*wide.mean(0), *np.sqrt(np.square(wide - wide.mean(0)).mean(0))]
    np.testing.assert_allclose(reduced(store.stored("five"), "mean+std"), expected, rtol=1e-12)


def test_a_manifest_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(TableError, match=r"gone\.csv"):
        manifest_digest(tmp_path / "gone.csv")
    (tmp_path / "m.csv").write_text("id\n")
    before = manifest_digest(tmp_path / "m.csv")
    (tmp_path / "m.csv").rename(tmp_path / "n.csv")
    assert manifest_digest(tmp_path / "n.csv") == before


def group(classes, name="similarity-csn"):
    return Group(name, Path("x.lmdb"), 0, classes, classes, {}, {})


def test_an_index_is_a_vector_with_a_single_one_and_none_is_zeros():
    hot = one_hot(np.array([[2], [-1], [0]], np.float32), group(3))
    assert hot.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert hot.dtype == np.float32
    for wrong in ([[3]], [[-2]], [[0.5]], [[0, 1]]):
        with pytest.raises(TableError, match=r"x\.lmdb: .*3 clusters"):
            one_hot(np.array(wrong, np.float32), group(3))


@pytest.fixture
def caches(tmp_path, rng):
    """By name, caches of one kind each, with the manifest beside them."""
    write_table(tmp_path / "m.csv", "ab", {})
    recipes = {
        "mine": Recipe({"extractor": "color"}),
        "c": Recipe({"extractor": "csn", "options": {"k": 1}}),
        "similarity-csn": Recipe({"derivation": "similarity"}),
        "raw": Recipe({"extractor": "m3s"}),
        "indices": Recipe({"derivation": "similarity"}, {"learned": {"classes": 4}}),
    }
    for name, recipe in recipes.items():
        values = np.array([[3], [-1]]) if name == "indices" else rng.normal(size=(2, 2))
        write_cache(tmp_path / f"{name}.lmdb", "ab", values, recipe)
    return {name: tmp_path / f"{name}.lmdb" for name in recipes}


def test_groups_come_in_the_order_of_the_published_weights_and_others_last(caches, tmp_path):
    found = read_features(tmp_path / "m.csv", list(caches.values()))
    names = ["raw", "c", "similarity-csn", "indices", "mine"]
    assert [each.name for each in found.groups] == names
    assert [each.kind for each in found.groups] == ["m3s", "csn", "similarity-csn", "similarity", "mine"]
    assert [each.kind for each in found.groups] == [kind_of(open_store(caches[name])) for name in names]
    assert [each.tier for each in found.groups] == ["raw", "c", "similarity", "similarity", "mine"]
    assert [(each.start, each.stop, each.width) for each in found.groups] == [
        (0, 2, 2), (2, 4, 2), (4, 6, 2), (6, 10, 4), (10, 12, 2),
    ]  # fmt: skip
    for each in found.groups:
        own = found.table.values[:, each.start : each.stop]
        stored = np.concatenate([open_store(each.cache)[id].values for id in "ab"])
        assert own.tolist() == ([[0, 0, 0, 1], [0, 0, 0, 0]] if each.name == "indices" else stored.tolist())


def test_the_columns_of_some_groups_move_together(caches, tmp_path):
    whole = read_features(tmp_path / "m.csv", list(caches.values()))
    part = only(whole, ["mine", "c"])
    assert [(each.name, each.start, each.stop) for each in part.groups] == [("c", 0, 2), ("mine", 2, 4)]
    assert part.table.values.tolist() == whole.table.values[:, [2, 3, 10, 11]].tolist()


def test_caches_of_one_name_are_refused_and_a_run_gives_names_and_widths(caches, tmp_path, rng):
    other = write_cache(tmp_path / "deep" / "c.lmdb", "ab", rng.normal(size=(2, 3)))
    with pytest.raises(TableError, match="two caches are named c"):
        read_features(tmp_path / "m.csv", [caches["c"], other])
    wanted = [replace(group(None, "csn"), start=0, stop=2), replace(group(None, "rest"), start=2, stop=4)]
    found = read_features(tmp_path / "m.csv", [caches["mine"], caches["c"]], groups_of_run=wanted)
    assert [(each.name, each.cache) for each in found.groups] == [("csn", caches["mine"]), ("rest", caches["c"])]
    with pytest.raises(TableError, match=r"c\.lmdb has 3 columns, .* 2 of 'csn'"):
        read_features(tmp_path / "m.csv", [other], groups_of_run=wanted[:1])


def test_caches_are_matched_in_the_order_of_the_run_and_others_are_named(caches, tmp_path):
    records = {name: record_of(caches[name]) for name in ("c", "mine", "raw")}
    paths = [caches[name] for name in ("raw", "similarity-csn", "mine", "c")]
    found, remarks = matched(features_of(records), paths, run=tmp_path / "r")
    assert found == [caches["c"], caches["mine"], caches["raw"]]
    assert len(remarks) == 1
    assert str(caches["similarity-csn"]) in remarks[0]


def test_a_renamed_cache_matches_by_recipe_and_imported_rows_by_name_alone(caches, tmp_path):
    made = Feature("elsewhere", {"extractor": "csn", "options": {"k": 1}})
    assert not made.is_imported
    assert matched([made], [caches["mine"], caches["c"]], run=tmp_path)[0] == [caches["c"]]
    imported = [write_cache(tmp_path / f"{name}.lmdb", "ab", np.ones((2, 1))) for name in ("p", "q")]
    wanted = Feature("q", {"imported": {"content": "other rows"}})
    assert wanted.is_imported
    assert matched([wanted], imported, run=tmp_path)[0] == [imported[1]]


def test_what_matches_twice_or_not_at_all_is_named(caches, tmp_path, rng):
    twin = write_cache(tmp_path / "twin.lmdb", "ab", rng.normal(size=(2, 2)), Recipe({"extractor": "color"}))
    feature = Feature("gone", {"extractor": "color"})
    with pytest.raises(TableError, match=r"mine\.lmdb and .*twin\.lmdb both match the features 'gone'"):
        matched([feature], [caches["mine"], twin], run=tmp_path / "r")
    differing = Feature("c", {"extractor": "csn", "options": {"k": 2}})
    with pytest.raises(TableError, match=r"c\.lmdb was made with options\.k=1; .* with options\.k=2"):
        matched([differing], [caches["c"], caches["mine"]], run=tmp_path / "r")
    with pytest.raises(TableError, match=r"'absent'.*absent\.lmdb"):
        matched([Feature("absent", {"extractor": "hog"}), feature], [caches["mine"]], run=tmp_path / "r")


def test_the_essence_of_what_was_derived_has_recipes_in_the_place_of_contents(tmp_path):
    inner = {"identity": {"extractor": "color"}, "origin": {}, "cache": "i.lmdb", "inputs": {}, "file": None}
    identity = {"derivation": "pool", "inputs": {"i": "0123", "gone": "4567"}}
    record = {"identity": identity, "origin": {}, "cache": "p.lmdb", "inputs": {"i": inner}, "file": None}
    expected = {"derivation": "pool", "inputs": {"i": {"extractor": "color"}, "gone": "4567"}}
    assert essence_of(record) == expected
    assert essence_of({**record, "origin": {"learned": {}}}) == identity  # fitted on these rows: contents count
    assert essence_of(inner) == {"extractor": "color"}
    assert identity["inputs"]["i"] == "0123"


def test_inputs_are_numbered_by_position_with_their_clips(caches):
    found = numbered_inputs([caches["c"], caches["mine"]])
    assert found == {
        "1": {"clips": 2, "extractor": "csn", "options": {"k": 1}},
        "2": {"clips": 2, "extractor": "color"},
    }
    with pytest.raises(StoreError):
        numbered_inputs([caches["c"].with_name("gone.lmdb")])
