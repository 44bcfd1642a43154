"""The module of RepLAI's training: the reference's losses, gradients and step; what is left out; several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import moments_together as together
import numpy as np
import pytest
import torch
from fill import DATA, filled, input_of
from memdpc_files import Golden
from torch import Tensor, nn

from egotools.methods.replai.network import Pretraining, head
from egotools.nn.r2plus1d import R2Plus1D


class Moments(NamedTuple):
    before: Tensor
    after: Tensor
    sound: Tensor


def recorded_moments() -> Moments:
    return Moments(*(input_of(f"video_{side}", 4, 3, 8, 64, 64) for side in "lr"), input_of("audio", 4, 1, 125, 80))


def losses(model: Pretraining, moments: Moments) -> list[float]:
    found = model(moments)
    return [found[name].item() for name in ("clr_loss", "aot_loss", "loss")]


def test_losses_gradients_and_a_step_are_the_references():
    golden = Golden("criterion_full_64", DATA / "replai").outputs
    model, moments = filled(Pretraining(gathers_gradients=True)), recorded_moments()
    with torch.no_grad():
        np.testing.assert_allclose(losses(model, moments), golden["eval_losses"], rtol=1e-4)
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.005, momentum=0.9, weight_decay=1e-4)
    features = model.features(moments)
    model.forward = lambda _: Pretraining.forward(model, _)
    model.features = lambda _: features
    found = model(moments)
    np.testing.assert_allclose(
        [found[name].item() for name in ("clr_loss", "aot_loss", "loss")], golden["train_losses"][0], rtol=1e-3
    )
    weight = model.mlp["audio_clr"][2].weight
    model.gathers_gradients = False
    (detached,) = torch.autograd.grad(model(moments)["loss"], weight, retain_graph=True)
    found["loss"].backward()
    for name, parameter in model.named_parameters():
        if (key := f"gradnorm1/{name}") in golden:
            assert parameter.grad.norm().item() == pytest.approx(golden[key].item(), rel=1e-2), name
    assert detached.norm().item() != pytest.approx(golden["gradnorm1/mlp.audio_clr.2.weight"].item(), rel=0.1)
    total = nn.utils.get_total_norm([each.grad for each in model.parameters()])
    assert total.item() == pytest.approx(golden["train_total_gradnorm"][0], rel=1e-2)
    state = model.state_dict()
    for key in (key for key in golden if key.startswith("after1/")):
        np.testing.assert_allclose(state[key.removeprefix("after1/")][:16], golden[key], rtol=1e-3, atol=1e-5)
    optimizer.step()
    del model.features, model.forward
    with torch.no_grad():
        np.testing.assert_allclose(losses(model, moments), golden["train_losses"][1], rtol=1e-2)


def small_moments(count: int = 4) -> Moments:
    return Moments(*(torch.rand(count, 3, 2, 16, 16) for _ in range(2)), torch.rand(count, 1, 17, 16))


@pytest.mark.parametrize(
    ("weights", "names", "idle"),
    [
        ((1.0, 0.0), {"loss", "clr_loss"}, {"video_aot", "audio_aot", "aot_diff"}),
        ((0.0, 1.0), {"loss", "aot_loss"}, {"video_clr", "audio_clr"}),
    ],
)
def test_an_objective_that_is_left_out_is_not_computed_and_its_heads_do_not_learn(weights, names, idle):
    model = Pretraining(10, "speccnn", weights=weights)
    found = model(small_moments())
    assert set(found) == names
    assert found["loss"].item() == pytest.approx(sum(found[name].item() for name in names - {"loss"}))
    found["loss"].backward()
    assert {name.split(".")[1] for name, each in model.named_parameters() if each.grad is None} == idle


def test_sound_that_is_pooled_already_is_taken_as_it_is():
    class Pooled(nn.Module):
        def forward(self, sound: Tensor) -> Tensor:
            return sound.mean((1, 2, 3))[:, None].expand(-1, 512)

    model = Pretraining(10).eval()
    model.backbone["audio"] = Pooled()
    assert model.features(small_moments()).sound.shape == (4, 512)
    assert isinstance(model.backbone["video"], R2Plus1D)


def test_heads_begin_as_published_and_stay_in_float32():
    layers = head(256, 128)
    bound = (6 / (256 + 512)) ** 0.5
    assert layers[0].weight.abs().max() <= bound
    assert layers[0].weight.abs().max() > 0.99 * bound
    assert layers[0].bias.abs().max() <= 256**-0.5
    model = Pretraining(10)
    assert sum(each.numel() for each in model.mlp.parameters()) == 1_444_992
    with torch.autocast("cpu", torch.bfloat16):
        found = model(small_moments())
    assert {each.dtype for each in found.values()} == {torch.float32}


@pytest.mark.integration
def test_two_processes_learn_as_one_in_both_ways_of_gradients(tmp_path: Path):
    """The means over processes of loss and gradients are the joined batch's; batch norm is in eval mode."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*line, together.__file__, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    wanted = {way: together.gradients(together.network(way == "gathered"), together.moments()) for way in together.WAYS}
    for way in together.WAYS:
        found = torch.load(tmp_path / f"{way}.pt", weights_only=True)
        assert set(found) == set(wanted[way])
        for name, value in wanted[way].items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6 * value.abs().max().item(), msg=name)
    one, other = (wanted[way]["mlp.audio_clr.2.weight"] for way in together.WAYS)
    assert not torch.allclose(one, other, rtol=0.1)
