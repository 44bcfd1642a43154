"""Figures of matching pairs and of orders, by definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from egotools.metrics.pairs import auc_score, matching_auc, matching_auc_within, order_score, recall_at


def test_the_area_is_the_share_of_pairs_in_the_right_order_with_ties_half(rng):
    positive, negative = rng.integers(6, size=9).astype(float), rng.integers(5, size=12).astype(float)
    pairs = [(one > other) + (one == other) / 2 for one, other in itertools.product(positive, negative)]
    assert auc_score(positive, negative) == pytest.approx(np.mean(pairs))
    assert math.isnan(auc_score(positive, negative[:0]))


def test_within_groups_only_items_of_one_group_are_compared():
    scores = np.array([[0.5, 0.1, 0.9, 0], [0.2, 0.3, 0.9, 0], [0.9, 0.9, 0.1, 0], [0, 0, 0, 0]])
    assert matching_auc(scores) == pytest.approx(
        np.mean(
            [one > other for one in (0.5, 0.3, 0.1, 0) for other in [0.1, 0.9, 0, 0.2, 0.9, 0, 0.9, 0.9, 0, 0, 0, 0]]
        )
        + np.mean(
            [one == other for one in (0.5, 0.3, 0.1, 0) for other in [0.1, 0.9, 0, 0.2, 0.9, 0, 0.9, 0.9, 0, 0, 0, 0]]
        )
        / 2
    )
    assert matching_auc_within(scores, np.array([7, 7, 3, 4])) == (1.0, 2)  # 0.5 and 0.3 against 0.1 and 0.2
    value, count = matching_auc_within(scores, np.arange(4))
    assert math.isnan(value)
    assert count == 0


def test_an_order_is_right_where_its_score_is_higher_and_half_right_where_both_are_alike():
    right, wrong = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[0.0, 2.0], [4.0, 0.0]])
    assert order_score(right, wrong) == pytest.approx((1 + 0.5 + 0 + 0.5) / 4)
    assert order_score(right, wrong, np.eye(2, dtype=bool)) == pytest.approx(0.75)
    assert math.isnan(order_score(right, wrong, np.zeros((2, 2), bool)))
    with pytest.raises(ValueError, match="do not belong together"):
        order_score(right, wrong[0])


def test_what_is_found_among_the_best_counts_and_ties_are_drawn_from():
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [5, 1, 1]])
    assert recall_at(scores, 1) == pytest.approx(1 / 3)
    assert recall_at(scores, 2) == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert recall_at(np.zeros((10, 10)), 5) == pytest.approx(0.5)  # a network that says the same of everything
    with pytest.raises(ValueError, match="no numbers"):
        recall_at(np.full((2, 2), np.nan), 1)
