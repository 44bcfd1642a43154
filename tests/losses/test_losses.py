"""Losses against the outputs that the reference gave, against their definitions, and at their edges."""

from __future__ import annotations

import itertools

import fill
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from egotools.losses.regression import l1, mse, mse_tails
from egotools.losses.soft_rank import soft_rank
from egotools.losses.spearman import mse_to_spearman, spearman

GOLDENS = fill.DATA / "memorability"
LOSSES = {
    "mse": mse,
    "l1": l1,
    "mse_tails": mse_tails,
    "spearman": spearman,
    "mse_to_spearman_0.0": lambda p, t: mse_to_spearman(p, t, share=0.0),
    "mse_to_spearman_0.25": lambda p, t: mse_to_spearman(p, t, share=0.25),
    "mse_to_spearman_1.0": lambda p, t: mse_to_spearman(p, t, share=1.0),
}


def scores(case):
    """What the recorded losses were given, float32."""
    if case == "losses_unit32":
        predicted = torch.sigmoid(fill.input_of("logit", 32, 1))
        return predicted, (0.4 + 0.6 * torch.sigmoid(fill.input_of("target", 32)))[:, None]
    return 6 * fill.input_of("logit", 16, 1), 6 * fill.input_of("wide_target", 16, 1)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["losses_unit32", "losses_wide16"])
@pytest.mark.parametrize(("kind", "suffix"), [(torch.float32, ""), (torch.float64, "_f64")])
def test_losses_and_their_gradients_are_the_references(case, name, kind, suffix):
    recorded = np.load(GOLDENS / f"{case}.npz", allow_pickle=False)
    predicted, target = (values.to(kind) for values in scores(case))
    predicted.requires_grad_()
    loss = LOSSES[name](predicted, target)
    loss.backward()
    rtol = 1e-4 if "spearman" in name and kind == torch.float32 else 1e-5  # as recorded with them
    np.testing.assert_allclose(loss.item(), recorded[name + suffix], rtol=rtol, atol=1e-7)
    np.testing.assert_allclose(predicted.grad.numpy(), recorded[f"{name}_grad{suffix}"], rtol=rtol, atol=1e-7)


@pytest.mark.parametrize(
    "case", [*itertools.product(["l2"], [0.01, 0.1, 1.0, 3.0]), ("kl", 0.1), ("kl", 1.0), ("kl", 3.0)]
)
@pytest.mark.parametrize(("kind", "suffix"), [(torch.float32, ""), (torch.float64, "_f64")])
def test_soft_ranks_and_their_gradients_are_torchsorts(case, kind, suffix):
    regularization, strength = case
    recorded = np.load(GOLDENS / "soft_rank.npz", allow_pickle=False)
    values = fill.input_of("values", 3, 12).to(kind).requires_grad_()
    ranks = soft_rank(values, strength=strength, regularization=regularization)
    ranks.backward(fill.input_of("cotangent", 3, 12).to(kind))
    name = f"{regularization}_{strength}"
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if kind == torch.float32 else {"rtol": 0, "atol": 1e-9}
    np.testing.assert_allclose(ranks.detach().numpy(), recorded[name + suffix], **tolerance)
    np.testing.assert_allclose(values.grad.numpy(), recorded[f"{name}_vjp{suffix}"], **tolerance)


def test_equal_values_share_their_soft_rank_and_its_gradient():
    recorded = np.load(GOLDENS / "soft_rank.npz", allow_pickle=False)
    values = torch.tensor([[0.5, 0.5, 2.0, -1.0, 2.0, 7.0, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    ranks = soft_rank(values)
    ranks.backward(torch.arange(8, dtype=torch.float64)[None])
    np.testing.assert_allclose(ranks.detach().numpy(), recorded["ties_l2_1.0_f64"], atol=1e-9)
    np.testing.assert_allclose(values.grad.numpy(), recorded["ties_vjp_f64"], atol=1e-9)


def slow_soft_rank(values, strength):
    """The closed form: v_i = min over a <= i of max over b >= i of the mean of y from a to b."""
    scaled = np.asarray(values) / strength
    order = np.argsort(-scaled, kind="stable")
    n = len(scaled)
    y = scaled[order] - np.arange(n, 0, -1)
    v = [min(max(y[a : b + 1].mean() for b in range(i, n)) for a in range(i + 1)) for i in range(n)]
    ranks = np.empty(n)
    ranks[order] = scaled[order] - v
    return ranks


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-50, 50, allow_nan=False), min_size=1, max_size=9),
    st.sampled_from([0.01, 0.3, 1.0, 20.0]),
)
def test_soft_ranks_equal_their_closed_form_and_sum_up_to_all_ranks(values, strength):
    ranks = soft_rank(torch.tensor(values, dtype=torch.float64), strength=strength).numpy()
    np.testing.assert_allclose(ranks, slow_soft_rank(values, strength), atol=1e-6)
    np.testing.assert_allclose(ranks.sum(), len(values) * (len(values) + 1) / 2, atol=1e-6)


@pytest.mark.parametrize("regularization", ["l2", "kl"])
def test_gradients_of_soft_ranks_are_those_of_small_steps(regularization, rng):
    values = torch.tensor(rng.normal(size=(2, 7)), requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: soft_rank(x, strength=0.5, regularization=regularization), (values,), atol=1e-6
    )


def test_a_small_strength_ranks_hard():
    values = torch.tensor([0.3, -2.0, 0.31, 8.0])
    torch.testing.assert_close(soft_rank(values, strength=1e-3), torch.tensor([2.0, 1.0, 3.0, 4.0]))


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(8)))
def test_soft_ranks_follow_their_values_into_any_order(order):
    values = torch.tensor([3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 6.0, 5.0], dtype=torch.float64)
    torch.testing.assert_close(
        soft_rank(values[list(order)], strength=0.7), soft_rank(values, strength=0.7)[list(order)]
    )


def test_of_scores_within_one_strength_the_rank_loss_is_pearsons(rng):
    predicted, target = torch.tensor(rng.random((2, 40)))
    pearson = np.corrcoef(predicted, target)[0, 1]
    assert spearman(predicted, target).item() == pytest.approx(-pearson / 100, rel=1e-12)
    assert spearman(predicted, target, strength=1e-4).item() != pytest.approx(-pearson / 100, rel=1e-3)


def test_with_a_small_strength_the_rank_loss_is_spearmans(rng):
    from scipy.stats import spearmanr

    predicted, target = torch.tensor(rng.random((2, 40)))
    loss = spearman(predicted, target, strength=1e-7).item()
    assert loss == pytest.approx(-spearmanr(predicted, target).statistic / 100, rel=1e-6)


@pytest.mark.parametrize("loss", [spearman, lambda p, t: mse_to_spearman(p, t, share=0.5)])
def test_one_clip_has_no_order(loss):
    with pytest.raises(ValueError, match="a batch of 1 clip has no order"):
        loss(torch.rand(1, 1), torch.rand(1, 1))


def test_equal_predictions_have_a_finite_rank_loss():
    predicted = torch.full((5,), 0.5, requires_grad=True)
    loss = spearman(predicted, torch.rand(5))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(predicted.grad).all()


def test_a_strength_of_zero_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        soft_rank(torch.rand(3), strength=0.0)


def test_the_center_of_tails_decides_which_errors_weigh_most():
    predicted, target = torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.9])
    errors = (
        mse_tails(predicted, target, center=0.1, factor=100.0),
        mse_tails(predicted, target, center=0.5, factor=100.0),
    )
    assert errors[0].item() == pytest.approx(0.16, rel=1e-6)  # equal errors: weights average to one
    far = mse_tails(torch.tensor([0.1, 0.5]), target, center=0.1, factor=100.0)  # only the one far from 0.1 is wrong
    near = mse_tails(torch.tensor([0.5, 0.9]), target, center=0.1, factor=100.0)
    assert far > 0.15 > near
