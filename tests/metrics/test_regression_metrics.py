"""Metrics of predicted numbers against recorded outputs, SciPy, and definitions."""

from __future__ import annotations

import fill
import numpy as np
import pytest
import torch
from scipy import stats

from egotools.metrics.bootstrap import bootstrap_interval
from egotools.metrics.regression import (
    absolute_error,
    js_divergence,
    kendall_score,
    kl_divergence,
    pearson_score,
    r2_score,
    spearman_score,
    squared_error,
)

RANKED = {"spearman": spearman_score, "kendall_tau_b": kendall_score, "kl": kl_divergence, "js": js_divergence}


@pytest.mark.parametrize("name", RANKED)
def test_metrics_are_the_references_with_ties(name):
    recorded = np.load(fill.DATA / "memorability/metrics.npz", allow_pickle=False)
    predicted = np.round(torch.sigmoid(fill.input_of("logit", 200, 1).double()).numpy(), 2)
    target = (0.4 + 0.6 * torch.sigmoid(fill.input_of("target", 200).double()))[:, None].numpy()
    assert RANKED[name](target, predicted) == pytest.approx(float(recorded[name]), abs=1e-9)


def test_correlations_are_scipys(rng):
    target, predicted = np.round(rng.random((2, 60)), 1)
    assert pearson_score(target, predicted) == pytest.approx(stats.pearsonr(target, predicted).statistic, rel=1e-12)
    assert spearman_score(target, predicted) == pytest.approx(stats.spearmanr(target, predicted).statistic, rel=1e-12)


@pytest.mark.parametrize("score", [pearson_score, spearman_score, kendall_score])
def test_without_variation_there_is_no_correlation(score, rng):
    constant = np.full(7, 0.1)  # whose float mean is not exactly 0.1
    assert np.isnan(score(rng.random(7), constant))
    assert np.isnan(score(constant, rng.random(7)))


def test_errors_and_explained_variance():
    target, predicted = np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.5, 0.4])
    assert squared_error(target, predicted) == pytest.approx(0.12)
    assert absolute_error(target, predicted) == pytest.approx(0.2)
    assert r2_score(target, predicted) == pytest.approx(1 - 0.36 / 0.5)
    assert r2_score(target, np.full(3, 0.5)) == pytest.approx(0)
    assert np.isnan(r2_score(np.ones(3), predicted))


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="do not belong together"):
        spearman_score(np.ones(3), np.ones(4))


def test_an_interval_holds_the_mean_and_is_as_wide_as_theory_says(rng):
    values = rng.normal(size=400)
    low, high = bootstrap_interval(lambda rows: float(values[rows].mean()), [np.arange(400)], draws=2000)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_equal_seeds_draw_equal_intervals_and_strata_keep_their_sizes():
    seen = []

    def statistic(rows):
        seen.append((rows < 3).sum())
        return float(rows.mean())

    strata = [np.arange(3), np.arange(3, 10)]
    first = bootstrap_interval(statistic, strata, draws=50, seed=4)
    assert set(seen) == {3}
    assert first == bootstrap_interval(statistic, strata, draws=50, seed=4)
    assert first != bootstrap_interval(statistic, strata, draws=50, seed=5)


def test_a_figure_that_never_exists_has_no_interval():
    assert np.isnan(bootstrap_interval(lambda rows: float("nan"), [np.arange(3)], draws=5)).all()
