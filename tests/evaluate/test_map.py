"""Points of a map: which library computes them, that they come again, and what colors them."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from egotools.errors import MissingExtra, TableError
from egotools.evaluate import projection
from egotools.evaluate.coloring import colors_of
from egotools.evaluate.map import Drawing
from egotools.evaluate.map_frames import spread
from egotools.evaluate.map_picture import MISSING, OTHER, MapPanel, map_picture
from egotools.evaluate.projection import Projecting, projected
from egotools.tables.table import Table

PCA = Projecting(method=("pca",))
TSNE = Projecting(method=("tsne",))


def groups(rng: np.random.Generator, count: int = 40, width: int = 12) -> np.ndarray:
    """Rows of two groups that lie far apart, by turns."""
    centers = 20 * np.eye(2, width)[np.arange(count) % 2]
    return (centers + rng.normal(size=(count, width))).astype(np.float32)


def table_of(count: int = 6, **columns: list[str]) -> Table:
    ids = np.array([f"c{number}" for number in range(count)], dtype=object)
    texts = {name: np.array(column, dtype=object) for name, column in columns.items()}
    times = np.stack([np.arange(count), np.arange(count) + 1], 1).astype(float)
    names = tuple(columns)
    return Table(ids, np.zeros((count, 2), np.float32), times, texts, np.array([""] * count, object), columns=names)


def test_components_are_those_of_the_definition(rng: np.random.Generator) -> None:
    values = groups(rng)
    (found,) = projected(values, PCA, seed=0)
    centered = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    _, singular, directions = np.linalg.svd(centered, full_matrices=False)
    # float32 sums of a dozen terms, up to the sign of each component
    np.testing.assert_allclose(np.abs(found.points), np.abs(centered @ directions[:2].T), rtol=1e-3, atol=1e-3)
    shares = singular**2 / (singular**2).sum()
    assert found.facts["by_axis"] == pytest.approx(shares[:2].tolist())
    assert f"{shares[0]:.1%}" in found.axes[0]


def test_equal_seeds_give_equal_points_and_neighbors_stay_near(rng: np.random.Generator) -> None:
    values = groups(rng)
    (one,), (other,) = (projected(values, TSNE, seed=3) for _ in range(2))
    assert one.points.tolist() == other.points.tolist()
    away = np.linalg.norm(one.points[:, None] - one.points[None], axis=2) + 1e9 * np.eye(len(values))
    assert (away.argmin(axis=1) % 2 == np.arange(len(values)) % 2).all()  # of the same group
    assert one.remarks == ("--perplexity 30 lowered to 13: there are 40 rows",)
    assert one.facts["perplexity"] == 13
    assert one.facts["library"].startswith("scikit-learn ")


def test_many_rows_go_to_open_tsne_where_it_is_installed(rng, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "LARGE", 30)
    (by_open,) = projected(groups(rng), TSNE, seed=0)
    assert by_open.facts["library"].startswith("openTSNE ")
    assert by_open.points.shape == (40, 2)
    assert (by_open.points == projected(groups(np.random.default_rng(0)), TSNE, seed=0)[0].points).all()
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    (without,) = projected(groups(rng), TSNE, seed=0)
    assert without.facts["library"].startswith("scikit-learn ")
    assert "openTSNE is faster" in without.remarks[-1]


def test_umap_needs_its_library(rng, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Projecting(method=("umap",), neighbors=50)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtra, match="pip install umap-learn"):
        projected(groups(rng), asked, seed=0)
    given = {}

    class Standing:  # in for UMAP, which takes half a minute to compile
        def __init__(self, **options: object) -> None:
            given.update(options)

        def fit_transform(self, rows: np.ndarray) -> np.ndarray:
            return rows[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Standing, __spec__=object()))
    monkeypatch.setattr(projection, "version", lambda _: "1.0")
    (found,) = projected(groups(rng), asked, seed=7)
    assert (given["n_neighbors"], given["random_state"], given["n_jobs"]) == (39, 7, 1)
    assert found.remarks == ("--neighbors 50 lowered to 39: there are 40 rows",)


@pytest.mark.slow
def test_umap_gives_equal_points_for_equal_seeds() -> None:
    pytest.importorskip("umap")
    asked = Projecting(method=("umap",))
    (one,), (other,) = (projected(groups(np.random.default_rng(0)), asked, seed=1) for _ in range(2))
    assert one.points.tolist() == other.points.tolist()


def test_rows_that_cannot_be_drawn_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(TableError, match="one row only"):
        projected(groups(rng, 1), PCA, seed=0)
    with pytest.raises(TableError, match="all 5 rows are equal"):
        projected(np.ones((5, 3), np.float32), PCA, seed=0)
    with pytest.raises(TableError, match="3 rows are too few for t-SNE"):
        projected(groups(rng, 3), TSNE, seed=0)
    (only,) = projected(groups(rng, 3), Projecting(), seed=0)
    assert only.method == "pca"
    assert only.remarks == ("left out: t-SNE, which needs 4 rows or more",)


def test_rows_that_vary_in_one_direction_are_a_line(rng: np.random.Generator) -> None:
    values = np.outer(np.arange(6), np.ones(4)).astype(np.float32)
    pca, tsne = projected(values, Projecting(), seed=0)
    assert (pca.points[:, 1] == 0).all()
    assert "one direction" in pca.remarks[0]
    assert np.isfinite(tsne.points).all()


def test_standardized_and_centered_rows_are_those_of_the_probe_and_of_retrieval(rng: np.random.Generator) -> None:
    values = (groups(rng) * [100, *[1] * 11] + 5).astype(np.float32)
    (plain,) = projected(values, PCA, seed=0)
    (standard,) = projected(values, Projecting(method=("pca",), standardize=True), seed=0)
    by_hand = (values - values.mean(0)) / values.std(0)
    (expected,) = projected(by_hand.astype(np.float32), PCA, seed=0)
    np.testing.assert_allclose(standard.points, expected.points, rtol=1e-3, atol=1e-3)
    assert plain.facts["explained_share"] > standard.facts["explained_share"]
    (centered,) = projected(values, Projecting(method=("pca",), center=True), seed=0)
    assert np.abs(centered.points).max() < 2.01  # rows of length one are at most 2 apart


def test_texts_are_classes_and_numbers_a_scale() -> None:
    table = table_of(kind=["b", "a", "b", "", "a", "b"], score=["1", "2.5", "", "-3", "nan", "4"])
    colors, remarks = colors_of(table, "kind")
    assert (tuple(colors.classes), colors.at.tolist()) == (("b", "a"), [0, 1, 0, MISSING, 1, 0])
    assert remarks == ["without a value in 'kind', and so gray: 1 row ('c3')"]
    colors, remarks = colors_of(table, "score")
    assert np.nan_to_num(colors.numbers, nan=9).tolist() == [1, 2.5, 9, -3, 9, 4]
    assert remarks == ["without a value in 'score', and so gray: 2 rows ('c2', 'c4')"]
    colors, _ = colors_of(table, "time")
    assert colors.numbers.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert colors_of(table, None)[0].groups()[0][2].tolist() == [0, 1, 2, 3, 4, 5]


def test_rare_values_share_gray_and_are_counted() -> None:
    texts = [f"v{number:02}" for number in range(25)] + ["v24"] * 2
    colors, remarks = colors_of(table_of(27, kind=texts), "kind")
    assert colors.classes[0] == "v24"
    assert len(colors.classes) == 20
    assert (colors.at == OTHER).sum() == 5
    assert remarks == ["the 20 most frequent of 25 values of 'kind' have colors; gray: 5 rows"]
    assert [(name, len(rows)) for name, _, rows in colors.groups()][-1] == ("other values", 5)


def test_a_column_that_is_not_there_is_named_with_similar_ones() -> None:
    with pytest.raises(TableError, match=r"no column 'vido'; did you mean 'video'"):
        colors_of(table_of(video=["a"] * 6), "vido")


def test_spread_points_lie_apart_and_equal_ones_count_once(rng: np.random.Generator) -> None:
    points = np.repeat(rng.normal(size=(50, 2)), 2, axis=0)
    assert len(spread(points, 100)) == 50
    chosen = points[spread(points, 30, 0.1)]
    away = np.abs(chosen[:, None] - chosen[None]).max(axis=2) + 1e9 * np.eye(len(chosen))
    assert away.min() > 0.1 * np.ptp(points, axis=0).max()
    assert spread(np.zeros((4, 2)), 3).tolist() == [0]


def test_a_picture_is_drawn_of_names_that_are_no_formulas(rng: np.random.Generator) -> None:
    table = table_of(**{"$x_": ["$\\frac{", "猫", "b" * 300, "", "$", "$$"]})
    colors, _ = colors_of(table, "$x_")
    frames = {2: np.zeros((9, 16, 3), np.uint8)}
    panel = MapPanel("t-SNE", ("", ""), rng.normal(size=(6, 2)), frames)
    assert map_picture([panel, panel], colors, title="$_" * 300).startswith(b"\x89PNG")


@pytest.mark.parametrize("wrong", [{"most": 1}, {"thumbnails": -1}, {"seed": -1}])
def test_options_that_make_no_map_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"--{next(iter(wrong))} must be"):
        Drawing(**wrong)
