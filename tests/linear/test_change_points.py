"""Change points: those of the reference, of the definition written out, ties, black frames, and what is refused."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from fill import DATA, normal

from egotools.linear.change_points import change_points, picks_of_rows, picks_of_similarity

STORYBOARD = DATA / "storyboard"
Array = np.ndarray[Any, Any]


def recorded_rows(how: dict[str, Any]) -> Array:
    """The rows of a recorded case, as its description says they were made."""
    count, width, bounds = how["n"], how["d"], how["bounds"]
    centers, noise, walk = (
        normal(f"input/{name}", (rows, width))
        for name, rows in (("centers", len(bounds) + 1), ("emb", count), ("walk", count))
    )
    place = np.searchsorted(bounds, np.arange(count), side="right")
    drift = how["walk"] * np.cumsum(walk.astype(np.float64), axis=0)
    return np.asarray((how["amp"] * centers[place] + how["noise"] * noise + drift).astype(np.float32))


def score(similarity: Array, points: list[int]) -> float:
    """The definition."""
    spans = pairwise([0, *sorted(points), len(similarity)])
    return sum(float(similarity[a:b, a:b].sum()) / (b - a) for a, b in spans)


def searched(similarity: Array, segments: int) -> list[int]:
    """The reference's search: every candidate with all blocks summed; strictly larger scores win."""
    chosen: list[int] = []
    for _ in range(segments - 1):
        best, pick = -np.inf, 0
        for candidate in range(1, len(similarity) - 1):
            if candidate not in chosen and (value := score(similarity, [*chosen, candidate])) > best + 1e-9:
                best, pick = value, candidate
        chosen.append(pick)
    return chosen


@pytest.mark.parametrize("case", ["n60", "n100", "n120_noise", "n200_drift", "n400"])
def test_change_points_are_the_references(case):
    described = json.loads((STORYBOARD / f"cluster_{case}.json").read_text())
    recorded = np.load(STORYBOARD / f"cluster_{case}.npz")
    rows = recorded_rows(described["inputs"][0])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for picks in (
        picks_of_rows(rows, len(recorded["order"]) + 1),
        picks_of_similarity(unit @ unit.T, len(recorded["order"]) + 1),
    ):
        assert picks.order.tolist() == recorded["order"].tolist()
        np.testing.assert_allclose(picks.scores, recorded["scores_float64"], rtol=1e-6)
    for segments in described["constructor"]["num_clusters"]:
        assert change_points(rows, segments).tolist() == recorded[f"change_points_k{segments}"].tolist()


def test_change_points_of_a_whole_memory_are_the_references():
    recorded = np.load(STORYBOARD / "cluster_n5000.npz")
    rows = normal("input/emb5000", (5000, 2048))
    rows += normal("input/centers", (12, 2048))[12 * np.arange(5000) // 5000]
    picks = picks_of_rows(rows, 10)
    assert picks.order.tolist() == recorded["order_k10_exact"].tolist()
    assert sorted(picks.order[:6]) == recorded["change_points_k7"].tolist()
    np.testing.assert_allclose(np.diff([picks.first, *picks.scores]), recorded["gains"], rtol=1e-5)


@pytest.mark.parametrize("case", ["ones12_k4", "eye12_k4", "ones12_k1", "neg12_k3"])
def test_ties_go_to_the_first_row_as_in_the_reference(case):
    kind, segments = case.split("12_k")
    similarity = {"ones": np.ones((12, 12)), "eye": np.eye(12), "neg": 2 * np.eye(12) - 1}[kind]
    wanted = np.load(STORYBOARD / "cluster_edges.npz")[case].tolist()
    assert picks_of_similarity(similarity, int(segments)).points.tolist() == wanted
    if kind != "neg":  # no Gram matrix
        rows = np.ones((12, 3)) if kind == "ones" else np.eye(12)
        assert change_points(rows, int(segments)).tolist() == wanted


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_picks_are_those_of_the_definition_down_to_segments_of_one_row(rng, dtype):
    for count in (3, 4, 9, 20):
        rows = rng.normal(size=(count, 5)).astype(dtype)
        unit = rows.astype(float) / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
        wanted = searched(unit @ unit.T, count - 1)
        assert picks_of_rows(rows, count - 1).order.tolist() == wanted
        any_matrix = rng.normal(size=(count, count))
        assert picks_of_similarity(any_matrix, count - 1).order.tolist() == searched(any_matrix, count - 1)


def test_more_segments_keep_the_change_points_of_fewer(rng):
    rows = rng.normal(size=(40, 6)).cumsum(axis=0)
    for fewer, more in pairwise(set(change_points(rows, segments).tolist()) for segments in range(1, 12)):
        assert fewer < more


def test_the_length_of_a_row_does_not_matter(rng):
    rows = rng.normal(size=(30, 6))
    scaled = rows * rng.uniform(0.01, 100, (30, 1))
    assert change_points(rows, 6).tolist() == change_points(scaled, 6).tolist()


def test_black_frames_are_rows_of_zeros_and_a_segment_of_their_own(rng):
    rows = np.repeat(rng.normal(size=(2, 64)), 10, axis=0).astype(np.float32)
    rows[7:13] = 0
    assert change_points(rows, 3).tolist() == [7, 13]
    assert change_points(np.zeros((6, 3)), 3).tolist() == [1, 2]


def test_a_still_picture_is_cut_at_its_first_rows_whatever_rounding_says(rng):
    rows = np.repeat(rng.normal(size=(1, 257)), 300, axis=0)
    assert change_points(rows, 5).tolist() == [1, 2, 3, 4]


def test_rows_that_are_not_finite_are_named():
    rows = np.ones((40, 3), np.float32)
    rows[33, 1] = np.nan
    with pytest.raises(ValueError, match="row 33 has NaN"):
        change_points(rows, 2)
    with pytest.raises(ValueError, match="row 33 has NaN"):
        picks_of_similarity(np.diag(rows[:, 1]), 2)
    rows[33, 1] = np.inf
    with pytest.raises(ValueError, match="row 33 has NaN or infinite"):
        change_points(rows, 2)


@pytest.mark.parametrize(("count", "segments"), [(6, 6), (6, 8), (6, 0), (1, 2), (2, 2)])
def test_more_segments_than_there_can_be_are_refused(count, segments):
    for search in (change_points, lambda rows, k: picks_of_similarity(rows @ rows.T, k)):
        with pytest.raises(ValueError, match=f"{segments} segments of {count} rows: choose 1 to"):
            search(np.ones((count, 2)), segments)


def test_a_single_row_is_one_segment():
    assert change_points(np.ones((1, 2)), 1).tolist() == []


@pytest.mark.parametrize("shape", [(0, 3), (4,), (2, 2, 2)])
def test_features_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        change_points(np.ones(shape), 1)
