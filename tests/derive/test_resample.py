"""Rows of a cache on a given clock, against values computed by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.derive.deriving import Derived, Made, derive
from egotools.derive.resample import Resample, even_windows, read_windows, resampled
from egotools.errors import ManifestError, StoreError
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.types import Rows


def make_rows(*values: float, step: float = 1.0, first: float = 0.0, length: float | None = None) -> Rows:
    starts = first + np.arange(len(values)) * step
    times = np.stack([starts, starts + (step if length is None else length)], axis=1)
    return Rows(np.array(values, np.float32)[:, np.newaxis], times)


def on_clock(rows: Rows, hz: float, how: str, end: float, start: float = 0.0) -> dict[float, float]:
    """The value at the start of each new row."""
    found = resampled(rows.values, rows.times, even_windows(hz, start, end), how)
    return dict(zip(found.times[:, 0].round(6).tolist(), found.values[:, 0].round(4).tolist(), strict=True))


FOUR = make_rows(0, 10, 20, 30)  # middles 0.5, 1.5, 2.5, 3.5


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", {0: 5, 2: 25}),
        ("nearest", {0: 0, 2: 20}),  # both rows are as near: the earlier one
        ("linear", {0: 5, 2: 25}),
    ],
)
def test_half_as_many_rows(how, expected):
    assert on_clock(FOUR, 0.5, how, end=4) == expected


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", {0: 0, 0.5: 0, 1: 10, 1.5: 10, 2: 20, 2.5: 20, 3: 30, 3.5: 30}),
        ("nearest", {0: 0, 0.5: 0, 1: 10, 1.5: 10, 2: 20, 2.5: 20, 3: 30, 3.5: 30}),
        ("linear", {0: 0, 0.5: 2.5, 1: 7.5, 1.5: 12.5, 2: 17.5, 2.5: 22.5, 3: 27.5, 3.5: 30}),
    ],
)
def test_twice_as_many_rows(how, expected):
    assert on_clock(FOUR, 2, how, end=4) == expected


def test_a_row_belongs_to_the_window_that_its_middle_lies_in():
    assert on_clock(make_rows(1, 2, 4), 1 / 1.5, "mean", end=3) == {0: 1, 1.5: 3}  # middles 0.5; 1.5, 2.5


@pytest.mark.parametrize("how", ["mean", "nearest", "linear"])
def test_a_gap_stays_a_gap(how):
    times = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0], [6.0, 7.0], [7.0, 8.0]])
    rows = Rows(np.arange(5, dtype=np.float32)[:, np.newaxis], times)
    assert list(on_clock(rows, 1, how, end=10)) == [0, 1, 2, 6, 7]
    assert list(on_clock(rows, 2, how, end=10)) == [0, 0.5, 1, 1.5, 2, 2.5, 6, 6.5, 7, 7.5]


def test_rows_that_jitter_leave_no_gaps():
    starts = np.array([0.0, 0.9, 2.1, 3.0, 4.2])
    rows = Rows(np.ones((5, 1), np.float32), np.stack([starts, starts + 0.1], axis=1))
    assert len(on_clock(rows, 10, "nearest", end=4.2)) == 42


def test_a_long_window_counts_as_near_all_of_its_time():
    assert on_clock(make_rows(7, length=10), 1, "nearest", end=12) == {float(second): 7 for second in range(10)}


def test_the_mean_is_that_of_a_loop_over_rows():
    generator = np.random.default_rng(0)
    values, starts = generator.random((500, 3)).astype(np.float32), np.sort(generator.random(500) * 100)
    times, windows = np.stack([starts, starts + 0.2], axis=1), even_windows(0.3, 0.0, 90.0)
    shuffled = generator.permutation(500)
    found = resampled(values[shuffled], times[shuffled], windows, "mean")
    middles = times.mean(axis=1)
    for value, (start, end) in zip(found.values, found.times.tolist(), strict=True):
        np.testing.assert_allclose(value, values[(middles >= start) & (middles < end)].mean(axis=0), rtol=1e-5)
    assert len(found.values) == len(windows)


def test_values_that_are_not_finite_stay_where_they_are():
    found = resampled(np.array([[1], [np.nan], [3]], np.float32), FOUR.times[:3], even_windows(1, 0, 3), "mean")
    assert np.isnan(found.values[:, 0]).tolist() == [False, True, False]


# Caches


@pytest.fixture
def cache(tmp_path):
    with open_writer(tmp_path / "a/color.lmdb", Recipe({"extractor": "color"})) as writer:
        clips = {"a": (FOUR, Source("/v/a.mp4")), "b": (make_rows(5, 6, first=2.0), Source("/v/b.mp4", 2.0, 4.0))}
        clips["none"] = (Rows(np.empty((0, 1), np.float32), np.empty((0, 2))), Source("/v/c.mp4"))
        for id, (rows, source) in clips.items():
            writer.append(id, rows)
            writer.finish(id, source)
        writer.seal()
    return tmp_path / "a/color.lmdb"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["derive", "resample", *map(str, arguments)])


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_each_clip_gets_the_clock_from_its_own_start(tmp_path, cache, suffix):
    made = derive(Derived(tmp_path / f"r{suffix}", "resample", Resample(hz=2), {"color": cache}))
    assert made == Made(tmp_path / f"r{suffix}", 3, 12, 1, True)
    store = open_store(made.cache)
    assert store["b"].times.tolist() == [[2, 2.5], [2.5, 3], [3, 3.5], [3.5, 4]]
    assert store["b"].values[:, 0].tolist() == [5, 5, 6, 6]
    assert store.source("b") == Source("/v/b.mp4", 2.0, 4.0)
    assert len(store["none"].values) == 0


def test_the_command_says_what_lies_in_gaps(tmp_path, cache):
    (tmp_path / "t.csv").write_text("id,start,end\na,3,5\na,0,1\na,50,51\nb,2,3\n")
    done = run("--features", cache, "--times", tmp_path / "t.csv", "--out", tmp_path / "r")
    assert done.exit_code == 0, done.output
    assert "1 of 4 new windows lie in gaps between rows, and have no row" in done.stderr
    store = open_store(tmp_path / "r/color.lmdb")
    assert (store["a"].times.tolist(), store["a"].values[:, 0].tolist()) == ([[0, 1], [3, 5]], [0, 30])


def test_single_times_take_the_row_at_that_time(tmp_path, cache):
    (tmp_path / "t.csv").write_text("id,time\na,1.75\na,3\n")
    line = ["--features", cache, "--times", tmp_path / "t.csv", "--how", "linear", "--out", tmp_path / "r"]
    assert "1 clip without a window of the clock" in run(*line).stderr  # b
    rows = open_store(tmp_path / "r/color.lmdb")["a"]
    assert (rows.times.tolist(), rows.values[:, 0].tolist()) == ([[1.75, 1.75], [3, 3]], [12.5, 25])


def test_a_clip_that_the_cache_lacks_is_named_and_the_others_are_made(tmp_path, cache):
    (tmp_path / "t.csv").write_text("id,time\na,1\nzz,1\n")
    line = ["--features", cache, "--times", tmp_path / "t.csv", "--out", tmp_path / "r", "--json"]
    for is_new in (True, False):
        done = run(*line)
        (item,) = json.loads(done.stdout)
        assert (done.exit_code, list(item["failed"]), item["is_new"]) == (1, ["zz"], is_new)
    (tmp_path / "t.csv").write_text("id,time\nzz,1\n")
    done = run(*line[:-1], "--name", "other")
    assert (done.exit_code, "has none of the 1 clips of" in done.stderr) == (1, True)


def test_more_rows_than_memory_holds_are_refused_at_once(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("egotools.derive.resample.available_memory", lambda: 40_000)
    done = run("--features", cache, "--hz", "1000", "--out", tmp_path / "r")
    assert (done.exit_code, "clip 'a' would have 4000 rows, which need 4.8e-05 GB" in done.stderr) == (1, True)


def test_rows_without_times_are_refused(tmp_path):
    with open_writer(tmp_path / "i.lmdb", Recipe({"imported": "x"})) as writer:
        writer.append("a", Rows(np.ones((2, 1), np.float32), np.zeros((2, 2))))
        writer.finish("a", Source(""))
        writer.seal()
    with pytest.raises(StoreError, match="rows of clip 'a' have no times of their own"):
        derive(Derived(tmp_path / "r.lmdb", "resample", Resample(hz=2), {"i": tmp_path / "i.lmdb"}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,begin\na,1\n", "no column 'start'; times need id, start, end, or id, time"),
        ("id;time\na;1\n", "no column 'start'.*';': save the table with commas|no column"),
        ("id,start,end\na,2,1\n", "row 2: a window needs"),
        ("id,time\na,x\n", "row 2: a window needs"),
        ("id,time\n,1\n", "row 2: a window needs"),
        ("id,time\n", "no times, only a header"),
    ],
)
def test_a_file_of_times_that_makes_no_sense_is_refused(tmp_path, text, problem):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ManifestError, match=problem):
        read_windows(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give one of --hz and --times"),
        (["--hz", "2", "--times", "t.csv"], "give one of --hz and --times"),
        (["--hz", "0"], "--hz must be above 0"),
        (["--hz", "nan"], "--hz must be above 0"),
        (["--hz", "1e9"], "--hz must be at most 1000"),
    ],
)
def test_wrong_usage_is_said(arguments: list[str], problem: str) -> None:
    done = run("--features", "f.lmdb", "--out", "r", *arguments)
    assert (done.exit_code, problem in done.stderr) == (2, True)
