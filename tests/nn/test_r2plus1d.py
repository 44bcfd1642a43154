"""R(2+1)D of AVID and RepLAI: the reference's outputs stage by stage, its names, pools, and the ways it is computed."""

from __future__ import annotations

import copy

import pytest
import torch
from avid_networks import Golden
from fill import full_size
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.extraction.forward import fold_batch_norms
from egotools.machine import has_fast_bf16
from egotools.nn.mixed_precision import LIMIT, weight_gradient_errors
from egotools.nn.r2plus1d import STAGES, R2Plus1D, SplitConv


def loaded(golden: Golden, **options) -> R2Plus1D:
    """A network with the parameters of a case, all of them and no others."""
    with torch.device("meta"):
        network = R2Plus1D(golden.about["constructor"].get("depth", 18), **options)
    parameters = {name: value for name, value in golden.parameters().items() if not name.startswith("head.")}
    network.load_state_dict(parameters, assign=True)
    return network.eval()


def stages(network: R2Plus1D, clips: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    hooks = [
        network.get_submodule(name).register_forward_hook(lambda _m, _i, y, name=name: found.update({name: y}))
        for name in ("conv1", *STAGES)
    ]
    with torch.no_grad():
        found["pool"] = network(clips)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize(
    "case",
    [
        "video_r2p1d10_48",
        pytest.param("video_r2p1d18_64", marks=pytest.mark.slow),
        pytest.param("video_r2p1d18_112", marks=full_size),
    ],
)
def test_every_stage_is_the_references(case):
    golden = Golden(case)
    network = loaded(golden)
    assert sum(parameter.numel() for parameter in network.parameters()) == golden.about["num_parameters"]
    for name, value in stages(network, golden.input()).items():
        golden.check(name, value)


@pytest.mark.slow
def test_the_average_of_the_last_maps_is_what_anticipation_projects():
    golden = Golden("lta_backbone_feature_32x64")
    parameters = golden.parameters()
    with torch.no_grad():
        features = loaded(golden, pool="average")(golden.input())
    golden.check(
        "feature", F.linear(features, parameters["head.projection.weight"], parameters["head.projection.bias"])
    )


@pytest.mark.parametrize(("depth", "counts"), [(10, (1, 1, 1, 1)), (18, (2, 2, 2, 2)), (34, (3, 4, 6, 3))])
def test_a_stage_has_a_depths_number_of_blocks_and_only_one_block_has_no_number(depth, counts):
    with torch.device("meta"):
        names = R2Plus1D(depth).state_dict()
    for stage, count in zip(STAGES, counts, strict=True):
        numbers = {name.split(".")[1] for name in names if name.startswith(stage)}
        if count == 1:
            assert {"spt_conv1", "tmp_conv2", "out_bn"} < numbers
        else:
            assert numbers == {str(number) for number in range(count)}


@pytest.mark.parametrize(
    ("pool", "strides", "wanted"),
    [
        ("max", True, (2, 512)),
        ("average", False, (2, 512)),
        ("none", True, (2, 512, 2, 2, 2)),
        ("none", False, (2, 512, 9, 2, 2)),
    ],
)
def test_durations_and_sizes_are_rounded_up_unless_all_frames_are_kept(pool, strides, wanted):
    network = R2Plus1D(10, pool=pool, temporal_strides=strides).eval()
    with torch.no_grad():
        found = network(torch.zeros(2, 3, 9, 33, 40))
    assert found.shape == wanted


def test_the_pools_are_the_maximum_and_the_mean_of_the_same_maps():
    network = R2Plus1D(10).eval()
    clips = torch.randn(1, 3, 4, 16, 16)
    with torch.no_grad():
        maps = network.maps(clips)
        torch.testing.assert_close(network(clips), maps.amax((2, 3, 4)))
        network.pool = "average"
        torch.testing.assert_close(network(clips), maps.mean((2, 3, 4)))


@pytest.mark.parametrize(
    ("depth", "pool", "words"), [(50, "max", "10, 18 or 34 layers, not 50"), (10, "mean", "'mean'")]
)
def test_other_depths_and_pools_are_refused(depth, pool, words):
    with pytest.raises(ValueError, match=words):
        R2Plus1D(depth, pool=pool)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((1, 3, 3), (1, 2, 2), (0, 1, 1)), ((3, 1, 1), (2, 1, 1), (1, 0, 0)), ((3, 1, 1), (1, 1, 1), (1, 0, 0))],
)
@pytest.mark.parametrize("frames", [2, 5])
def test_2d_convolutions_compute_what_3d_ones_do_and_so_do_their_gradients(
    kernel, stride, padding, frames, memory_format
):
    ours = SplitConv(3, 4, kernel, stride=stride, padding=padding).to(memory_format=memory_format)
    theirs = nn.Conv3d(3, 4, kernel, stride=stride, padding=padding)
    theirs.load_state_dict(ours.state_dict())
    clips = torch.randn(2, 3, frames, 6, 5).contiguous(memory_format=memory_format)
    found, wanted = ours(clips), theirs(clips)
    torch.testing.assert_close(found, wanted)
    for each in (found, wanted):
        each.square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("stride", [1, 2])
def test_under_autocast_on_a_cpu_two_frames_are_padded_explicitly_and_nothing_changes(stride, monkeypatch):
    convolution = SplitConv(4, 4, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False)
    clips = torch.randn(2, 4, 2, 4, 4)
    wanted = convolution(clips)
    paddings = []
    real = F.conv3d
    monkeypatch.setattr(F, "conv3d", lambda *given: paddings.append(given[4]) or real(*given))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: True)  # the padded way, in float32
    found = convolution(clips)
    assert paddings == [(0, 0, 0)]
    torch.testing.assert_close(found, wanted)
    (gradient,) = torch.autograd.grad(found.square().sum(), convolution.weight)
    (own,) = torch.autograd.grad(wanted.square().sum(), convolution.weight)
    torch.testing.assert_close(gradient, own)


def test_every_batch_norm_behind_a_convolution_folds_and_features_stay():
    network = R2Plus1D(10).eval()
    folded = copy.deepcopy(network)
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.inference_mode():
        assert fold_batch_norms(folded) == 13  # the last of each block follows a sum
        torch.testing.assert_close(folded(clips), network(clips), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "size"), [(8, 112), (8, 48), (32, 64)])
def test_every_convolution_has_right_gradients_in_bf16_at_the_shapes_of_training(frames, size):
    if not has_fast_bf16(torch.device("cpu")):
        pytest.skip("this processor computes no bf16")
    torch.manual_seed(0)
    network = R2Plus1D(18).to(memory_format=torch.channels_last_3d)
    found = weight_gradient_errors(network, torch.randn(2, 3, frames, size, size), loss=lambda y: y.float().sum())
    assert len(found) == 1 + 8 * 4 + 3
    assert max(found.values()) < LIMIT
