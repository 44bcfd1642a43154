"""Which epoch of a training was best, and when it is over."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from egotools.training.best import BestEpoch


def told(scores, best=None):
    """After epochs with these scores, in each of which the network's bias is the epoch's number."""
    best = best or BestEpoch("score")
    network = nn.Linear(1, 1)
    nn.init.zeros_(network.weight)
    for score in scores:
        with torch.no_grad():
            network.bias.fill_(best.epochs + 1)
        best.take({"score": score, "loss": 1.0}, network)
    return best


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.1, 0.3, 0.2], 2),
        ([0.3, 0.3], 1),  # the first of equal ones
        ([math.nan, 0.1, math.nan], 2),
        ([math.nan, math.nan], 1),
        ([-0.5, -0.1], 2),
    ],
)
def test_the_best_epoch_is_that_of_the_highest_score_with_its_weights(scores, expected):
    best = told(scores)
    assert (best.best["epoch"], best.last["epoch"]) == (expected, len(scores))
    assert best.weights["bias"].item() == expected


def test_what_is_logged_names_the_epoch_and_the_side():
    assert BestEpoch("score").take({"score": 0.5}, nn.Linear(1, 1)) == {"epoch": 1, "val_score": 0.5}


def test_it_is_over_after_so_many_epochs_without_a_better_one():
    best = told([0.1, 0.3, 0.2])
    assert (best.is_over(1), best.is_over(2), best.is_over(None)) == (True, False, False)


def test_it_resumes_from_its_state(tmp_path):
    torch.save(told([0.1, 0.3, 0.2]).state_dict(), tmp_path / "state")
    resumed = BestEpoch("score")
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    whole = told([0.1, 0.3, 0.2, 0.25])
    assert vars(told([0.25], resumed)) == vars(whole)
    assert set(whole.state_dict()) == {"epochs", "last", "best", "weights"}  # as in checkpoints of release 0.1
