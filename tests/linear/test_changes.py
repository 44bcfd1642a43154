"""Scores of changes: their definition, planted cuts under noise and drift, and which borders are chosen."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from clip_rows import scenes

from egotools.linear import changes
from egotools.linear.changes import THRESHOLD, change_scores, strongest


def found(values: np.ndarray) -> list[int]:
    """The first rows after changes, by the default threshold."""
    return (1 + strongest(change_scores(values), np.arange(len(values) - 1.0), least=THRESHOLD)).tolist()


def unit(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values.astype(float), axis=1, keepdims=True))


def spread(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.sum((unit(values) - unit(values).mean(axis=0)) ** 2, axis=1))))


def drift(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    """Rows that move on at an even pace, as a camera that turns."""
    angle = np.linspace(0, 1.5, count)[:, np.newaxis]
    one, other = np.random.default_rng(seed).normal(size=(2, width))
    return np.asarray(np.cos(angle) * one + np.sin(angle) * other)


def test_a_score_is_a_step_by_the_steps_around_it_and_the_spread(rng, monkeypatch):
    values = rng.normal(size=(9, 4)).astype(np.float32)
    steps = [float(np.linalg.norm(after - before)) for before, after in pairwise(unit(values))]
    near = [[steps[j] for j in range(i - 2, i + 3) if j != i and 0 <= j < len(steps)] for i in range(len(steps))]
    expected = [step / (np.mean(each) + 0.3 * spread(values)) for step, each in zip(steps, near, strict=True)]
    np.testing.assert_allclose(change_scores(values), expected, rtol=1e-12)
    monkeypatch.setattr(changes, "BLOCK", 4)  # rows do not depend on how many are looked at together
    np.testing.assert_allclose(change_scores(values), expected, rtol=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1])
def test_planted_cuts_are_found_and_nothing_else(noise):
    assert found(scenes(12, 30, 7, 41, 10, width=16, noise=noise)) == [12, 42, 49, 90]
    assert found(drift(100) + noise * scenes(100, width=16)) == []
    assert found(np.concatenate([drift(40), drift(60, seed=1)])) == [40]


def test_nothing_changes_in_rows_of_noise_or_in_equal_or_too_few_rows(rng):
    assert found(rng.normal(size=(500, 32))) == []
    assert found(np.ones((50, 8), np.float32)) == []
    assert found(np.zeros((50, 8))) == []  # black frames
    for count in (1, 2, 3):
        assert change_scores(np.eye(4)[:count]).tolist() == [0.0] * (count - 1)


def test_the_size_of_the_features_does_not_matter():
    values = scenes(12, 30, 7, 41)
    np.testing.assert_allclose(change_scores(1e-3 * values), change_scores(values))


def test_with_a_lag_a_step_is_compared_with_those_of_every_so_manyth_row(rng):
    values = rng.normal(size=(31, 6))
    every = values[1::3]
    whole, part = change_scores(values, lag=3)[1::3], change_scores(every)
    steps = np.array([np.linalg.norm(after - before) for before, after in pairwise(unit(every))])
    around = [steps / scores - 0.3 * spread(rows) for scores, rows in ((whole, values), (part, every))]
    np.testing.assert_allclose(*around)


def test_of_near_borders_the_strongest_stays_and_distance_is_in_seconds():
    scores, seconds = np.array([1.0, 3, 2, 0, 5, 4]), np.array([0.0, 1, 2, 3, 4, 10])
    assert strongest(scores, seconds, least=0.0).tolist() == [0, 1, 2, 4, 5]
    assert strongest(scores, seconds, least=0.0, apart=2.0).tolist() == [1, 4, 5]
    assert strongest(scores, seconds, least=4.5, apart=2.0).tolist() == [4]
    assert strongest(scores, seconds, least=0.0, apart=2.0, most=2).tolist() == [4, 5]
    assert strongest(scores, seconds, least=0.0, most=0).tolist() == []


def test_a_row_that_is_not_finite_and_no_rows_are_refused(monkeypatch):
    values = scenes(12, 30)
    values[17] = np.nan
    monkeypatch.setattr(changes, "BLOCK", 10)
    with pytest.raises(ValueError, match="from row 10 on, row 7 has NaN"):
        change_scores(values)
    with pytest.raises(ValueError, match="need the shape"):
        change_scores(values[:0])
