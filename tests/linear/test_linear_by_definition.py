"""Softmax regression, its minimizer and PCA against loops, and against what must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from egotools.linear.lbfgs import minimize
from egotools.linear.pca import PCA, fit_pca
from egotools.linear.softmax import fit_path, gradient, objective


def problem(rng, rows=40, width=3, classes=3):
    """Rows [N, D] around the mean of their class, and labels; every class is there."""
    labels = torch.from_numpy(np.arange(rows) % classes)
    x = rng.normal(size=(rows, width)) + rng.normal(size=(classes, width))[labels]
    return torch.from_numpy(x.astype(np.float32)), labels


def test_the_objective_is_its_loop(rng):
    x, labels = problem(rng)
    point = torch.from_numpy(rng.normal(size=(3, 4)).astype(np.float32))
    total = 0.0
    for row, label in zip(x.tolist(), labels.tolist(), strict=True):
        logits = [sum(w * v for w, v in zip(own, [*row, 1.0], strict=True)) for own in point.tolist()]
        total += math.log(sum(math.exp(logit) for logit in logits)) - logits[label]
    squares = sum(w * w for own in point.tolist() for w in own[:-1])  # not of the bias
    assert objective(x, labels, 0.3, point) == pytest.approx(total / len(x) + 0.15 * squares, rel=1e-6)


def test_the_gradient_is_what_automatic_differentiation_finds(rng):
    x, labels = problem(rng)
    point = torch.from_numpy(rng.normal(size=(3, 4))).requires_grad_()
    loss = torch.nn.functional.cross_entropy(x.double() @ point[:, :-1].T + point[:, -1], labels)
    (loss + 0.15 * point[:, :-1].square().sum()).backward()
    found = gradient(x, labels, 0.3, point.detach().float())
    torch.testing.assert_close(found, point.grad.float(), rtol=1e-4, atol=1e-6)


def test_the_order_of_rows_and_the_numbers_of_classes_do_not_matter(rng):
    x, labels = problem(rng)
    (fit,) = fit_path(x, labels, 3, c=[1.0])
    order = torch.from_numpy(rng.permutation(len(x)))
    (mixed,) = fit_path(x[order], labels[order], 3, c=[1.0])
    turned = torch.tensor([2, 0, 1])  # class k is called turned[k]
    (renamed,) = fit_path(x, turned[labels], 3, c=[1.0])
    assert mixed.objective == pytest.approx(fit.objective, abs=1e-5)
    assert renamed.objective == pytest.approx(fit.objective, abs=1e-5)
    torch.testing.assert_close(mixed.logits(x).softmax(1), fit.logits(x).softmax(1), rtol=0, atol=2e-2)
    torch.testing.assert_close(renamed.logits(x)[:, turned].softmax(1), fit.logits(x).softmax(1), rtol=0, atol=2e-2)


def test_the_minimum_is_flat_and_a_weaker_penalty_fits_better(rng):
    x, labels = problem(rng)
    fits = fit_path(x, labels, 3, c=[10.0, 0.01, 1.0])
    assert [fit.c for fit in fits] == [10.0, 0.01, 1.0]
    for fit in fits:
        point = torch.cat([fit.weight, fit.bias[:, None]], dim=1)
        penalty = 1 / (fit.c * len(x))
        assert gradient(x, labels, penalty, point).abs().max() < 2e-3
        assert objective(x, labels, penalty, point) == pytest.approx(fit.objective)
        nudged = point + 0.05 * torch.from_numpy(rng.normal(size=point.shape).astype(np.float32))
        assert objective(x, labels, penalty, nudged) > fit.objective
    norms = [float(fit.weight.norm()) for fit in fits]
    assert norms[1] < norms[2] < norms[0]


def test_with_fewer_rows_than_features_the_weights_are_combinations_of_rows(rng):
    x, labels = problem(rng, rows=6, width=20)
    (fit,) = fit_path(x, labels, 3, c=[1.0])
    shares = torch.linalg.lstsq(x.T, fit.weight.T).solution
    torch.testing.assert_close(x.T @ shares, fit.weight.T, rtol=1e-3, atol=1e-4)
    assert (fit.logits(x).argmax(1) == labels).all()


@settings(max_examples=20)
@given(seed=some.integers(0, 99), width=some.integers(1, 6))
def test_a_quadratic_ends_at_its_minimum_from_gradients_alone(seed, width):
    rng = np.random.default_rng(seed)
    root = torch.from_numpy(rng.normal(size=(width, width)))
    matrix, target = root @ root.T + torch.eye(width), torch.from_numpy(rng.normal(size=width))
    found = minimize(
        lambda point: matrix @ (point - target), torch.zeros(width).double(),
        guess=lambda slopes: slopes, largest=1e-7, gap=1e-12, steps=200,
    )  # fmt: skip
    torch.testing.assert_close(found.point, target, rtol=1e-5, atol=1e-5)


def test_a_start_at_the_minimum_costs_one_evaluation_and_no_step_more_than_allowed():
    def slopes(point):
        return point

    stay = minimize(slopes, torch.zeros(3), guess=slopes, largest=1e-6, gap=1e-9, steps=50)
    assert (stay.evaluations, stay.pairs, stay.point.tolist()) == (1, (), [0, 0, 0])
    none = minimize(slopes, torch.ones(3), guess=slopes, largest=1e-6, gap=1e-9, steps=0)
    assert none.point.tolist() == [1, 1, 1]
    exact = minimize(slopes, torch.ones(3), guess=slopes, largest=1e-6, gap=1e-9, steps=50)
    assert (exact.evaluations, exact.point.tolist()) == (2, [0, 0, 0])


def test_a_pca_projects_by_its_definition_and_all_components_give_the_rows_back(rng):
    rows = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4)) + 5
    plain, white = (fit_pca(rows, 4, whiten=whiten) for whiten in (False, True))
    np.testing.assert_allclose(plain.components @ plain.components.T, np.eye(4), atol=1e-9)
    projected = plain.project(rows, np.float64)
    np.testing.assert_allclose(projected @ plain.components + plain.mean, rows, atol=1e-9)
    np.testing.assert_allclose(projected.var(axis=0, ddof=1), plain.explained_variance, rtol=1e-9)
    deviations = np.sqrt(white.explained_variance)
    np.testing.assert_allclose(white.project(rows, np.float64), projected / deviations, rtol=1e-7, atol=1e-9)
    assert plain.project(rows).dtype == np.float32
    np.testing.assert_allclose(plain.project(rows), projected, rtol=1e-4, atol=1e-4)


def test_moved_and_mixed_rows_have_the_same_components(rng):
    rows = rng.normal(size=(30, 4)) * [5, 3, 2, 1]
    found = fit_pca(rows, 3)
    for other in (rows + np.array([9, -9, 0, 3]), rng.permutation(rows), -rows):
        again = fit_pca(other, 3)
        np.testing.assert_allclose(again.components, found.components, atol=1e-9)
        np.testing.assert_allclose(again.explained_variance, found.explained_variance, rtol=1e-9)
    np.testing.assert_allclose(fit_pca(rows * 2, 3).explained_variance, 4 * found.explained_variance, rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": np.zeros(3)}, r"components \[C, D\]"),
        ({"components": np.zeros(2)}, r"components \[C, D\]"),
        ({"explained_variance": np.ones(2)}, r"components \[C, D\]"),
        ({"mean": np.array([0, np.nan])}, "NaN"),
        ({"components": np.array([[np.inf, 0]])}, "infinite"),
        ({"explained_variance": np.zeros(1)}, "cannot be whitened"),
    ],
)
def test_arrays_that_are_no_pca_are_refused(change, said):
    right = {"mean": np.zeros(2), "components": np.array([[1.0, 0.0]]), "explained_variance": np.ones(1)}
    PCA(**right)
    with pytest.raises(ValueError, match=said):
        PCA(**{**right, **change})
    PCA(**{**right, "explained_variance": np.zeros(1)}, whiten=False)
