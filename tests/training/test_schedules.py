"""Schedules against what the reference's gave."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fill import DATA

from egotools.training.schedules import warmup_cosine


def test_warm_up_and_cosine_are_those_of_ego4d():
    about = json.loads((DATA / "replai/lr_warmup_cosine.json").read_text())["constructor"]
    golden = np.load(DATA / "replai/lr_warmup_cosine.npz")
    found = [
        about["base_lr"] * warmup_cosine(int(at), about["warmup_steps"], about["t_total"]) for at in golden["step"]
    ]
    np.testing.assert_allclose(found, golden["lr"], rtol=1e-9, atol=1e-17)


def test_a_training_shorter_than_its_warm_up_ends_within_it():
    assert [warmup_cosine(at, 10, 3) for at in range(3)] == [0.0, 0.1, 0.2]
    assert warmup_cosine(0, 0, 4) == 1
    assert warmup_cosine(2, 0, 4) == pytest.approx(0.5)
