"""Copying, publishing, merging and converting caches, by their functions."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
from cache_rows import make_rows

from egotools.errors import RecipeError, StoreError
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.aside import aside, explained
from egotools.stores.copying import check_space, copied_pieces, copy_clip, intact
from egotools.stores.merge import convert, merge
from egotools.stores.publish import check_free, publish
from egotools.types import Rows

RECIPE = Recipe({"extractor": "x"}, {"manifest": "m.csv"})


def cache(path, clips, recipe=RECIPE):
    """A cache of clips, each by a seed or its rows."""
    with open_writer(path, recipe) as writer:
        for id, rows in clips.items():
            writer.append(id, make_rows(3, rows) if isinstance(rows, int) else rows)
            writer.finish(id, Source(f"/videos/{id}.mp4", size=7))
        writer.commit()
        writer.seal()
    return path


def contents(path):
    store = open_store(path)
    return {id: (store[id].values.tolist(), store[id].times.tolist(), store.source(id)) for id in store}


def damage(path, rows):
    """Changes a byte of some rows where they lie in the file."""
    whole = bytearray(path.read_bytes())
    at = whole.index(rows.values.tobytes())
    whole[at] ^= 1
    path.write_bytes(whole)


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_a_copied_clip_has_its_rows_times_and_source(tmp_path, suffix):
    store = open_store(cache(tmp_path / "x.lmdb", {"a": 1, "b": 2}))
    with open_writer(tmp_path / f"y{suffix}", RECIPE) as writer:
        copy_clip(store, "b", writer)
        writer.commit()
        writer.seal()
    assert contents(tmp_path / f"y{suffix}") == {"b": contents(tmp_path / "x.lmdb")["b"]}


def test_pieces_are_the_rows_and_take_another_dtype(tmp_path):
    store = open_store(cache(tmp_path / "x.lmdb", {"a": 1}))
    for dtype in (None, np.dtype("<f4"), np.dtype("<f2")):
        pieces = list(copied_pieces(store, "a", dtype))
        values = np.concatenate([piece.values for piece in pieces])
        assert values.dtype == (dtype or np.dtype("<f4"))
        assert values.tolist() == store["a"].values.astype(values.dtype).tolist()
        assert np.concatenate([piece.times for piece in pieces]).tolist() == store["a"].times.tolist()


def test_a_value_too_large_for_float16_is_refused_and_infinity_is_none(tmp_path):
    rows = [Rows(np.array([[value, 1.0]], np.float32), np.array([[0.0, 1.0]])) for value in (7e4, np.inf, np.nan)]
    store = open_store(cache(tmp_path / "x.lmdb", dict(zip("abc", rows, strict=True))))
    with pytest.raises(StoreError, match=r"clip 'a' has values up to 7e\+04, too large for float16"):
        list(copied_pieces(store, "a", np.dtype("<f2")))
    for id in "bc":
        (piece,) = copied_pieces(store, id, np.dtype("<f2"))
        np.testing.assert_array_equal(piece.values, store[id].values)


def test_a_damaged_clip_is_neither_copied_nor_published_and_others_are(tmp_path):
    path = cache(tmp_path / "x.lmdb", {"a": make_rows(3, 1), "b": 2})
    damage(path, make_rows(3, 1))
    store = open_store(path)
    assert len(intact(store, "b")) == 3
    with pytest.raises(StoreError, match=r"x\.lmdb: damaged: clip 'a'"):
        list(copied_pieces(store, "a"))
    with pytest.raises(StoreError, match="damaged: clip 'a'"):
        publish(tmp_path / "y.lmdb", RECIPE, [("a", store)])
    assert sorted(each.name for each in tmp_path.glob("[!.]*")) == ["x.lmdb", "x.lmdb-lock"]


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 0, 2_000_000))
    check_space(tmp_path, 2_000_000)
    with pytest.raises(StoreError, match=r"disk full: 2 MB are free and 3\.5 MB are needed"):
        check_space(tmp_path, 3_500_000)


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_a_published_cache_has_the_given_recipe_and_clips_of_several(tmp_path, suffix):
    one, other = (open_store(cache(tmp_path / f"{n}.lmdb", {name: n, "z": 9})) for n, name in enumerate("ab"))
    out, told = tmp_path / f"y{suffix}", []
    publish(out, Recipe({"k": 1}), [("a", one), ("b", other)], progress=lambda *args: told.append(args))
    assert contents(out) == {"a": contents(one.path)["a"], "b": contents(other.path)["b"]}
    assert open_store(out).recipe.identity == {"k": 1}
    assert told[-1][1:3] == (2, 2)


def test_an_existing_cache_is_replaced_only_if_asked_and_its_readers_keep_it(tmp_path):
    path, other = cache(tmp_path / "x.lmdb", {"a": 1}), open_store(cache(tmp_path / "y.lmdb", {"b": 2}))
    reader = open_store(path)
    with pytest.raises(StoreError, match=r"x\.lmdb exists; .*--overwrite"):
        publish(path, RECIPE, [("b", other)])
    assert list(open_store(path)) == ["a"]
    publish(path, RECIPE, [("b", other)], overwrite=True)
    assert list(open_store(path)) == ["b"]
    assert reader["a"].values.tolist() == make_rows(3, 1).values.tolist()


def test_names_that_cannot_be_a_cache_are_refused(tmp_path):
    (tmp_path / "x.lmdb").mkdir()
    check_free(tmp_path / "free.h5", overwrite=False)
    for overwrite in (False, True):
        with pytest.raises(StoreError, match=r"must end in \.lmdb or \.h5"):
            check_free(tmp_path / "x.npz", overwrite=overwrite)
        with pytest.raises(StoreError, match="exists"):  # a folder is never replaced
            check_free(tmp_path / "x.lmdb", overwrite=overwrite)


def test_the_folder_aside_is_empty_and_gone_afterwards_whatever_happens(tmp_path):
    path = tmp_path / "deep" / "x.lmdb"
    (tmp_path / "deep" / ".x.lmdb.aside").mkdir(parents=True)
    (tmp_path / "deep" / ".x.lmdb.aside" / "leftover").write_text("of a kill")
    seen = []

    def fail_inside() -> None:
        with aside(path) as folder:
            seen.append((folder, list(folder.iterdir())))
            (folder / "new").write_text("")
            with pytest.raises(StoreError, match=r"x\.lmdb.*process"), aside(path):
                pytest.fail("two writers")
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    ((folder, content),) = seen
    assert content == []
    assert not folder.exists()
    with aside(path, "rebuild") as other:
        assert other != folder


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "x.lmdb: disk full"), (errno.EDQUOT, "x.lmdb: disk full"), (errno.EACCES, "cannot be written")],
)
def test_an_error_of_the_system_is_one_line_that_names_what_failed(tmp_path, number, said):
    with pytest.raises(StoreError, match=said) as caught, explained(tmp_path / "x.lmdb"):
        raise OSError(number, os.strerror(number), str(tmp_path / "part"))
    assert f"({tmp_path}/part)" in str(caught.value)
    with pytest.raises(StoreError) as caught, explained(tmp_path / "x.lmdb"):
        raise OSError(number, os.strerror(number), str(tmp_path / "x.lmdb"))
    assert str(caught.value).count("x.lmdb") == 1


def test_merging_is_a_union_in_any_order(tmp_path):
    paths = [cache(tmp_path / "x.lmdb", {"b": 2, "a": 1}), cache(tmp_path / "y.h5", {"c": 3, "b": 2})]
    assert merge(paths, tmp_path / "one.lmdb") == merge(paths[::-1], tmp_path / "other.h5") == 3
    assert contents(tmp_path / "one.lmdb") == contents(tmp_path / "other.h5") == contents(paths[0]) | contents(paths[1])
    assert list(open_store(tmp_path / "one.lmdb")) == ["a", "b", "c"]


def test_clips_and_recipes_that_disagree_are_not_merged(tmp_path):
    one = cache(tmp_path / "x.lmdb", {"a": 1})
    with pytest.raises(StoreError, match=r"clip 'a' has other rows in .*y\.lmdb than in .*x\.lmdb"):
        merge([one, cache(tmp_path / "y.lmdb", {"a": 2})], tmp_path / "out.lmdb")
    other = cache(tmp_path / "z.lmdb", {"b": 1}, Recipe({"extractor": "x", "options": {"k": 2}}))
    with pytest.raises(RecipeError, match=r"z\.lmdb was made with options="):
        merge([one, other], tmp_path / "out.lmdb")
    assert not (tmp_path / "out.lmdb").exists()


def test_equal_nan_are_equal_and_signed_zeros_are_not(tmp_path):
    times = np.array([[0.0, 1.0]])
    for name, value in (("x", np.nan), ("y", np.nan), ("z", 0.0), ("w", -0.0)):
        cache(tmp_path / f"{name}.lmdb", {"a": Rows(np.array([[value]], np.float32), times)})
    assert merge([tmp_path / "x.lmdb", tmp_path / "y.lmdb"], tmp_path / "nan.lmdb") == 1
    with pytest.raises(StoreError, match="other rows"):
        merge([tmp_path / "z.lmdb", tmp_path / "w.lmdb"], tmp_path / "zero.lmdb")


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ([{"manifest": "m", "limit": 3}, {"manifest": "m", "limit": 5}], {"manifest": "m", "limit": 5}),
        ([{"manifest": "m", "limit": 3}, {"manifest": "m"}], {"manifest": "m"}),
        ([{"manifest": "n", "limit": 3}, {"manifest": "m", "limit": 5}], {"manifest": ["m", "n"]}),
        ([{"manifest": ["a", "c"]}, {"manifest": "b"}], {"manifest": ["a", "b", "c"]}),
        ([{"manifest": "m", "manifest_digest": "1"}, {}], {"manifest": "m", "manifest_digest": "1"}),
        ([{"manifest": "m", "manifest_digest": "1"}, {"manifest": "n"}], {"manifest": ["m", "n"]}),
        ([{}, {}], {}),
    ],
)
def test_the_manifests_of_all_are_kept_and_a_limit_only_where_it_holds(tmp_path, origins, expected):
    paths = [
        cache(tmp_path / f"{number}.lmdb", {str(number): number}, Recipe({"extractor": "x"}, origin))
        for number, origin in enumerate(origins)
    ]
    merge(paths, tmp_path / "out.lmdb")
    origin = dict(open_store(tmp_path / "out.lmdb").recipe.origin)
    assert origin.pop("merged") == [str(path) for path in paths]
    assert origin == expected


def test_converting_there_and_back_gives_the_same_rows(tmp_path):
    path = cache(tmp_path / "x.lmdb", {"a": 1, "b": 2})
    assert convert(path, tmp_path / "y.h5") == convert(tmp_path / "y.h5", tmp_path / "z.lmdb") == 2
    assert contents(tmp_path / "z.lmdb") == contents(path)
    assert open_store(tmp_path / "z.lmdb").recipe.identity == RECIPE.identity
    assert open_store(tmp_path / "z.lmdb").recipe.origin["converted"] == str(tmp_path / "y.h5")


def test_another_dtype_is_another_recipe_and_indices_stay_float32(tmp_path):
    convert(cache(tmp_path / "x.lmdb", {"a": 1}), tmp_path / "y.lmdb", dtype="float16")
    half = open_store(tmp_path / "y.lmdb")
    assert half.recipe.identity == {"extractor": "x", "dtype": "float16"}
    assert half["a"].values.tolist() == make_rows(3, 1).values.astype(np.float16).tolist()
    rows = Rows(np.array([[2.0]], np.float32), np.array([[0.0, 1.0]]))
    indices = cache(tmp_path / "z.lmdb", {"a": rows}, Recipe({"derivation": "x"}, {"learned": {"classes": 3}}))
    with pytest.raises(StoreError, match="float16"):
        convert(indices, tmp_path / "w.lmdb", dtype="float16")
