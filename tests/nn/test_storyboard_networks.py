"""Residual networks with group or batch norm: the reference's names, numbers, initial values and precision."""

from __future__ import annotations

import math

import pytest
import torch
from fill import filled, input_of
from storyboard_networks import near, recorded, recorded_state
from torch import nn

from egotools.nn.mixed_precision import LIMIT, weight_gradient_errors
from egotools.nn.storyboard import GroupNorm, ResNet

NORMS = {"gn": "group", "bn": "batch"}


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("depth", [18, 50])
def test_names_and_numbers_are_the_references(depth, kind):
    case = f"resnet{depth}_{kind}"
    wanted, image = recorded(case), input_of("image", 2, 3, 112, 112)
    with torch.device("meta"):
        network = ResNet(depth, norm=NORMS[kind])
    shapes = [(name, [*each.shape]) for name, each in network.state_dict().items()]
    assert shapes == [*recorded_state(case).items()]
    filled(network)
    with torch.inference_mode():
        maps = network.maps(image)
        assert network.width == maps.shape[1]
        near(maps[:, :64], wanted["map_slice"], rtol=1e-4, of_largest=1e-5)
        near(maps.mean((2, 3)), wanted["features"], rtol=1e-4, of_largest=1e-5)
        wide = maps.double()
        found = torch.stack([wide.mean(), wide.std(correction=0), wide.norm()])
        near(found, wanted["map_stats"], rtol=1e-5)


def test_features_are_means_over_positions_and_batch_norms_learn_as_the_references():
    wanted, network = recorded("resnet18_bn"), filled(ResNet(18, norm="batch")).train()
    with torch.no_grad():
        near(network(input_of("image", 2, 3, 112, 112)), wanted["train_features"], rtol=1e-4, of_largest=1e-4)
    state = network.state_dict()
    for name in ("running_mean", "running_var"):
        near(state[f"bn1.{name}"], wanted[f"train_bn1_{name}"], rtol=1e-4, atol=1e-5)


def test_initial_values_are_those_of_the_reference():
    shallow, deep = ResNet(18).state_dict(), ResNet(50).state_dict()
    zeros = {name for name, value in shallow.items() if name.endswith("weight") and not value.any()}
    assert zeros == {f"layer{layer}.{block}.gn2.weight" for layer in (1, 2, 3, 4) for block in (0, 1)}
    assert all(value.any() for name, value in deep.items() if name.endswith("weight"))
    assert shallow["layer3.0.conv1.weight"].std().item() == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.02)


def test_norm_and_activation_are_chosen_apart_and_tied_by_default():
    def parts(**options):
        return {type(each) for each in ResNet(18, **options).modules() if not [*each.children()]}

    assert parts() == {nn.Conv2d, nn.MaxPool2d, GroupNorm, nn.Mish}
    assert parts(norm="batch") == {nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d, nn.ReLU}
    assert parts(activation="relu") == {nn.Conv2d, nn.MaxPool2d, GroupNorm, nn.ReLU}


def test_all_of_it_runs_in_bf16_under_autocast_and_gradients_come_out_right():
    network, images = ResNet(18), torch.randn(4, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert network.maps(images).dtype == network.act(network.gn1(network.conv1(images))).dtype == torch.bfloat16
    weights = torch.randn(4, 512)
    errors = weight_gradient_errors(network, images, loss=lambda features: (features.float() * weights).sum())
    assert len(errors) == 20
    assert max(errors.values()) < LIMIT
