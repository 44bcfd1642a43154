"""Principal components: as scikit-learn's, deterministic, and from the files in which they may come."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from egotools.errors import WeightsError
from egotools.linear import pca as module
from egotools.linear.pca import fit_pca
from egotools.weights.pca import pca_bytes, pca_path, read_pca


def table(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """Rows that vary most along a few directions, around a mean of some size."""
    scales = 3.0 * 0.7 ** np.arange(min(rows, width))
    values = rng.normal(size=(rows, len(scales))) * scales @ np.linalg.qr(rng.normal(size=(width, len(scales))))[0].T
    return (values + rng.normal(5, 2, width)).astype(np.float32)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("solver", ["exact", "randomized"])
@pytest.mark.parametrize("shape", [(30, 200), (200, 30), (40, 40), (5, 700)])
def test_components_are_scikit_learns(rng, shape, solver, whiten):
    rows = table(rng, *shape)
    found = fit_pca(rows, 4, whiten=whiten, solver=solver)
    peer = PCA(4, whiten=whiten, svd_solver="full").fit(rows.astype(np.float64))
    np.testing.assert_allclose(found.mean, peer.mean_, rtol=1e-6)
    np.testing.assert_allclose(found.explained_variance, peer.explained_variance_, rtol=1e-4)
    signs = np.sign((found.components * peer.components_).sum(axis=1))
    np.testing.assert_allclose(found.components, peer.components_ * signs[:, None], atol=2e-4)
    projected = peer.transform(rows.astype(np.float64)) * signs
    np.testing.assert_allclose(found.project(rows), projected, atol=2e-3 * np.abs(projected).max())


@pytest.mark.parametrize("solver", ["exact", "randomized"])
def test_whitened_components_have_variance_one_and_are_uncorrelated(rng, solver):
    rows = table(rng, 60, 300)
    projected = fit_pca(rows, 5, whiten=True, solver=solver).project(rows)
    np.testing.assert_allclose(np.cov(projected.T), np.eye(5), atol=1e-3)


@pytest.mark.parametrize("solver", ["exact", "randomized"])
def test_the_largest_entry_of_each_component_is_positive_and_fitting_again_gives_the_same(rng, solver):
    rows = table(rng, 50, 80)
    first, again = (fit_pca(rows, 6, solver=solver, seed=3) for _ in range(2))
    largest = np.abs(first.components).argmax(axis=1)
    assert (first.components[np.arange(6), largest] > 0).all()
    assert np.array_equal(first.components, again.components)
    turned = fit_pca(-rows, 6, solver=solver)
    np.testing.assert_allclose(turned.components, first.components, atol=1e-3)


def test_both_ways_give_the_same_and_the_size_decides_between_them(rng, monkeypatch):
    rows = table(rng, 60, 90)
    exact = fit_pca(rows, 3, solver="exact")
    assert np.array_equal(fit_pca(rows, 3).components, exact.components)
    monkeypatch.setattr(module, "MOST_EXACT", 50)
    assert np.array_equal(fit_pca(rows, 3).components, fit_pca(rows, 3, solver="randomized").components)
    np.testing.assert_allclose(fit_pca(rows, 3).components, exact.components, atol=1e-4)


def test_the_given_rows_stay_unless_they_may_be_overwritten(rng):
    rows = table(rng, 20, 30)
    before = rows.copy()
    kept = fit_pca(rows, 2)
    assert np.array_equal(rows, before)
    assert np.array_equal(fit_pca(rows, 2, overwrite=True).components, kept.components)
    np.testing.assert_allclose(rows, before - before.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "components", "text"),
    [
        (np.ones((3, 5)), 3, "3 rows of 5 values allow 1 to 2 components, not 3"),
        (np.ones((9, 5)), 6, "allow 1 to 5 components, not 6"),
        (np.ones((1, 5)), 1, "1 rows of 5 values allow 1 to 0 components"),
        (np.ones((9, 5)), 2, "vary in 0 directions, not in 2"),
        (np.outer(np.arange(9), np.ones(5)), 2, "vary in 1 directions, not in 2; request fewer"),
        (np.full((9, 5), np.nan), 2, "NaN or infinite"),
    ],
)
@pytest.mark.parametrize("solver", ["exact", "randomized"])
def test_rows_without_that_many_components_are_refused(rows, components, text, solver):
    with pytest.raises(ValueError, match=text):
        fit_pca(rows.astype(np.float32), components, solver=solver)


def test_rows_of_another_width_are_refused(rng):
    with pytest.raises(ValueError, match=r"fitted on rows of 30 values, but these are \(2, 29\)"):
        fit_pca(table(rng, 20, 30), 2).project(np.ones((2, 29), np.float32))


def test_a_file_gives_back_what_was_fitted(rng, tmp_path):
    fitted = fit_pca(table(rng, 20, 30), 3, whiten=True)
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "pca.npz"
    path.write_bytes(pca_bytes(fitted))
    assert pca_path(f"run:{tmp_path}/run") == pca_path(str(path)) == path
    found = read_pca(path)
    for name in ("mean", "components", "explained_variance", "whiten"):
        assert np.array_equal(getattr(found, name), getattr(fitted, name)), name


def test_three_arrays_without_a_word_on_whitening_are_whitened(rng, tmp_path):
    fitted = fit_pca(table(rng, 20, 30), 3)
    arrays = {name: getattr(fitted, name) for name in ("mean", "components", "explained_variance")}
    np.savez(tmp_path / "p.npz", **arrays)
    assert read_pca(tmp_path / "p.npz").whiten


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_pickled_pca_of_scikit_learn_is_read_without_running_anything(rng, tmp_path, protocol, dtype):
    rows = table(rng, 20, 30).astype(dtype)
    peer = PCA(3, whiten=True).fit(rows)
    data = pickle.dumps(peer, protocol)
    if protocol < 3:  # names are plain text there: as NumPy 1 wrote them
        data = data.replace(b"numpy._core.", b"numpy.core.")
    (tmp_path / "pca_hog.pickle").write_bytes(data)
    found = read_pca(tmp_path / "pca_hog.pickle")
    assert found.whiten
    assert np.array_equal(found.components, peer.components_)
    np.testing.assert_allclose(found.project(rows), peer.transform(rows), atol=1e-4)


def test_a_pca_that_is_not_whitened_stays_so(rng, tmp_path):
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(PCA(3).fit(table(rng, 20, 30))))
    assert not read_pca(tmp_path / "p.pkl").whiten


def damaged(folder: Path, name: str, rng: np.random.Generator) -> Path:
    """A file that is no usable PCA."""
    fitted = fit_pca(table(rng, 20, 30), 3, whiten=True)
    arrays = {key: getattr(fitted, key) for key in ("mean", "components", "explained_variance")}
    peer = PCA(3).fit(table(rng, 20, 30))
    path = folder / (f"{name}.pickle" if name.startswith("pickled") else f"{name}.npz")
    if name == "missing array":
        np.savez(path, mean=arrays["mean"])
    elif name == "other shapes":
        np.savez(path, **{**arrays, "mean": np.zeros(7)})
    elif name == "not finite":
        np.savez(path, **{**arrays, "mean": np.full(30, np.nan)})
    elif name == "no variance":
        np.savez(path, **{**arrays, "explained_variance": np.zeros(3)})
    elif name == "objects":
        np.savez(path, **{**arrays, "mean": np.array([{}], object)})
    elif name == "pickled list":
        path.write_bytes(pickle.dumps([1, 2]))
    elif name == "pickled unfitted":
        path.write_bytes(pickle.dumps(PCA(3)))
    elif name == "pickled strange array":
        peer.mean_ = np.arange(30)
        path.write_bytes(pickle.dumps(peer))
    elif name == "pickled objects":
        peer.mean_ = np.array([{}] * 30, object)
        path.write_bytes(pickle.dumps(peer))
    else:
        path.write_bytes(b"PK\x03\x04 cut" if name == "cut" else b"")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing array", "'components' is missing"),
        ("other shapes", "no usable PCA: a PCA needs components"),
        ("not finite", "NaN"),
        ("no variance", "without variance cannot be whitened"),
        ("objects", "not readable as a PCA"),
        ("pickled list", "contains no scikit-learn PCA"),
        ("pickled unfitted", "mean_ is not an array of numbers"),
        ("pickled strange array", "its type is 'i8', not a float"),
        ("pickled objects", "its type is 'O8', not a float"),
        ("cut", "not readable as a PCA"),
        ("empty", "not readable as a PCA"),
    ],
)
def test_files_that_hold_no_pca_are_one_line(rng, tmp_path, name, text):
    path = damaged(tmp_path, name, rng)
    with pytest.raises(WeightsError, match=text) as caught:
        read_pca(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "text"),
    [("nowhere.npz", "no such file"), ("run:nowhere", "no such run"), ("run:.", r"contains no pca\.npz")],
)
def test_places_without_a_pca_are_named(tmp_path, monkeypatch, place, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=text):
        pca_path(place)


@pytest.mark.parametrize("solver", ["exact", "randomized"])
def test_the_variance_of_the_rows_is_known_though_they_are_overwritten(rng: np.random.Generator, solver: str) -> None:
    rows = (rng.normal(size=(60, 12)) * np.arange(1, 13) + 5).astype(np.float32)
    expected = rows.var(axis=0, ddof=1, dtype=np.float64).sum()
    assert fit_pca(rows, 3, solver=solver, overwrite=True).total_variance == pytest.approx(expected, rel=1e-5)
