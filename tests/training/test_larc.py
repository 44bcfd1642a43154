"""LARC against the reference: five steps of a probe's head, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fill import DATA, input_of, parameter
from torch.nn import functional

from egotools.methods.probe.head import Head
from egotools.methods.probe.normalized import MOMENTUM, Labeled, NormalizedLinear
from egotools.training.larc import LARC


def protocol(name: str, **more: object) -> Head:
    values = {key: value for key, value in Head.presets[name].items() if key != "seeds"}
    return Head(**{**values, **more})  # type: ignore[arg-type]


def test_a_head_learns_as_the_reference() -> None:
    with np.load(DATA / "storyboard/eval_linear_probe_larc.npz") as archive:
        recorded = dict(archive)
    model, head = NormalizedLinear(40, 12), protocol("imagenet")
    with torch.no_grad():
        model.fc.weight.copy_(parameter("fc.1.weight", (12, 40)))
        model.fc.bias.copy_(parameter("fc.1.bias", (12,)))
    optimizer = LARC(model.parameters(), lr=head.learning_rate, momentum=MOMENTUM, weight_decay=head.weight_decay)
    for step in range(5):
        batch = Labeled(functional.relu(input_of(f"feat{step}", 32, 40)), (3 * torch.arange(32) + step) % 12)
        found = model(batch)["loss"]
        assert found.item() == pytest.approx(float(recorded["losses"][step]), rel=1e-5, abs=1e-7)
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
    for name in ("weight", "bias"):
        values = getattr(model.fc, name).detach().numpy()
        np.testing.assert_allclose(values, recorded[name], rtol=1e-5, atol=1e-7)


def test_rates_are_the_papers_and_as_an_option_the_codes() -> None:
    with np.load(DATA / "storyboard/eval_linear_probe_larc.npz") as archive:
        of_imagenet, of_inat = archive["lr_schedule_imagenet"], archive["lr_schedule_inat"]
    imagenet, code, paper = (protocol(name) for name in ("imagenet", "inaturalist-code", "inaturalist"))
    rates = [3.0 * imagenet.rate(epoch) for epoch in range(imagenet.epochs)]
    np.testing.assert_allclose(rates, of_imagenet[:10], rtol=1e-12)
    rates = [code.learning_rate * code.rate(epoch) for epoch in range(code.epochs)]
    np.testing.assert_allclose(rates, of_inat, rtol=1e-12, atol=1e-12)
    rates = [paper.learning_rate * paper.rate(epoch) for epoch in range(paper.epochs)]
    assert rates == pytest.approx([6 * (1 + np.cos(np.pi * epoch / 20)) for epoch in range(20)])


def test_decay_is_within_the_norm_and_zeros_are_left_alone() -> None:
    weight, zeros = torch.nn.Parameter(torch.tensor([3.0, 4.0])), torch.nn.Parameter(torch.zeros(2))
    optimizer = LARC([weight, zeros], lr=1.0, weight_decay=0.1, trust=0.5)
    weight.grad, zeros.grad = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])
    optimizer.step()
    scale = 0.5 * 5 / (2 + 0.1 * 5)
    np.testing.assert_allclose(weight.detach(), [3 - 0.3 * scale, 4 - 2.4 * scale], rtol=1e-6)
    assert zeros.tolist() == [-1.0, 0.0]
