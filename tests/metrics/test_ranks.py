"""How well rows find their own column: against the reference, sorting, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from memdpc_files import Golden

from egotools.metrics.ranks import class_ranks, group_share, own_ranks, position_plateau, top_shares


def test_top_shares_are_the_references():
    golden = Golden("accuracy")
    logits = golden.input("logits")
    ranks = own_ranks(logits, (torch.arange(len(logits)) * 7) % logits.shape[1])
    for name, share in zip(("top1", "top5", "plain"), top_shares(ranks, (1, 5, 1)), strict=True):
        golden.check(name, share)


def test_ranks_count_the_columns_that_are_better():
    scores = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    assert own_ranks(scores, torch.tensor([0, 1, 2, 1])).tolist() == [0, 2, 1, 0]


def test_fewer_columns_than_k_are_all_found():
    assert [
        share.item() for share in top_shares(own_ranks(torch.randn(4, 3), torch.arange(3).repeat(2)[:4]), (3, 5))
    ] == [1, 1]


def test_what_is_not_a_number_is_never_right():
    scores = torch.tensor([[math.nan, math.nan], [math.nan, 1.0]])
    assert own_ranks(scores, torch.tensor([0, 0])).tolist() == [2, 2]
    assert class_ranks(scores, torch.tensor([0, 0])).tolist() == [2, 2]


def test_of_equal_classes_the_first_is_the_answer():
    scores = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [2.0, 1.0, 1.0]])
    assert class_ranks(scores, torch.tensor([0, 2, 2])).tolist() == [0, 2, 2]


def test_the_best_columns_group_is_counted():
    scores = torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
    assert group_share(scores, 2).item() == 0.75
    assert group_share(scores[2:], 2, first=2).item() == 1.0
    assert group_share(scores[2:], 2).item() == 0.0


def test_the_plateau_is_the_loss_of_knowing_the_position_only():
    clips, steps, positions = 3, 2, 4
    place = torch.arange(clips * steps * positions) % positions
    scores = torch.where(place[:, None] == place, 0.0, -100.0)
    loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(place)))
    assert position_plateau(clips, steps) == pytest.approx(2 * loss.item(), rel=1e-6)
    assert position_plateau(clips, steps, passes=1) == pytest.approx(loss.item(), rel=1e-6)
