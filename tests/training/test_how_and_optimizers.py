"""Options of every training: what they refuse, and what of them makes another run."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn

from egotools.errors import TrainingError
from egotools.training import how as hows
from egotools.training import optimizers as schedules
from egotools.training.how import How, how_for
from egotools.training.optimizers import optimizer_of


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_norm": 0.0}, "--max-norm must be above 0, not 0.0"),
        ({"max_norm": math.nan}, "--max-norm must be above 0, not nan"),
        ({"accumulate": 0}, "--accumulate must be above 0, not 0"),
        ({"log_every": -1}, "--log-every must be above 0, not -1"),
        ({"save_every": -0.5}, "--save-every must be 0 or above, not -0.5"),
        ({"save_every": math.nan}, "--save-every must be 0 or above, not nan"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_their_flag(options, said):
    with pytest.raises(ValueError, match=said):
        How(**options)


def test_only_what_changes_the_weights_makes_another_run():
    assert How(log_every=3, save_every=0.0).identity == How().identity == {}
    assert How(precision="bf16", accumulate=4).identity == {"precision": "bf16", "accumulate": 4}
    assert How(max_norm=1.0, accumulate=1).identity == {"max_norm": 1.0}


@pytest.mark.parametrize("is_fast", [False, True])
def test_bf16_is_float32_and_said_on_hardware_without_it(monkeypatch, is_fast):
    monkeypatch.setattr(hows, "has_fast_bf16", lambda _: is_fast)
    cpu, asked = torch.device("cpu"), How(precision="bf16", accumulate=2)
    assert how_for(How(), cpu) == (How(), [])
    found, remarks = how_for(asked, cpu)
    if is_fast:
        assert (found, remarks) == (asked, [])
    else:
        assert found == How(accumulate=2)
        assert remarks == ["--precision bf16: trained in float32, since this cpu does not compute bf16 in hardware"]
    with pytest.raises(TrainingError, match="fp16 needs a GPU"):
        how_for(How(precision="fp16"), cpu)


@given(at=some.integers(0, 200), every=some.integers(1, 20), factor=some.floats(0.01, 1.0))
def test_a_step_schedule_falls_once_in_every_and_not_between(at, every, factor):
    now, later = (schedules.step(each, every=every, factor=factor) for each in (at, at + every))
    assert later == pytest.approx(now * factor)
    assert schedules.step(at - at % every, every=every, factor=factor) == now
    assert schedules.step(at, every=1, factor=factor) == schedules.exponential(at, factor=factor)


@given(total=some.integers(1, 100))
def test_half_a_cosine_falls_and_is_symmetric_around_its_middle(total):
    values = [schedules.cosine(at, total=total) for at in range(total + 1)]
    assert values[0] == 1.0
    assert values[-1] == pytest.approx(0.0, abs=1e-12)
    assert values == sorted(values, reverse=True)
    for one, other in zip(values, reversed(values), strict=True):
        assert one + other == pytest.approx(1.0)


def test_options_reach_the_optimizer_and_every_parameter_is_its():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = optimizer_of(model, "sgd", lr=0.3, momentum=0.9)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"]) == (0.3, 0.9)
    assert [id(each) for each in group["params"]] == [id(each) for each in model.parameters()]


def test_a_step_of_sgd_is_its_definition():
    model = nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()
    optimizer = optimizer_of(model, "sgd", lr=0.5, weight_decay=0.1)
    model(torch.tensor([[1.0, 2.0]])).sum().backward()
    optimizer.step()
    expected = before - 0.5 * (torch.tensor([[1.0, 2.0]]) + 0.1 * before)
    torch.testing.assert_close(model.weight.detach(), expected)


def test_an_unknown_name_is_a_key_error():
    with pytest.raises(KeyError):
        optimizer_of(nn.Linear(1, 1), "gradient descent", lr=1.0)
