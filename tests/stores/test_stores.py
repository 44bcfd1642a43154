"""What every store promises, LMDB and HDF5 alike."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from egotools.errors import RecipeError, StoreError
from egotools.stores import Recipe, Source, Store, open_store, open_writer, writer_lock
from egotools.stores.store import read_rows
from egotools.types import Rows

RECIPE = Recipe({"extractor": "test", "options": {"fps": 2.0, "size": (224, 224)}}, {"command": "pytest"})
SOURCE = Source("/videos/a.mp4", 0.5, None, 123, 1.5)


@pytest.fixture(params=["cache.lmdb", "cache.h5"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def make_rows(count: int, width: int = 4, seed: int = 0, dtype: str = "float32") -> Rows:
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.random(count))
    return Rows(rng.normal(size=(count, width)).astype(dtype), np.stack([starts, starts + 0.5], 1))


def fill(path: Path, clips: Mapping[str, Rows], recipe: Recipe = RECIPE) -> Store:
    with open_writer(path, recipe) as writer:
        for name, rows in clips.items():
            writer.append(name, rows)
            writer.finish(name, SOURCE)
        writer.seal()
    return open_store(path)


def assert_same(actual: Rows, expected: Rows) -> None:
    assert actual.values.dtype == expected.values.dtype
    np.testing.assert_array_equal(actual.values, expected.values)
    np.testing.assert_array_equal(actual.times, expected.times)


def test_rows_times_sources_and_recipe_come_back_as_they_were_written(path: Path) -> None:
    clips = {"b/1": make_rows(3, seed=1), "a": make_rows(700, seed=2), "ü/../x": make_rows(1, seed=3)}
    store = fill(path, clips)
    assert list(store) == sorted(clips, key=str.encode)
    assert (len(store), store.rows, store.width, store.dtype) == (3, 704, 4, np.dtype("float32"))
    for name, rows in clips.items():
        assert_same(store[name], rows)
        assert store.source(name) == SOURCE
        assert store.stored(name).is_intact()
    assert store.recipe.identity == {"extractor": "test", "options": {"fps": 2.0, "size": [224, 224]}}
    assert store.recipe.origin == {"command": "pytest"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_ids_and_lengths_round_trip(path: Path, data: st.DataObject) -> None:
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
    counts = data.draw(st.dictionaries(text, st.integers(0, 30), max_size=8))
    width = data.draw(st.integers(1, 9))
    target = path.with_name(f"{time.monotonic_ns()}{path.suffix}")
    clips = {name: make_rows(count, width, seed) for seed, (name, count) in enumerate(counts.items())}
    store = fill(target, clips)
    assert list(store) == sorted(clips, key=str.encode)
    for name, rows in clips.items():
        if len(rows.values):
            assert_same(store[name], rows)
        else:
            assert store[name].values.shape == (0, store.width)


def test_the_longest_id_fits_and_a_longer_one_is_refused(path: Path) -> None:
    store = fill(path, {"x" * 400: make_rows(2)})
    assert "x" * 400 in store
    assert "x" * 600 not in store
    with (
        open_writer(path.with_stem("other"), RECIPE) as writer,
        pytest.raises(StoreError, match="400 bytes"),
    ):
        writer.append("x" * 401, make_rows(1))


def test_float16_rows_stay_float16(path: Path) -> None:
    rows = make_rows(5, dtype="float16")
    assert_same(fill(path, {"a": rows})["a"], rows)


def test_a_clip_without_rows_is_a_clip_even_as_the_first_of_a_cache(path: Path) -> None:
    with open_writer(path, RECIPE) as writer:
        writer.finish("nothing", SOURCE)
        writer.append("empty", Rows(np.empty((0, 4), np.float32), np.empty((0, 2))))
        writer.finish("empty", SOURCE)
        writer.seal()
    assert open_store(path)["nothing"].values.shape == (0, 0)
    store = fill(path, {"full": make_rows(2)})
    assert list(store) == ["empty", "full", "nothing"]
    assert store["nothing"].values.shape == (0, 4)
    assert store["nothing"].times.shape == (0, 2)


def test_nan_and_infinite_rows_are_stored_as_they_are(path: Path) -> None:
    rows = make_rows(3)
    rows.values[1] = [np.nan, np.inf, -np.inf, -0.0]
    store = fill(path, {"a": rows})
    assert store["a"].values.tobytes() == rows.values.tobytes()


def test_a_long_clip_comes_in_pieces_while_others_are_open_too(path: Path) -> None:
    pieces = [make_rows(37, 2048, seed) for seed in range(40)]  # 12 MB, three blocks
    with open_writer(path, RECIPE) as writer:
        for index, piece in enumerate(pieces):
            writer.append("long", piece)
            writer.append(f"short/{index % 3}", make_rows(1, 2048, index))
            if index % 10 == 0:
                writer.commit()
        for name in ("short/0", "long", "short/1", "short/2"):
            writer.finish(name, SOURCE)
        writer.seal()
    store = open_store(path)
    expected = Rows(np.concatenate([p.values for p in pieces]), np.concatenate([p.times for p in pieces]))
    assert_same(store["long"], expected)
    for which in range(3):
        singles = [make_rows(1, 2048, index).values for index in range(40) if index % 3 == which]
        np.testing.assert_array_equal(store[f"short/{which}"].values, np.concatenate(singles))


def test_the_writer_keeps_nothing_of_the_arrays_it_is_given(path: Path) -> None:
    rows = make_rows(3)
    expected = make_rows(3)
    with open_writer(path, RECIPE) as writer:
        writer.append("a", rows)
        rows.values[:] = 0
        rows.times[:] = 0
        writer.finish("a", SOURCE)
        writer.seal()
    assert_same(open_store(path)["a"], expected)


def test_rows_that_leave_a_store_are_copies(path: Path) -> None:
    store = fill(path, {"a": make_rows(3)})
    rows = store["a"]
    rows.values[:] = 7
    rows.times[:] = 7
    assert_same(store["a"], make_rows(3))


def test_an_unfinished_and_a_dropped_clip_do_not_exist_and_can_be_written_again(path: Path) -> None:
    with open_writer(path, RECIPE) as writer:
        writer.append("kept", make_rows(2))
        writer.finish("kept", SOURCE)
        writer.append("dropped", make_rows(3, seed=5))
        writer.drop("dropped")
        writer.append("unfinished", make_rows(3))
        assert "dropped" not in writer
        assert "unfinished" not in writer
        writer.append("dropped", make_rows(1, seed=6))
        writer.finish("dropped", SOURCE)
        writer.seal()
    assert list(open_store(path)) == ["dropped", "kept"]
    assert_same(open_store(path)["dropped"], make_rows(1, seed=6))
    assert list(fill(path, {"unfinished": make_rows(2)})) == ["dropped", "kept", "unfinished"]


def test_going_on_sees_what_is_there_and_adds_to_it(path: Path) -> None:
    fill(path, {"a": make_rows(2)})
    with open_writer(path, RECIPE) as writer:
        assert "a" in writer
        assert "b" not in writer
        with pytest.raises(ValueError, match="already"):
            writer.append("a", make_rows(1))
        writer.append("b", make_rows(3))
        writer.finish("b", SOURCE)
        assert "b" in writer
        writer.seal()
    store = open_store(path)
    assert list(store) == ["a", "b"]
    assert_same(store["a"], make_rows(2))


def test_what_was_committed_stays_when_the_pass_ends_without_sealing(path: Path) -> None:
    with open_writer(path, RECIPE) as writer:
        writer.append("a", make_rows(2))
        writer.finish("a", SOURCE)
        writer.commit()
        writer.append("b", make_rows(2))
        writer.finish("b", SOURCE)  # never committed
    with open_writer(path, RECIPE) as writer:
        assert "a" in writer
        assert "b" not in writer
        writer.seal()
    assert list(open_store(path)) == ["a"]


def test_a_cache_of_another_recipe_is_refused_with_the_option_named(path: Path) -> None:
    fill(path, {"a": make_rows(2)})
    other = Recipe({"extractor": "test", "options": {"fps": 4.0, "size": [224, 224]}})
    with pytest.raises(RecipeError, match=r"options\.fps=2\.0, not 4\.0"):
        open_writer(path, other)
    fill(path, {"b": make_rows(2)}, Recipe(RECIPE.identity, {"command": "a newer library"}))  # origin may differ
    assert len(open_store(path)) == 2


def test_rows_of_another_width_or_type_are_refused_with_the_clip_named(path: Path) -> None:
    fill(path, {"a": make_rows(2, width=4)})
    with open_writer(path, RECIPE) as writer:
        with pytest.raises(StoreError, match=r"'b' has float32 rows of 5 features.*float32 rows of 4"):
            writer.append("b", make_rows(2, width=5))
        with pytest.raises(StoreError, match=r"'c' has float16 rows"):
            writer.append("c", make_rows(2, dtype="float16"))
        with pytest.raises(StoreError, match=r"'d' has float64 rows"):
            writer.append("d", make_rows(2, dtype="float64"))


def test_a_second_writer_is_refused_within_a_moment_and_let_in_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    clock = SimpleNamespace(sleep=waits.append, monotonic=lambda: sum(waits))
    monkeypatch.setattr(writer_lock, "time", clock)
    with open_writer(path, RECIPE):
        with pytest.raises(StoreError, match=f"being written by another process \\(process {os.getpid()}\\)"):
            open_writer(path, RECIPE)
        assert 0 < sum(waits) < 0.5
    open_writer(path, RECIPE).close()


def test_a_missing_clip_and_a_missing_cache_are_named(path: Path) -> None:
    with pytest.raises(StoreError, match="no such cache"):
        open_store(path)
    store = fill(path, {"a": make_rows(1)})
    with pytest.raises(KeyError, match="no clip 'b'"):
        store["b"]
    assert 3 not in store


def test_a_pass_that_commits_nothing_leaves_nothing_behind(path: Path) -> None:
    with open_writer(path.parent / "new" / path.name, RECIPE) as writer:
        writer.append("a", make_rows(1))
    assert list((path.parent / "new").iterdir()) == []


def test_a_cache_may_be_deleted_and_made_anew_in_one_process(path: Path) -> None:
    store = fill(path, {"a": make_rows(1)})
    path.unlink()
    again = fill(path, {"b": make_rows(1, seed=1)})
    assert list(again) == ["b"]
    assert_same(store["a"], make_rows(1))  # the old one is still readable


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "folder"])
def test_what_is_no_whole_cache_is_refused_for_reading_and_writing(path: Path, damage: str) -> None:
    fill(path, {str(index): make_rows(50, seed=index) for index in range(200)})
    if damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
        else:
            path.write_text("" if damage == "empty" else "not a cache\n" * 1000)
    expected = {"cut": "cut short", "text": "not a cache", "empty": "nothing was committed", "folder": "a folder"}
    with pytest.raises(StoreError, match=expected[damage]):
        open_store(path)
    if damage != "empty" or path.suffix == ".h5":  # an LMDB that never got further is simply begun again
        with pytest.raises(StoreError):
            open_writer(path, RECIPE)
    else:
        assert len(fill(path, {"a": make_rows(1)})) == 1


def test_changed_bytes_are_noticed_by_the_checksum(path: Path) -> None:
    rows = make_rows(64, 512)
    fill(path, {"a": rows})
    data = bytearray(path.read_bytes())
    at = data.index(rows.values[32].tobytes())
    data[at] ^= 1
    path.with_stem("copy").write_bytes(data)
    assert open_store(path).stored("a").is_intact()
    assert not open_store(path.with_stem("copy")).stored("a").is_intact()


def test_many_rows_are_read_at_once_in_the_order_asked_for(path: Path) -> None:
    clips = {str(index): make_rows(index % 4, seed=index) for index in range(20)}
    store = fill(path, clips)
    ids = [str(index) for index in np.random.default_rng(0).permutation(20)]
    values, counts, times = read_rows(store, ids)
    assert counts.tolist() == [int(name) % 4 for name in ids]
    np.testing.assert_array_equal(values, np.concatenate([clips[name].values for name in ids]))
    np.testing.assert_array_equal(times, np.concatenate([clips[name].times for name in ids]))
    values, counts, times = read_rows(store, [])
    assert (values.shape, counts.shape, times.shape) == ((0, 4), (0,), (0, 2))


def _sum_of(store: Store, id: str) -> float:
    return float(store[id].values.sum())


def test_a_store_goes_to_threads_forked_and_spawned_processes(path: Path) -> None:
    store = fill(path, {str(index): make_rows(100, seed=index) for index in range(20)})
    expected = [_sum_of(store, str(index)) for index in range(20)]
    assert_same(pickle.loads(pickle.dumps(store))["3"], store["3"])
    found: dict[int, float] = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: _sum_of(store, str(i))})) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(20)] == expected
    with get_context("forkserver").Pool(1) as pool:
        assert pool.apply(_sum_of, (store, "7")) == expected[7]
    child = os.fork()
    if child == 0:
        os._exit(0 if [_sum_of(store, str(index)) for index in range(20)] == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert _sum_of(store, "5") == expected[5]


def test_many_clips_are_counted_and_those_of_one_row_read_at_once(path: Path) -> None:
    counts = {f"c{number:03}": (1, 0, 2, 1)[number % 4] for number in range(400)} | {"ü/../x": 1, "long": 5000}
    store = fill(path, {name: make_rows(count, seed=at) for at, (name, count) in enumerate(counts.items())})
    assert store.row_counts([*counts, "missing"]).tolist() == [*counts.values(), -1]
    single = [name for name, count in counts.items() if count == 1][::-1]
    found = store.single_rows(single)
    one_by_one = [store[name] for name in single]
    values, times = ([getattr(rows, part) for rows in one_by_one] for part in ("values", "times"))
    assert_same(found, Rows(np.concatenate(values), np.concatenate(times)))
