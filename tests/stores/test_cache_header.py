"""The header of a cache: it reads back as written, and each wrong entry is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from egotools.errors import StoreError
from egotools.stores.header import Header, read_header
from egotools.stores.store import Recipe

PATH = Path("x.lmdb")
RECIPE = Recipe({"extractor": "color", "options": {"k": 1}}, {"manifest": "m.csv"})
COUNTS = some.integers(0, 1 << 48)


def changed(**entries):
    """The text of a header that is right but for these entries."""
    value = Header(RECIPE, np.dtype("<f4"), 3, 2, 10).to_json_value()
    return json.dumps({**value, **entries})


@given(
    dtype=some.sampled_from([None, "<f4", "<f2"]),
    counts=some.tuples(COUNTS, COUNTS, COUNTS, COUNTS),
    committed=some.none() | COUNTS,
)
def test_a_header_reads_back_as_it_was_written(dtype, counts, committed):
    width, clips, rows, blocks = counts
    own = {} if committed is None else {"blocks": blocks, "committed": committed}  # of LMDB
    header = Header(RECIPE, None if dtype is None else np.dtype(dtype), width, clips, rows, **own)
    for text in (json.dumps(header.to_json_value()), json.dumps(header.to_json_value()).encode()):
        assert read_header(PATH, text) == header


def test_values_that_json_lacks_are_written_as_it_has_them():
    recipe = Recipe({"options": {"size": (1, np.int64(2))}, "extractor": "x"}, {"source": Path("a/b")})
    read = read_header(PATH, json.dumps(Header(recipe, None, 0, 0, 0).to_json_value()))
    assert read.recipe == Recipe({"options": {"size": [1, 2]}, "extractor": "x"}, {"source": str(Path("a/b"))})


def test_entries_of_later_versions_are_ignored():
    assert read_header(PATH, changed(compression="zstd")) == read_header(PATH, changed())


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"format": "zip", "version": 1}', b"\xff", '{"format": NaN}'])
def test_what_is_no_header_is_no_cache(text):
    with pytest.raises(StoreError, match=r"^x\.lmdb: "):
        read_header(PATH, text)


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.5])
def test_another_layout_asks_for_another_egotools(version):
    with pytest.raises(StoreError, match=f"layout {version}, but this egotools reads layout 1; update egotools"):
        read_header(PATH, changed(version=version))


@pytest.mark.parametrize("name", ["width", "clips", "rows", "blocks", "committed"])
@pytest.mark.parametrize("value", [-1, 1.0, True, "3", (1 << 48) + 1, [3]])
def test_a_count_that_is_none_is_named(name, value):
    with pytest.raises(StoreError, match=rf"^x\.lmdb: damaged: its header has {name}="):
        read_header(PATH, changed(**{name: value}))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"dtype": "float64"}, "dtype=float64"),
        ({"dtype": ["float32"]}, "dtype="),
        ({"identity": []}, "identity"),
        ({"identity": {"extractor": 3}}, "extractor"),
        ({"identity": {"options": []}}, "options"),
        ({"origin": {"manifest": 3}}, "manifest"),
        ({"origin": {"limit": -1}}, r"origin\.limit=-1"),
        ({"origin": {"shard": "3/2"}}, r"origin\.shard=3/2"),
        ({"origin": {"shard": 1}}, "shard"),
        ({"origin": {"learned": {"classes": 0}}}, r"origin\.learned\.classes=0"),
        ({"origin": {"learned": {"classes": (1 << 20) + 1}}}, r"origin\.learned\.classes=1048577"),
        ({"width": None}, "width=None"),
    ],
)
def test_an_entry_of_another_kind_is_named(entries, said):
    with pytest.raises(StoreError, match=rf"^x\.lmdb: damaged: .*{said}"):
        read_header(PATH, changed(**entries))


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(StoreError) as caught:
        read_header(PATH, changed(dtype="f" * 1000))
    assert "f" * 40 in str(caught.value)
    assert "f" * 41 not in str(caught.value)
