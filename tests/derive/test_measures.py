"""Measures of similarity and clusters: the reference's outputs, definitions, and what noise becomes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from fill import DATA, normal
from sklearn.neighbors import KernelDensity
from sklearn.neural_network import MLPClassifier

from egotools.derive import measures as similarity
from egotools.derive.clusters import NOISE, columns_of, group, network, perplexity_of, tsne
from egotools.derive.fitted import read_arrays
from egotools.derive.measures import Floats, Integers
from egotools.linear.pca import fit_pca

SEED = np.random.default_rng(3)
# The goldens' own tolerance: float64 through a singular value decomposition of another library.
CLOSE = {"rtol": 1e-6, "atol": 1e-8}


def data(name: str, *shape: int) -> Floats:
    return normal(f"input/{name}", shape).astype(np.float64)


@pytest.fixture(scope="module")
def simple():
    """The coordinates of 120 training rows and 30 others, the classes of the former, and what the reference gives."""
    rows = 2 * data("centers", 8, 64)[np.arange(150) % 8] + 0.8 * data("noise", 150, 64)
    pca = fit_pca(rows[:120], 10, whiten=True, solver="exact")
    coordinates = (rows - pca.mean) @ pca.components.T / np.sqrt(pca.explained_variance)
    classes = [{f"c{at % 8}"} | ({f"d{at % 3}"} if at % 4 == 0 else set()) for at in range(120)]
    return coordinates, classes, read_arrays(DATA / "memorability/similarity_simple.npz")


def test_coordinates_are_those_of_the_reference(simple):
    coordinates, _, golden = simple
    np.testing.assert_allclose(coordinates, golden["pca_all_signed"], **CLOSE)


@pytest.mark.parametrize("threshold", [0.4, 0.5, 0.7])
def test_shares_of_similar_rows_are_those_of_the_reference(simple, threshold):
    coordinates, _, golden = simple
    found = similarity.cosine_share(coordinates, coordinates, threshold)
    np.testing.assert_allclose(found, golden[f"cosine_threshold{threshold}"], **CLOSE)


def test_distances_are_those_of_the_reference(simple):
    coordinates, classes, golden = simple
    mean = coordinates[:120].mean(axis=0, keepdims=True)
    found = similarity.fractional_distance(coordinates, mean)[:, 0]
    np.testing.assert_allclose(found, golden["fractional_mean"], **CLOSE)
    names, points = similarity.prototypes(coordinates[:120], classes)
    assert names == sorted({name for own in classes for name in own})
    euclidean = similarity.euclidean_distance(coordinates, points)
    np.testing.assert_allclose(euclidean, golden["euclidean_to_prototypes"], **CLOSE)
    fractional = similarity.fractional_distance(coordinates, points)
    np.testing.assert_allclose(fractional, golden["fractional_to_prototypes"], **CLOSE)


def test_densities_are_those_of_the_reference(simple):
    coordinates, _, golden = simple
    bandwidth = similarity.best_bandwidth(coordinates[:120])
    assert bandwidth == pytest.approx(float(golden["kde_bandwidth"]), rel=1e-12)
    found = -similarity.log_density(coordinates, coordinates[:120], bandwidth)
    np.testing.assert_allclose(found, golden["kde_scores"], **CLOSE)


def test_the_cosine_to_a_mean_that_is_nothing_is_0(simple):
    coordinates, _, golden = simple
    assert np.abs(golden["cosine_mean"]).max() < 1e-8
    assert similarity.cosine_to_mean(coordinates, coordinates[:120].mean(axis=0)).tolist() == [0.0] * 150
    assert similarity.cosine_to_mean(np.array([[0.0, 2.0], [3.0, 3.0]]), np.array([0.0, 5.0])) == pytest.approx(
        [1, np.sqrt(0.5)]
    )


def nearest(train: Floats, labels: Integers):
    """The golden's stand-in for the classifier: the label of the nearest training row, the first on ties."""
    return lambda rows: labels[similarity.euclidean_distance(rows, train).argmin(axis=1)]


@pytest.mark.parametrize(
    ("name", "eps", "spread", "sizes"), [("hrnet", 1.25, 0.5, (400, 100, 12)), ("csn", 0.9, 0.35, (300, 60, 9))]
)
def test_clusters_are_those_of_the_reference(name, eps, spread, sizes):
    count, others, clusters = sizes
    assigned = (1000 * np.abs(data("assign", count + others))).astype(int) % clusters
    noise = data("noise", count + others, 10)
    rows = 6.0 * data("centers", clusters, 10)[assigned] + spread * noise
    rows[5::17] += 30 * np.sign(noise[5::17])
    golden = read_arrays(DATA / f"memorability/similarity_dbscan_{name}.npz")
    embed = {"embed": lambda train: train[:, :3], "learn": nearest}
    found = group(rows[:count], rows[count:], eps=eps, noise="last", **embed)
    assert found.labels.tolist() == golden["train_labels"].tolist()
    assert found.index.tolist() == golden["cluster_index"].tolist()
    assert found.width == int(golden["n_columns"])
    zero, own = (group(rows[:count], rows[count:], eps=eps, noise=noise, **embed) for noise in ("zero", "own"))
    is_noise = zero.index == -1
    assert is_noise[:count].tolist() == (found.labels == NOISE).tolist()
    assert (zero.width, own.width) == (found.width, found.width + 1)
    assert set(own.index[is_noise]) == {found.width}
    assert set(found.index[is_noise]) == {found.width - 1}
    assert (found.index[~is_noise] == zero.index[~is_noise]).all()


@pytest.mark.parametrize("noise", ["last", "zero", "own"])
def test_without_a_cluster_there_is_one_column_that_nothing_has(noise):
    index, width = columns_of(np.full(4, NOISE), 0, noise)
    assert (index.tolist(), width) == ([-1] * 4, 1)


# Definitions


def test_a_density_is_a_mean_of_epanechnikov_kernels_as_scikit_learn_has_them():
    rows, others = SEED.normal(size=(300, 3)), SEED.normal(size=(50, 3)) * 2
    expected = KernelDensity(kernel="epanechnikov", bandwidth=0.9).fit(rows).score_samples(others)
    np.testing.assert_allclose(similarity.log_density(others, rows, 0.9), expected, rtol=1e-9)
    assert np.isneginf(similarity.log_density(np.full((1, 3), 50.0), rows, 0.9)).all()


def test_the_best_bandwidth_is_that_of_five_folds_of_neighbouring_rows():
    rows = SEED.normal(size=(63, 2))  # folds of 13 and 12
    candidates = [0.05, 0.5, 1.1, 1.9, 4.0]
    totals = []
    for each in candidates:
        models = [(held, KernelDensity(kernel="epanechnikov", bandwidth=each)) for held in np.array_split(range(63), 5)]
        totals.append(sum(model.fit(np.delete(rows, held, axis=0)).score(rows[held]) for held, model in models))
    assert np.isneginf(totals[0])
    assert similarity.best_bandwidth(rows, candidates) == candidates[int(np.argmax(totals))]


def test_distances_and_shares_equal_their_loops():
    rows, others = SEED.normal(size=(7, 4)), SEED.normal(size=(5, 4))
    for at, row in enumerate(rows):
        cosines = [row @ other / np.linalg.norm(row) / np.linalg.norm(other) for other in others]
        assert similarity.cosine_share(rows, others, 0.1)[at] == np.mean([cosine >= 0.1 for cosine in cosines])
        for k, other in enumerate(others):
            total = sum(abs(a - b) ** 0.3 for a, b in zip(row, other, strict=True))
            assert similarity.fractional_distance(rows, others, 0.3)[at, k] == pytest.approx(total ** (1 / 0.3))


@pytest.mark.parametrize("classes", [2, 4])
def test_the_network_says_what_the_classifier_that_was_fitted_says(classes):
    rows = SEED.normal(size=(80, 3))
    labels = (np.abs(rows[:, 0] * 10).astype(int) % classes) - 1
    remarks: list[str] = []
    found = network(0, remarks)(rows, labels)
    expected = MLPClassifier(max_iter=500, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected.fit(rows, labels)
    others = SEED.normal(size=(200, 3))
    assert found(others).tolist() == expected.predict(others).tolist()
    assert bool(remarks) == (expected.n_iter_ == 500)


def test_a_single_class_needs_no_classifier():
    found = network(0, [])(np.zeros((3, 2)), np.full(3, NOISE))
    assert found(np.zeros((2, 2))).tolist() == [NOISE, NOISE]


def test_the_embedding_has_three_dimensions_and_is_the_same_every_time():
    rows = SEED.normal(size=(12, 5))
    points = tsne(0)(rows)
    assert points.shape == (12, 3)
    assert tsne(0)(rows).tolist() == points.tolist()


@pytest.mark.parametrize(("rows", "expected"), [(2, 1 / 3), (31, 10), (91, 30), (7000, 30)])
def test_few_rows_have_a_smaller_perplexity(rows, expected):
    assert perplexity_of(rows) == pytest.approx(expected)
