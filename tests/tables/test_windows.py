"""All rows of clips, one drawn of each or some chosen, and those of several caches joined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tabled import write_table

from egotools.errors import TableError
from egotools.stores import Recipe, Source, open_writer
from egotools.tables.windows import read_windows
from egotools.types import Rows

Times = Mapping[str, list[float]]  # the middles of a clip's rows


def cached(path: Path, times: Times) -> Path:
    """A cache whose rows say when they are: the middle, and the number of the clip."""
    with open_writer(path, Recipe({"extractor": path.stem})) as writer:
        for number, (id, middles) in enumerate(times.items()):
            middle = np.array(middles, np.float32).reshape(-1, 1)
            rows = Rows(
                np.concatenate([middle, np.full_like(middle, number)], axis=1), middle + np.array([[-1.0, 1.0]])
            )
            writer.append(id, rows)
            writer.finish(id, Source(""))
        writer.commit()
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    ids = ["a", "b", "c", "d"]
    return write_table(tmp_path / "m.csv", ids, {"verb": ["1", "2", "1", ""]}, ["train", "train", "val", "val"])


def test_rows_are_drawn_of_their_own_clip_each_of_them_and_by_the_generator(tmp_path: Path, manifest: Path) -> None:
    windows = read_windows(manifest, [cached(tmp_path / "x.lmdb", {"a": [1, 2, 3], "c": [4], "b": [5, 6]})])
    assert windows.table.ids.tolist() == ["a", "b", "c"]
    assert windows.table.times.tolist() == [[0, 4], [4, 7], [3, 5]]
    assert "1 clip missing" in windows.table.remarks[0]
    drawn = np.array([windows.values[windows.drawn(np.random.default_rng(seed)), 0] for seed in range(40)])
    assert [set(column) for column in drawn.T.tolist()] == [{1, 2, 3}, {5, 6}, {4}]
    assert (windows.drawn(np.random.default_rng(3)) == windows.drawn(np.random.default_rng(3))).all()
    some = windows.only(np.array([False, True, True]))
    assert windows.values[some.drawn(np.random.default_rng(0)), 0].tolist()[1] == 4


def test_some_rows_are_spread_evenly_and_a_clip_with_fewer_gives_all(tmp_path: Path, manifest: Path) -> None:
    times = {"a": [*range(10)], "b": [20, 21], "c": [30]}
    windows = read_windows(manifest, [cached(tmp_path / "x.lmdb", times)])
    rows, clips = windows.spread(4)
    assert windows.values[rows, 0].tolist() == [0, 3, 6, 9, 20, 21, 30]
    assert clips.tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert windows.values[windows.spread()[0], 0].tolist() == [*range(10), 20, 21, 30]


def test_sound_is_joined_to_the_picture_by_id_and_nearest_time(tmp_path: Path, manifest: Path) -> None:
    picture = cached(tmp_path / "x.lmdb", {"a": [1, 2, 3], "b": [5, 6], "d": [9]})
    sound = cached(tmp_path / "y.lmdb", {"c": [4], "b": [5, 6], "a": [0.9, 2.8]})
    windows = read_windows(manifest, [picture, sound])
    assert windows.table.ids.tolist() == ["a", "b"]
    expected: list[list[float]] = [[1, 0, 0.9, 2], [2, 0, 2.8, 2], [3, 0, 2.8, 2], [5, 1, 5, 1], [6, 1, 6, 1]]
    np.testing.assert_allclose(windows.values, expected, rtol=1e-6)
    said = " ".join(windows.table.remarks)
    assert "1 clip with other times in" in said
    assert f"1 clip missing in {picture}" in said
    assert f"1 clip missing in {sound}" in said
    means = read_windows(manifest, [picture, sound], is_reduced=True)
    np.testing.assert_allclose(means.values, [[2, 0, 1.85, 2], [5.5, 1, 5.5, 1]], rtol=1e-6)
    with pytest.raises(TableError, match="no clip is in every one of"):
        read_windows(manifest, [cached(tmp_path / "z.lmdb", {"d": [1]}), sound])
