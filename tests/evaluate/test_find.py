"""The nearest moments of a cache: those that sorting all rows and leaving out near ones gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clip_rows import every, scenes, write_rows

from egotools.errors import StoreError, TableError
from egotools.evaluate import find as module
from egotools.evaluate.find import Finding, Found, find
from egotools.evaluate.queries import Query, clip_query
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.types import Clip, Rows


def write(path: Path, clips: dict[str, tuple[str, Rows]], dtype: str = "float32") -> Path:
    """A cache of clips, each with its file."""
    with open_writer(path, Recipe({"imported": {"content": "x"}, "dtype": dtype})) as writer:
        for id, (file, rows) in clips.items():
            writer.append(id, Rows(rows.values.astype(dtype), rows.times))
            writer.finish(id, Source(file))
        writer.seal()
    return path


def text(vector: np.ndarray, name: str = "query") -> Query:
    return Query("text", name, vector)


def places(found: Found, number: int = 0) -> list[tuple[str, float]]:
    return [(each.id, each.start) for each in found.moments[number]]


def sorted_and_thinned(
    clips: dict[str, tuple[str, Rows]], vector: np.ndarray, finding: Finding
) -> list[tuple[str, float]]:
    """By definition: all rows by falling cosine, each taken unless one of its file that was taken is too near."""
    rows = []
    for id, (file, stored) in sorted(clips.items()):
        for values, (start, end) in zip(stored.values.astype(np.float64), stored.times, strict=True):
            cosine = values @ vector / np.sqrt(values @ values * (vector @ vector))
            rows.append((round(-cosine, 12), len(rows), id, file or id, start, (start + end) / 2))
    taken: list[tuple[str, float]] = []
    chosen = []
    for _, _, id, file, start, middle in sorted(rows):
        if all(other != file or abs(middle - time) >= finding.min_gap for other, time in taken):
            taken.append((file, middle))
            chosen.append((id, start))
    return chosen[: finding.top]


@pytest.mark.parametrize("kept", [1, 5, 40, 1000])
@pytest.mark.parametrize("min_gap", [0, 0.35, 3])
@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_moments_are_those_of_sorting_all_rows(kept, min_gap, suffix, tmp_path, monkeypatch, rng):
    """However few rows a query keeps, with clips of one file that overlap, equal rows, and chunks of a few rows."""
    monkeypatch.setattr(module, "CHUNK", 300)
    smooth = np.cumsum(rng.normal(size=(4, 60, 6)), axis=1).astype(np.float16)
    smooth[1, 20:30] = smooth[1, 19]
    smooth[2, 5:20] = smooth[0, 5:20]
    files = ["/a.mp4", "/a.mp4", "/b.mp4", ""]
    starts = [0.0, 3.0, 0.0, 0.0]
    clips = {
        f"clip{number}": (file, Rows(values, every(60, 0.1, start)))
        for number, (file, start, values) in enumerate(zip(files, starts, smooth, strict=True))
    }
    store = open_store(write(tmp_path / f"c{suffix}", clips, "float16"))
    queries = [text(vector.astype(np.float32)) for vector in rng.normal(size=(3, 6))]
    for top in (1, 7, 300):
        finding = Finding(top, min_gap)
        found = find(store, queries, finding, kept=kept)
        for number, query in enumerate(queries):
            assert places(found, number) == sorted_and_thinned(clips, query.vector.astype(np.float64), finding)
        assert (found.rows, found.clips) == (240, 4)


def test_rows_that_float32_cannot_tell_apart_are_in_order(tmp_path, rng):
    values = np.concatenate([np.full((500, 1), 1e6), rng.normal(size=(500, 3))], axis=1).astype(np.float32)
    store = open_store(write(tmp_path / "c.lmdb", {"a": ("", Rows(values, every(500)))}))
    exact = values.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    nearest = np.argsort(np.linalg.norm(exact - exact[7], axis=1), kind="stable")[:20]
    found = find(store, [text(values[7])], Finding(20, 0), kept=40)
    assert [round(start * 10) for _, start in places(found)] == nearest.tolist()


def test_a_query_finds_its_own_row_with_cosine_one(tmp_path, rng):
    values = rng.normal(size=(30, 5))
    store = open_store(write(tmp_path / "c.lmdb", {"a": ("/a.mp4", Rows(values, every(30, 1.0)))}))
    (best, *_) = find(store, [text(3 * store["a"].values[12])]).moments[0]
    assert (best.id, best.start, best.end, best.similarity) == ("a", 12, 13, pytest.approx(1, abs=1e-12))
    assert best.video is not None
    assert best.video.path == Path("/a.mp4")


def test_a_manifest_restricts_to_its_clips_and_says_where_they_are(tmp_path, rng):
    rows = Rows(rng.normal(size=(5, 4)), every(5))
    store = open_store(write(tmp_path / "c.lmdb", dict.fromkeys("abc", ("/old.mp4", rows))))
    listed = {"b": Clip("b", Path("/new.mp4"), labels={"verb": "cut"}), "z": Clip("z", Path("/z.mp4"))}
    found = find(store, [text(rows.values[0])], Finding(3, 0), listed=listed)
    assert [each.video for each in found.moments[0]] == [listed["b"]] * 3
    assert any("1 clip of the manifest not in" in remark and "'z'" in remark for remark in found.remarks)
    with pytest.raises(TableError, match=r"none of the 1 clips.*ids are like 'a'"):
        find(store, [text(rows.values[0])], listed={"z": listed["z"]})


def test_rows_of_zeros_and_rows_that_are_not_finite_are_left_out_and_counted(tmp_path, rng):
    values = rng.normal(size=(9, 4))
    values[2], values[5, 1], values[6, 3] = 0, np.nan, np.inf
    values[8] = 1e-30  # small, but it has a direction
    store = open_store(write(tmp_path / "c.lmdb", {"dark": ("", Rows(values, every(9, 1.0)))}))
    found = find(store, [text(np.ones(4))], Finding(9, 0))
    assert sorted(start for _, start in places(found)) == [0, 1, 3, 4, 7, 8]
    assert places(found)[0] == ("dark", 8)
    remarks = " ".join(found.remarks)
    assert "1 row with zeros only left out, of 'dark'" in remarks
    assert "2 rows with NaN or infinite features left out, of 'dark'" in remarks
    assert "6 moments, not 9" in remarks


def test_a_clip_does_not_find_itself_nor_other_clips_of_that_time(tmp_path):
    """Its file is cut twice: `b` shows the same seconds as `a`, `c` later ones."""
    near, far = scenes(6), scenes(6, seed=1)
    clips = {
        "a": ("/v.mp4", Rows(near, every(6, 1.0))),
        "b": ("/v.mp4", Rows(near, every(6, 1.0))),
        "c": ("/v.mp4", Rows(far, every(6, 1.0, 20.0))),
        "other": ("/w.mp4", Rows(far, every(6, 1.0))),
    }
    store = open_store(write(tmp_path / "c.lmdb", clips))
    found = find(store, [clip_query(store, "a")], Finding(30, 0))
    assert {id for id, _ in places(found)} == {"c", "other"}
    assert any("'a' itself are left out" in remark for remark in found.remarks)
    found = find(store, [clip_query(store, "a", 2.2, include_clip=True)], Finding(1))
    assert places(found) == [("a", 2)]


def test_the_row_of_a_time_is_that_whose_window_holds_it_or_is_nearest(tmp_path):
    rows = Rows(np.eye(3), np.array([[0, 1], [2, 3], [2.5, 4]]))
    store = open_store(write(tmp_path / "c.lmdb", {"a": ("", rows), "none": ("", Rows(rows.values[:0], every(0)))}))
    for seconds, row in ((0.5, 0), (1.2, 0), (1.9, 1), (2.6, 1), (2.8, 1), (3.2, 2), (4.0, 2)):
        query = clip_query(store, "a", seconds)
        assert query.vector.tolist() == np.eye(3)[row].tolist(), seconds
        assert query.shows == ("a", *rows.times[row])
    assert clip_query(store, "a").vector.tolist() == [1 / 3] * 3
    for id, at, reason in (("a", 9.0, "from 0 to 4 s, none at 9 s"), ("none", None, "has no rows")):
        with pytest.raises(TableError, match=reason):
            clip_query(store, id, at)


def test_what_cannot_be_compared_is_refused(tmp_path):
    rows = Rows(np.eye(3), every(3))
    store = open_store(write_rows(tmp_path / "c.lmdb", {"a": rows}))
    for vector, reason in (
        (np.ones(4), "has 4 features.*have 3"),
        (np.zeros(3), "all zeros"),
        (np.array([1, np.nan, 0]), "NaN"),
    ):
        with pytest.raises(TableError, match=reason):
            find(store, [text(vector)])
    empty = open_store(write_rows(tmp_path / "empty.lmdb", {"a": Rows(np.empty((0, 3)), every(0))}))
    with pytest.raises(TableError, match="has no rows"):
        find(empty, [text(np.ones(3))])
    single = open_store(write_rows(tmp_path / "single.lmdb", {"a": Rows(np.ones((3, 1)), every(3))}))
    with pytest.raises(TableError, match="one number a row"):
        find(single, [text(np.ones(1))])


def test_a_damaged_cache_is_named(tmp_path, rng):
    path = write(tmp_path / "c.lmdb", {"a": ("", Rows(rng.normal(size=(3000, 8)), every(3000)))})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StoreError, match=r"c\.lmdb"):
        find(open_store(path), [text(np.ones(8))])
