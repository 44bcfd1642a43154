"""Optimizers and schedules by name."""

from __future__ import annotations

import math
from typing import get_args, get_type_hints

import pytest
import torch
from torch import nn

from egotools.methods.memorability.options import Training
from egotools.training import optimizers as schedules
from egotools.training.optimizers import FUSED, OPTIMIZERS, optimizer_of


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_name_makes_an_optimizer_that_learns(name):
    model = nn.Linear(2, 1)
    nn.init.ones_(model.weight)  # far from the optimum, which no optimizer passes by in five steps
    optimizer = optimizer_of(model, name, lr=0.1, weight_decay=0.0)
    before = model(torch.ones(1, 2)).square()
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()
    assert model(torch.ones(1, 2)).square() < before
    assert type(optimizer) is OPTIMIZERS[name]
    assert bool(optimizer.defaults.get("fused")) == (name in FUSED)


def test_the_options_of_a_method_offer_them_all():
    assert set(get_args(get_type_hints(Training)["optimizer"])) == set(OPTIMIZERS)


def test_schedules_are_torchs():
    """Each against torch's own scheduler, which multiplies step by step."""
    kinds = {
        "step": (torch.optim.lr_scheduler.StepLR, {"step_size": 3, "gamma": 0.2}),
        "exponential": (torch.optim.lr_scheduler.ExponentialLR, {"gamma": 0.9}),
        "cosine": (torch.optim.lr_scheduler.CosineAnnealingLR, {"T_max": 10}),
    }
    ours = {
        "step": lambda at: schedules.step(at, every=3, factor=0.2),
        "exponential": lambda at: schedules.exponential(at, factor=0.9),
        "cosine": lambda at: schedules.cosine(at, total=10),
    }
    for name, (kind, options) in kinds.items():
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = kind(optimizer, **options)
        for at in range(10):
            assert ours[name](at) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12), (name, at)
            optimizer.step()
            scheduler.step()
    assert schedules.cosine(10, total=10) == pytest.approx(0, abs=1e-15)
    assert math.isclose(schedules.step(7, every=3, factor=0.5), 0.25)
