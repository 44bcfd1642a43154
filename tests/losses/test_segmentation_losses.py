"""Losses of segmentation and of view invariance; tests/nn/test_c2f_tcn.py has the reference's figures of the former."""

from __future__ import annotations

import fill
import numpy as np
import pytest
import torch

from egotools.losses.segmentation import cross_entropy, smoothing
from egotools.losses.view_invariance import invariance_weight, slot_mse
from egotools.nn.view_invariance import PseudoStream, Refiner

GOLDENS = fill.DATA / "two_stream"
CASES = {"view-invariance": "ssl_our_method_small", "simple-3d": "ssl_ablation_simple_3d_small"}


def views():
    """Of the two cameras, slots of padding zero [3, 20, 64]."""
    mask = torch.arange(20) < torch.tensor([20, 13, 7])[:, None]
    return [fill.input_of(name, 3, 20, 64) * mask[..., None] for name in ("src", "tgt")]


def gradient_norms(network):
    return [parameter.grad.norm().item() for parameter in network.parameters()]


@pytest.mark.parametrize("kind", CASES)
def test_losses_of_two_views_and_their_gradients_are_the_references(kind):
    recorded = np.load(GOLDENS / f"{CASES[kind]}.npz", allow_pickle=False)
    (ego, exo), refiner, stream = views(), fill.filled(Refiner(64)), fill.filled(PseudoStream(kind, 64))
    joint = stream(torch.cat([ego + 1, exo - 1], dim=-1), "batch")
    one, other = refiner(ego, "batch"), refiner(exo, "batch")
    reconstruction, distance = slot_mse(one, joint) + slot_mse(other, joint), slot_mse(one, other)
    assert reconstruction.item() == pytest.approx(recorded["loss_recon_epoch0"].item(), rel=2e-4)
    assert distance.item() == pytest.approx(recorded["loss_invar_unweighted"].item(), rel=2e-4)
    (reconstruction + invariance_weight(0) * distance).backward()
    for network, name in ((stream, "synth"), (refiner, "refiner")):
        np.testing.assert_allclose(gradient_norms(network), recorded[f"grad_l2_{name}"], rtol=2e-3, atol=1e-4)


def test_the_loss_of_one_view_and_its_gradients_are_the_references():
    recorded = np.load(GOLDENS / "ssl_sync_kd_small.npz", allow_pickle=False)
    (ego, exo), refiner = views(), fill.filled(Refiner(64))
    loss = slot_mse(refiner(exo, "batch"), ego)
    assert [slot_mse(exo, ego).item(), loss.item()] == pytest.approx(recorded["train_log"][0], rel=2e-3)
    loss.backward()
    np.testing.assert_allclose(gradient_norms(refiner), recorded["grad_l2_refiner"], rtol=2e-3, atol=1e-4)


def test_the_weight_of_the_views_distance_falls_as_the_references():
    recorded = np.load(GOLDENS / "ssl_our_method_small.npz", allow_pickle=False)
    found = [invariance_weight(epoch) for epoch in recorded["lambda_epochs"].tolist()]
    np.testing.assert_allclose(found, recorded["lambda_values"], rtol=1e-9)


def test_padded_slots_count_unless_a_mask_leaves_them_out():
    one, other = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    other[~mask] = 10
    assert slot_mse(one, other).item() == pytest.approx((3 + 3 * 100) / 6)
    assert slot_mse(one, other, mask).item() == 1
    assert slot_mse(one, other, torch.zeros_like(mask)).item() == 0


def test_the_cross_entropy_is_over_labelled_slots():
    probabilities = torch.tensor([[[0.5, 0.1, 1.0], [0.5, 0.9, 0.0]]])
    labels = torch.tensor([[0, 1, -100]])
    assert cross_entropy(probabilities, labels).item() == pytest.approx(-np.log([0.5, 0.9]).mean(), rel=1e-6)
    assert cross_entropy(probabilities, torch.full_like(labels, -100)).item() == 0
    assert cross_entropy(probabilities, torch.tensor([[0, 1, 1]])).isfinite()


def test_smoothing_is_truncated_and_weighs_a_short_item_as_published_or_as_its_slots():
    probabilities = torch.full((2, 2, 5), 0.5)
    probabilities[0, :, 2] = torch.tensor([0.5 * np.e, 1e-9])  # up by 1, down by far more than 4
    probabilities[1, :, 3:] = 0.1  # padding
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    steps = 2 * (1 + 16)  # to the third slot and from it
    assert smoothing(probabilities, mask, masked=False).item() == pytest.approx(0.17 * steps / (2 * 2 * 4), rel=1e-5)
    assert smoothing(probabilities, mask, masked=True).item() == pytest.approx(0.17 * steps / (2 * 6), rel=1e-5)


def test_smoothing_pulls_each_slot_to_the_one_before_and_not_that_one():
    probabilities = torch.tensor([[[0.2, 0.4]]], requires_grad=True)
    smoothing(probabilities, torch.ones(1, 2, dtype=torch.bool), masked=True).backward()
    assert probabilities.grad[0, 0].tolist() == pytest.approx([0, 0.17 * 2 * np.log(2) / 0.4], rel=1e-5)
