"""The check of a lower precision's gradients: rounding passes, garbage is named, the model stays as it was."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.machine import has_fast_bf16
from egotools.methods.memdpc.network import Pretraining
from egotools.nn.mixed_precision import LIMIT, weight_gradient_errors
from egotools.nn.resnet_2d3d import ClipConv


def square(y: torch.Tensor) -> torch.Tensor:
    return y.float().square().mean()


def small() -> nn.Sequential:
    return nn.Sequential(
        ClipConv(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm3d(8), nn.ReLU(inplace=True),
        ClipConv(8, 8, 3, padding=1), nn.Dropout(0.5),
    )  # fmt: skip


def test_rounding_passes_and_nothing_is_changed():
    model, batch = small(), torch.randn(2, 3, 4, 6, 6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = weight_gradient_errors(model, batch, loss=square)
    assert list(found) == ["0", "3"]
    assert 0 < max(found.values()) < LIMIT
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


class Broken(nn.Conv3d):
    """Its weight's gradient is scaled under autocast."""

    factor = 1.5

    def _conv_forward(self, x, weight, bias):
        if torch.is_autocast_enabled("cpu"):
            weight = weight + (self.factor - 1) * (weight - weight.detach())
        return F.conv3d(x, weight, bias, self.stride, self.padding)


@pytest.mark.parametrize(("factor", "wanted"), [(1.5, 0.5), (math.nan, math.inf)])
def test_garbage_is_named(factor, wanted, monkeypatch):
    monkeypatch.setattr(Broken, "factor", factor)
    model = nn.Sequential(ClipConv(3, 4, 3, padding=1), Broken(4, 4, 3, padding=1))
    with torch.no_grad():
        found = weight_gradient_errors(model, torch.randn(2, 3, 4, 5, 5), loss=lambda y: square(y.nan_to_num()))
    assert found["1"] == pytest.approx(wanted, abs=0.02)


def test_what_does_not_run_in_lower_precision_is_left_out():
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low, self.full = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            y = self.low(x)
            with torch.autocast("cpu", enabled=False):
                return {"loss": square(self.full(y.float()))}

    assert list(weight_gradient_errors(Partly(), torch.randn(2, 3, 6, 6))) == ["low"]


@pytest.mark.slow
def test_every_convolution_of_memdpc_has_right_gradients_in_bf16():
    if not has_fast_bf16(torch.device("cpu")):
        pytest.skip("this processor computes no bf16")
    torch.manual_seed(0)
    found = weight_gradient_errors(Pretraining("resnet18", predicted=1, slots=16), torch.randn(2, 4, 3, 5, 64, 64))
    assert len(found) == 20
    assert max(found.values()) < LIMIT
