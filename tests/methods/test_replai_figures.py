"""What an evaluation of RepLAI says, of moments where the right answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from egotools.losses.audio_visual import correspondence_loss, state_change_loss
from egotools.methods.replai.figures import figures_of
from egotools.methods.replai.network import Changes, Matched

TOLD = {"batch_size": 4, "temperature": 0.07}


def test_a_network_that_knows_all_is_right_and_by_a_sound_of_the_opposite_direction_it_is_wrong():
    sounds = torch.eye(6)
    heard = torch.tensor([1.0, -1.0] * 3)[:, None] * torch.ones(6, 2)  # the direction, and nothing else
    changes = Changes(torch.ones(6, 2) * heard, -torch.ones(6, 2) * heard, heard)
    found = figures_of(
        Matched(sounds, sounds, sounds),
        changes,
        groups=np.array([0, 0, 0, 1, 1, 2]),
        directions=["up", "down"] * 3,
        **TOLD,
    )
    assert (found["auc"], found["auc_within"], found["within_moments"]) == (1.0, 1.0, 5)
    assert (found["r1"], found["r5_seen"], found["r1_chance"]) == (1.0, 1.0, 1 / 6)
    assert (found["order"], found["order_opposite"]) == (1.0, 0.0)
    assert found["order_shuffled"] == pytest.approx(2 / 5)  # two of five other sounds are of the same direction
    assert found["aot_loss"] == pytest.approx(math.log1p(math.exp(-5)))


def test_a_network_that_says_the_same_of_everything_is_at_chance():
    same, unit = torch.ones(8, 3), torch.ones(8, 3) / 3**0.5
    found = figures_of(Matched(unit, unit, unit), Changes(same, same, same), groups=np.zeros(8, int), **TOLD)
    assert {found[name] for name in ("auc", "auc_within", "order", "order_shuffled")} == {0.5}
    assert (found["r1"], found["r5"]) == (found["r1_chance"], found["r5_chance"]) == (1 / 8, 5 / 8)
    assert found["clr_loss"] == pytest.approx(math.log(4))
    assert "order_opposite" not in found


def test_losses_are_those_of_training_in_batches_as_large():
    matched = Matched(*(F.normalize(torch.randn(9, 4), dim=1) for _ in range(3)))
    changes = Changes(*(torch.randn(9, 4) for _ in range(3)))
    found = figures_of(matched, changes, groups=np.arange(9), **TOLD)
    batches = [Matched(*(each[at : at + 4] for each in matched)) for at in (0, 4)]
    wanted = [correspondence_loss(*batch, *batch, temperature=0.07).item() for batch in batches]
    assert found["clr_loss"] == pytest.approx(np.mean(wanted))
    assert found["aot_loss"] == pytest.approx(state_change_loss(*changes)[0].item())
    few = figures_of(matched, changes, groups=np.arange(9), batch_size=16, temperature=0.07)
    assert few["clr_loss"] == pytest.approx(correspondence_loss(*matched, *matched).item())
    assert math.isnan(few["auc_within"])
