"""Edit distances against what the reference gave, and against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from fill import DATA

from egotools.metrics.edit_distance import edit_distances, levenshtein


def test_distances_of_all_lengths_are_the_references():
    golden = np.load(DATA / "replai/lta_edit_distance.npz")
    predicted, true = golden["pred"].astype(np.int64), golden["label"].astype(np.int64)
    found = edit_distances(predicted, true)
    np.testing.assert_allclose(found.by_length, golden["ED"], rtol=1e-9)
    assert found.area == pytest.approx(golden["AUED"].item(), rel=1e-9)
    for candidate in range(predicted.shape[2]):
        whole = levenshtein(predicted[:, :, candidate], true)[:, -1]
        np.testing.assert_array_equal(whole, golden["distance_full"][:, candidate])


def defined(a: list[int], b: list[int]) -> int:
    """By the recursion that defines it."""
    if not a or not b:
        return len(a) + len(b)
    return min(defined(a[1:], b) + 1, defined(a, b[1:]) + 1, defined(a[1:], b[1:]) + (a[0] != b[0]))


def test_distances_are_those_of_the_definition_for_every_prefix():
    random = np.random.default_rng(0)
    predicted, true = random.integers(3, size=(2, 20, 5))
    found = levenshtein(predicted, true)
    for a, b, distances in zip(predicted.tolist(), true.tolist(), found.tolist(), strict=True):
        assert distances == [defined(a[:z], b[:z]) for z in range(1, 6)]


def test_a_swap_of_neighbors_costs_two():
    assert levenshtein(np.array([[1, 2]]), np.array([[2, 1]])).tolist() == [[1, 2]]


def test_the_best_candidate_may_be_another_at_another_length():
    true = np.array([[1, 2, 3]])
    predicted = np.array([[[1, 9], [9, 2], [9, 3]]])  # [N, Z, K]
    np.testing.assert_allclose(edit_distances(predicted, true).by_length, [0, 1 / 2, 1 / 3])


def test_no_samples_have_no_figures():
    found = edit_distances(np.zeros((0, 4, 5), np.int64), np.zeros((0, 4), np.int64))
    assert np.isnan(found.by_length).all()
    assert np.isnan(found.area)
