"""Neighbors of features that float32 cannot tell apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from egotools.cli.main import root
from tabled import write_cache, write_table

from egotools.evaluate import exact
from egotools.evaluate import knn as module
from egotools.evaluate.knn import nearest

N, D, CLASSES, K = 300, 32, 5, 5
Floats = npt.NDArray[np.float64]


def by_definition(queries: Any, rows: Any, k: int) -> npt.NDArray[np.int64]:
    """The k rows of the greatest cosine: of the smallest distance between rows of length one, in long double."""
    unit = [np.asarray(each, np.longdouble) / np.linalg.norm(each, axis=1, keepdims=True) for each in (queries, rows)]
    distance = ((unit[0][:, np.newaxis] - unit[1]) ** 2).sum(axis=2)
    return np.argsort(distance, axis=1, kind="stable")[:, :k]


def first_column(values: Floats, column: Any) -> npt.NDArray[np.float32]:
    return np.concatenate([np.broadcast_to(column, (len(values), 1)), values[:, 1:]], axis=1).astype(np.float32)


@pytest.fixture
def data(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(N, D))


@pytest.mark.parametrize("large", [2073600.0, 1e5, 1.7e9, 3e7])
def test_a_large_constant_column_hides_nothing(data: Floats, large: float) -> None:
    values = first_column(data, large)
    found, similarity = nearest(values[:100], values[100:], K)
    assert found.tolist() == by_definition(values[:100], values[100:], K).tolist()
    assert (np.diff(similarity, axis=1) <= 0).all()


def test_two_sizes_that_depend_on_each_other_hide_nothing(data: Floats) -> None:
    is_tall = np.arange(N)[:, np.newaxis] % 2
    values = first_column(np.concatenate([data[:, :1], np.where(is_tall, 1e6, 2e6), data[:, 2:]], axis=1), 1.5e6)
    assert nearest(values[:100], values[100:], K)[0].tolist() == by_definition(values[:100], values[100:], K).tolist()


@pytest.mark.parametrize("block", [exact.BLOCK, 100])
def test_groups_stay_apart_and_equal_rows_come_in_their_order(
    data: Floats, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(exact, "BLOCK", block)
    values = np.repeat(first_column(data[:6], 2073600.0), 20, axis=0)  # more equal rows than candidates
    kin = np.arange(120) // 20 // 2
    found, similarity = nearest(values, values, 3, own=(kin, kin))
    unit = values[::20].astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for query in range(120):
        others = [row for row in range(6) if row // 2 != query // 20 // 2]
        best = min(others, key=lambda row: ((unit[query // 20] - unit[row]) ** 2).sum())
        assert found[query].tolist() == [20 * best, 20 * best + 1, 20 * best + 2]
    np.testing.assert_allclose(similarity, 1.0)


def test_a_row_of_zeros_is_similar_to_none_beside_a_large_column(data: Floats) -> None:
    values = first_column(data, 2073600.0)
    values[::50] = 0
    found, similarity = nearest(values[:60], values[60:], K)
    assert similarity[0].tolist() == similarity[50].tolist() == [0.0] * K
    full = np.flatnonzero(values[:60].any(axis=1))
    assert (similarity[full] > 0.99).all()
    assert values[60:][found[full]].any(axis=2).all()


def test_ordinary_rows_are_found_once(data: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "search", None)  # not called
    values = data.astype(np.float32)
    found, _ = nearest(values[:100], values[100:], K)
    assert found.tolist() == by_definition(values[:100], values[100:], K).tolist()


@pytest.mark.parametrize("deepest", [module.DEEPEST, 10])
def test_fewer_rows_than_neighbors_are_all_found(data: Floats, monkeypatch: pytest.MonkeyPatch, deepest: int) -> None:
    monkeypatch.setattr(module, "DEEPEST", deepest)
    values = first_column(data[:14], 2073600.0)
    found, similarity = nearest(values[:2], values[2:], 40, own=(np.array([0, 1]), np.arange(12) % 3))
    assert sorted(found[0, :8].tolist()) == [1, 2, 4, 5, 7, 8, 10, 11]
    assert (found[:, 8:] == -1).all()
    assert np.isneginf(similarity[:, 8:]).all()


def test_eval_knn_of_a_number_of_pixels_is_what_float64_gives(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = rng.integers(0, CLASSES, N)
    values = rng.normal(size=(CLASSES, D))[labels] + 0.8 * rng.normal(size=(N, D))
    test, ids = np.arange(N) % 3 == 0, [f"{number:03}" for number in range(N)]
    splits = np.where(test, "test", "train").tolist()
    manifest = write_table(tmp_path / "m.csv", ids, {"label": labels.tolist()}, splits)
    cache = write_cache(tmp_path / "f.lmdb", ids, first_column(values, 2073600.0))
    line = ["eval", "knn", "--features", str(cache), "--manifest", str(manifest), "--label", "label", "--k", "1"]
    result = CliRunner().invoke(root, [*line, "--json"])
    large = first_column(values, 2073600.0)
    expected = (labels[~test][by_definition(large[test], large[~test], 1)[:, 0]] == labels[test]).mean()
    assert expected > 0.9
    assert json.loads(result.stdout)["accuracy"] == pytest.approx(expected)
