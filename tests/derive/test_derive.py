"""Caches made from caches: their numbers, their recipes, and that a reader never sees half of one."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from cache_rows import make_rows
from derived_caches import CLIPS, SOURCE, damage, make_cache, pooled

from egotools.derive.deriving import Made, derive
from egotools.derive.pool import STATISTICS, Pool
from egotools.errors import RecipeError, StoreError
from egotools.stores import Recipe, open_store, open_writer
from egotools.stores import store as store_module
from egotools.stores.lineage import is_derived
from egotools.stores.writer_lock import WriterLock
from egotools.types import Rows


@pytest.fixture
def input(tmp_path):
    return make_cache(tmp_path / "a" / "color.lmdb")


def one_row(tmp_path: Path, rows: Rows, *statistics: str) -> Rows:
    """What pooling makes of one clip with these rows."""
    shutil.rmtree(tmp_path / "one", ignore_errors=True)
    derive(pooled(tmp_path / "one/out.lmdb", make_cache(tmp_path / "one/in.lmdb", {"a": rows}), *statistics))
    return open_store(tmp_path / "one/out.lmdb")["a"]


def by_hand(column: list[float]) -> dict[str, float]:
    mean = math.fsum(column) / len(column)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in column) / len(column))
    return {"mean": mean, "std": deviation, "max": max(column), "min": min(column)}


# What pooling makes of rows


@pytest.mark.parametrize("piece", [1 << 22, 48], ids=["in one piece", "two rows a piece"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_statistics_equal_their_definitions(tmp_path, monkeypatch, piece, dtype):
    monkeypatch.setattr(store_module, "PIECE", piece)
    rows = make_rows(7, 3, dtype=dtype)
    found = one_row(tmp_path, rows, *STATISTICS).values
    assert found.dtype == np.float32
    for feature in range(6):
        expected = by_hand(rows.values[:, feature].tolist())
        parts = dict(zip(STATISTICS, found[0, feature::6].tolist(), strict=True))
        assert parts == pytest.approx(expected, rel=1e-6)  # float64 sums, rounded to float32


def test_statistics_come_in_the_order_that_was_asked_for(tmp_path):
    rows = make_rows(4, 3)
    values = one_row(tmp_path, rows, "min", "mean").values[0]
    assert values[:6].tolist() == rows.values.min(0).tolist()
    assert values[6:] == pytest.approx(rows.values.mean(0), rel=1e-6)


def test_equal_rows_have_their_value_as_the_mean_and_no_deviation(tmp_path):
    rows = Rows(np.full((1001, 2), 0.1, np.float32), make_rows(1001).times)
    assert one_row(tmp_path, rows, "mean", "std").values.tolist() == [[np.float32(0.1)] * 2 + [0.0] * 2]


def test_a_row_s_times_span_those_of_the_rows_it_was_made_from(tmp_path):
    times = np.array([[2.0, 3.0], [2.5, 6.0], [1.5, 2.0]])
    assert one_row(tmp_path, Rows(make_rows(3).values, times)).times.tolist() == [[1.5, 6.0]]


def test_values_that_are_not_finite_stay_visible(tmp_path):
    rows = Rows(np.array([[1, np.nan, np.inf], [2, 0, 0]], np.float32), make_rows(2).times)
    values = one_row(tmp_path, rows, *STATISTICS).values.reshape(4, 3)
    assert values[:, 0].tolist() == [1.5, 0.5, 2, 1]
    assert np.isnan(values[:, 1]).all()
    assert values[[0, 2, 3], 2].tolist() == [np.inf, np.inf, 0]


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_a_clip_without_rows_stays_one(tmp_path, suffix):
    for name, clips in {"some": CLIPS, "none": {"b": make_rows(0)}}.items():
        made = derive(pooled(tmp_path / f"out/{name}{suffix}", make_cache(tmp_path / f"{name}{suffix}", clips), "std"))
        store = open_store(made.cache)
        assert list(store) == list(clips)
        assert [len(store[id].values) for id in store] == [min(len(rows.values), 1) for rows in clips.values()]


@pytest.mark.parametrize("statistics", [(), ("median",), ("mean", "mean"), ("",)])
def test_unusable_statistics_are_refused(statistics):
    with pytest.raises(ValueError, match="--statistics"):
        Pool(statistics)


# What deriving makes of caches


@pytest.mark.parametrize("there", ["color.lmdb", "color.h5"])
@pytest.mark.parametrize("out", ["pooled.lmdb", "pooled.h5"])
def test_clips_come_over_whole_and_with_their_sources(tmp_path, there, out):
    source = make_cache(tmp_path / there)
    seen = []
    made = derive(pooled(tmp_path / "p" / out, source), progress=lambda *done: seen.append(done))
    assert made == Made(tmp_path / "p" / out, 3, 2, 6, True)
    store = open_store(made.cache)
    assert list(store) == list(CLIPS)
    assert all(store.source(id) == SOURCE for id in store)
    assert store["ü/c"].values.tolist() == CLIPS["ü/c"].values.tolist()
    assert seen[:3] == [(f"deriving {out}", done, 3) for done in (1, 2, 3)]
    assert sorted(path.name for path in made.cache.parent.iterdir() if path.name[0] == ".") == []


def test_the_recipe_says_what_it_was_made_from(tmp_path, input):
    derive(pooled(tmp_path / "p.lmdb", input, "mean", "std"), origin={"command": "x"})
    recipe = open_store(tmp_path / "p.lmdb").recipe
    (digest,) = recipe.identity["inputs"].values()
    assert recipe.identity == {
        "derivation": "pool",
        "version": 1,
        "options": {"statistics": ["mean", "std"]},
        "inputs": {"color": digest},
        "dtype": "float32",
    }
    assert recipe.origin["inputs"] == {"color": str(input.absolute())}
    assert recipe.origin["command"] == "x"
    assert is_derived(recipe)
    assert not is_derived(open_store(input).recipe)


def test_what_is_there_is_not_made_again(tmp_path, input):
    wanted = pooled(tmp_path / "p.lmdb", input)
    derive(wanted)
    before = wanted.cache.stat()
    assert derive(wanted) == Made(wanted.cache, 3, 2, 6, False)
    assert (wanted.cache.stat().st_ino, wanted.cache.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_other_options_are_refused_and_named(tmp_path, input):
    derive(pooled(tmp_path / "p.lmdb", input))
    before = (tmp_path / "p.lmdb").read_bytes()
    with pytest.raises(RecipeError, match=r"options\.statistics=\['mean'\], not \['max'\]; choose another --out"):
        derive(pooled(tmp_path / "p.lmdb", input, "max"))
    assert (tmp_path / "p.lmdb").read_bytes() == before


def test_an_input_that_changed_is_refused_and_rebuild_is_named(tmp_path, input):
    derive(pooled(tmp_path / "p.lmdb", input))
    input.unlink()
    make_cache(input, {**CLIPS, "d": make_rows(1)})
    with pytest.raises(RecipeError, match=r"is stale: its input color has changed; run 'egotools rebuild .*p\.lmdb'"):
        derive(pooled(tmp_path / "p.lmdb", input))


def test_another_input_is_no_matter_for_rebuild(tmp_path, input):
    derive(pooled(tmp_path / "p.lmdb", input))
    with pytest.raises(RecipeError, match=r"inputs\.color=.*choose another --out or --name"):
        derive(pooled(tmp_path / "p.lmdb", make_cache(tmp_path / "csn.lmdb")))


def test_a_cache_of_an_extractor_is_not_replaced(tmp_path, input):
    other = make_cache(tmp_path / "other.lmdb")
    with pytest.raises(RecipeError, match="extractor='color', not None"):
        derive(pooled(other, input))
    with pytest.raises(StoreError, match="is one of its own inputs"):
        derive(pooled(input, input))
    assert list(open_store(input)) == list(open_store(other)) == list(CLIPS)


def test_out_is_where_it_is_made_instead(tmp_path, input):
    made = derive(pooled(tmp_path / "p.lmdb", input), out=tmp_path / ".p/p.lmdb")
    assert made.cache == tmp_path / ".p/p.lmdb"
    assert len(open_store(made.cache)) == 3
    assert not (tmp_path / "p.lmdb").exists()


def test_a_derived_cache_is_an_input_like_any(tmp_path, input):
    first = derive(pooled(tmp_path / "first.lmdb", input, "mean", "max")).cache
    second = derive(pooled(tmp_path / "second.h5", first)).cache
    assert open_store(second)["a"].values.tolist() == open_store(first)["a"].values.tolist()
    assert list(open_store(second).recipe.identity["inputs"]) == ["first"]


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_a_damaged_clip_is_named_and_nothing_is_made(tmp_path, suffix):
    source = make_cache(tmp_path / f"color{suffix}")
    damage(source, CLIPS["a"])
    with pytest.raises(StoreError, match=rf"color{suffix}: damaged: clip 'a'"):
        derive(pooled(tmp_path / f"p/p{suffix}", source))
    assert not list((tmp_path / "p").iterdir())


@pytest.mark.parametrize(
    ("name", "problem"),
    [("gone.lmdb", "no such cache"), ("folder.lmdb", "a folder"), ("text.txt", "must end in .lmdb or")],
)
def test_an_input_that_is_no_cache_is_named(tmp_path, name, problem):
    (tmp_path / "folder.lmdb").mkdir()
    with pytest.raises(StoreError, match=rf"{name}: .*{problem}"):
        derive(pooled(tmp_path / "p.lmdb", tmp_path / name))
    assert not (tmp_path / "p.lmdb").exists()


@pytest.mark.parametrize("name", ["p.txt", "folder.lmdb"])
def test_a_place_that_cannot_be_a_cache_is_refused(tmp_path, input, name):
    (tmp_path / "folder.lmdb").mkdir()
    with pytest.raises(StoreError, match=r"must end in \.lmdb or \.h5"):
        derive(pooled(tmp_path / name, input))


def test_a_folder_that_cannot_be_made_is_named(tmp_path, input):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"p\.lmdb cannot be written: Not a directory"):
        derive(pooled(tmp_path / "file/below/p.lmdb", input))


@pytest.mark.parametrize("name", ["p.lmdb", "p.h5"])
def test_one_at_a_time_makes_a_cache(tmp_path, input, name):
    lock = WriterLock(tmp_path / {"p.lmdb": "p.lmdb", "p.h5": "p.h5.part"}[name])
    with pytest.raises(StoreError, match="is being written by another process"):
        derive(pooled(tmp_path / name, input))
    lock.release()
    assert derive(pooled(tmp_path / name, input)).is_new


def test_what_a_killed_process_left_is_cleared_away(tmp_path, input):
    left = tmp_path / ".p.lmdb.derive"
    left.mkdir()
    make_cache(left / "p.lmdb", {"old": make_rows(2)})
    derive(pooled(tmp_path / "p.lmdb", input))
    assert list(open_store(tmp_path / "p.lmdb")) == list(CLIPS)
    assert not left.exists()


def test_clips_that_wait_to_be_sealed_are_not_passed_over(tmp_path, input):
    writer = open_writer(tmp_path / "p.h5", Recipe({"extractor": "hog"}))
    writer.append("a", make_rows(2))
    writer.finish("a", SOURCE)
    writer.commit()
    writer.close()
    with pytest.raises(StoreError, match=r"p\.h5\.part is not sealed yet"):
        derive(pooled(tmp_path / "p.h5", input))
    with open_writer(tmp_path / "p.h5", Recipe({"extractor": "hog"})) as goes_on:
        assert "a" in goes_on
