"""Losses of two views: the reference's values and gradients, definitions where it has none, and precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fill import input_of
from storyboard_networks import recorded
from torch.nn import functional as F  # noqa: N812

from egotools.losses.contrastive import (
    barlow_twins,
    cross_nt_xent,
    negative_cosine,
    nt_xent,
    supervised_contrastive,
    temporal_classification,
)

SAME = {"mixed": [3, 3, 3, 7, 7, 9, 12, 12, 12, 12, 40, 41], "unique": [*range(12)], "same": [5] * 12}


def pair(count: int, width: int, one: str, other: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A view, one that is like it, and what the latter differs by."""
    first, rest = (input_of(name, count, width).requires_grad_() for name in (one, other))
    return first, 0.7 * first.detach() + 0.5 * rest, rest


def check(wanted, loss, **leaves):
    loss.backward()
    np.testing.assert_allclose(loss.item(), wanted["loss"], rtol=1e-4, atol=1e-6)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(leaf.grad.numpy(), wanted[f"grad_{name}"], rtol=1e-4, atol=1e-6)


def test_nt_xent_is_the_references():
    one, other, rest = pair(16, 128, "z_i", "z_j")
    check(recorded("loss_ntxent"), nt_xent(one, other), z_i=one, z_j_raw=rest)


def test_cross_nt_xent_is_the_references():
    one, other, rest = pair(8, 128, "z_i", "z_j")
    far_one, far_other, far_rest = pair(24, 128, "u_i", "u_j")
    leaves = {"z_i": one, "z_j_raw": rest, "u_i": far_one, "u_j_raw": far_rest}
    check(recorded("loss_cross_ntxent"), cross_nt_xent(one, other, far_one, far_other), **leaves)


@pytest.mark.parametrize("case", SAME)
def test_supervised_contrastive_is_the_references(case):
    one, other, rest = pair(12, 128, "f1", "f2")
    wanted = recorded("loss_supcon")
    wanted = {name.removeprefix(f"{case}."): value for name, value in wanted.items() if name.startswith(case)}
    loss = supervised_contrastive(torch.cat([one, other]), torch.tensor(SAME[case]).repeat(2))
    check(wanted, loss, f1=one, f2_raw=rest)


def test_a_row_that_is_alone_with_its_label_counts_as_zero():
    rows = torch.eye(3, dtype=torch.float64)[:, :2] + 0.5
    cosine = F.cosine_similarity(rows[:, None], rows[None], dim=2) / 0.1
    losses = [cosine[0, 1:].logsumexp(0) - cosine[0, 1], cosine[1, ::2].logsumexp(0) - cosine[0, 1]]
    found = supervised_contrastive(rows, torch.tensor([4, 4, 7]))
    assert found.item() == pytest.approx(sum(losses).item() / 3)


def test_negative_cosine_is_simsiams_and_targets_get_no_gradient():
    (p_i, z_i), (p_j, z_j) = (
        [input_of(f"{what}_{view}", 12, 64).requires_grad_() for what in "pz"] for view in ("i", "j")
    )
    check(recorded("loss_negcosine"), (negative_cosine(p_i, z_j) + negative_cosine(p_j, z_i)) / 2, p_i=p_i, p_j=p_j)
    assert (z_i.grad, z_j.grad) == (None, None)


def test_temporal_classification_is_the_references():
    one, other = (input_of(f"logits{view}", 24, 50).requires_grad_() for view in (1, 2))
    labels = torch.tensor([0, 7, 14, 21, 28, 35, 42, 4, 11, 18, 25, 32, 39, 1, 8, 15, 22, 29, 36, 43, 5, 12, 19, 26])
    loss = temporal_classification(one, other, labels)
    check(recorded("loss_temporal_classification"), loss, logits1=one, logits2=other)


def test_barlow_twins_is_the_published_definition():
    one, other, rest = pair(16, 64, "z_a", "z_b")
    check(recorded("loss_barlow_definition"), barlow_twins(one, other), z_a=one, z_b_raw=rest)


@pytest.mark.parametrize("loss", [nt_xent, negative_cosine, barlow_twins])
def test_losses_are_computed_in_float32_whatever_autocast_says(loss):
    one, other = (input_of(f"view{number}", 32, 64) for number in (1, 2))
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(one, other)
        rounded = loss(one.bfloat16(), other.bfloat16())
    assert found.dtype == rounded.dtype == torch.float32
    torch.testing.assert_close(found, loss(one, other), rtol=1e-6, atol=0)
    torch.testing.assert_close(rounded, loss(one.bfloat16().float(), other.bfloat16().float()), rtol=1e-6, atol=0)
