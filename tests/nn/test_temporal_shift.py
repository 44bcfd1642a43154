"""The temporal shift and the network with it against the outputs that the reference gave."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import fill
import numpy as np
import pytest
import torch
from torchvision.models import ResNet, resnet50, resnet101
from torchvision.models.resnet import Bottleneck

from egotools.nn.tsm import TSM, insert_shifts, shift

GOLDENS = fill.DATA / "two_stream"


@pytest.mark.parametrize(
    ("segments", "divisor", "shape"),
    [(8, 8, (16, 16, 2, 3)), (8, 8, (8, 20, 2, 2)), (4, 4, (12, 9, 1, 2)), (3, 8, (6, 7, 1, 1))],
)
def test_shifts_are_the_references(segments, divisor, shape):
    name = f"{segments}_{divisor}_{shape[1]}"
    recorded = np.load(GOLDENS / "tsm_shift_op.npz", allow_pickle=False)[f"shift_{name}"]
    assert np.array_equal(shift(fill.input_of(f"x{name}", *shape), segments, divisor).numpy(), recorded)


def test_each_shift_comes_from_one_neighbor_and_stays_within_its_clip():
    frames = torch.arange(1.0, 7)[:, None].expand(6, 4)  # two clips of three frames, each its number in four channels
    shifted = shift(frames, 3, 4).T.tolist()
    assert shifted == [[2, 3, 0, 5, 6, 0], [0, 1, 2, 0, 4, 5], [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]]


def test_frames_that_are_no_whole_clips_are_refused():
    with pytest.raises(ValueError, match="12 frames are no clips of 8"):
        shift(torch.zeros(12, 8), 8, 8)


def networks() -> tuple[TSM, torch.nn.Module, Mapping[str, torch.Tensor]]:
    """TSM and the plain network with the weights of the records, and these."""
    with torch.device("meta"):
        network, plain = TSM(resnet50(), 1380), resnet50()
    weights = fill.state_dict({name: tuple(value.shape) for name, value in network.state_dict().items()})
    network.load_state_dict(weights, assign=True)
    bare = {name.removeprefix("base_model.").replace(".net.", "."): value for name, value in weights.items()}
    plain.fc = torch.nn.Identity()
    plain.load_state_dict({name: value for name, value in bare.items() if "new_fc" not in name}, assign=True)
    return network.eval(), plain.eval(), weights


def assert_as_recorded(recorded, size):
    network, plain, weights = networks()
    assert {"base_model.layer1.0.conv1.net.weight", "base_model.layer4.2.conv1.net.weight"} < set(weights)
    assert {"new_fc.weight", "base_model.layer1.0.conv2.weight"} < set(weights)
    frames = fill.input_of("frames", 8, 3, size, size)
    with torch.no_grad():
        features, logits, unshifted = network.features(frames), network(frames), plain(frames)
    tolerance = {"rtol": 1e-3, "atol": 5e-3}
    np.testing.assert_allclose(features[:, ::2].numpy(), recorded["features_shift__slice"], **tolerance)
    np.testing.assert_allclose(logits.numpy(), recorded["logits"], **tolerance)
    np.testing.assert_allclose(unshifted[:, ::2].numpy(), recorded["features_noshift__slice"], **tolerance)


@pytest.mark.slow  # 25 million parameters to fill
def test_a_clip_of_small_frames_gives_the_references_features_and_logits():
    assert_as_recorded(np.load(GOLDENS / "tsm_r50_64.npz", allow_pickle=False), 64)


@pytest.mark.slow
@fill.full_size
def test_a_clip_gives_the_references_features_and_logits(shared):
    assert_as_recorded(np.load(shared / "goldens/two_stream/tsm_r50_224.npz", allow_pickle=False), 224)


def test_frames_far_from_both_ends_see_neighbors_and_the_others_zeros():
    torch.manual_seed(0)
    plain = ResNet(Bottleneck, [1, 1, 1, 1]).eval()
    network = TSM(copy.deepcopy(plain), 5, segments=9).eval()
    plain.fc = torch.nn.Identity()
    frame = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        features, alone = network.features(frame.expand(9, 3, 32, 32)), plain(frame)
        logits = network(torch.cat([frame.expand(9, 3, 32, 32), torch.randn(9, 3, 32, 32)]))
        torch.testing.assert_close(logits[:1], network.new_fc(features.mean(0, keepdim=True)))
    torch.testing.assert_close(features[4:5], alone)  # four blocks see four frames far
    assert not torch.allclose(features[3:4], alone)
    assert logits.shape == (2, 5)


def test_in_large_networks_every_second_block_shifts():
    with torch.device("meta"):
        network = resnet101()
        insert_shifts(network)
    shifted = [name for name in network.state_dict() if name.endswith("conv1.net.weight")]
    assert len(shifted) == 2 + 2 + 12 + 2
    assert "layer3.2.conv1.net.weight" in shifted
    assert "layer3.1.conv1.net.weight" not in shifted


def test_a_network_without_classifier_is_refused():
    with torch.device("meta"):
        network = resnet50()
    network.fc = torch.nn.Identity()
    with pytest.raises(ValueError, match="with its classifier"):
        TSM(network, 5)
