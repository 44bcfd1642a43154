"""2D3D ResNets: the reference's outputs stage by stage, its names, and what the layout in memory must not change."""

from __future__ import annotations

import pytest
import torch
from memdpc_files import Golden, write_released
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.extraction.forward import fold_batch_norms
from egotools.nn.resnet_2d3d import PLANS, ClipConv, FrameConv, ResNet2D3D
from egotools.weights.memdpc import load_memdpc, read_memdpc

COUNTS = {"resnet18": 14_057_536, "resnet34": 32_422_208, "resnet50": 23_562_304}


def imported(golden: Golden, folder) -> ResNet2D3D:
    """The backbone of a case, by way of a checkpoint."""
    parameters = {f"backbone.{name}": value for name, value in golden.parameters().items()}
    published = read_memdpc(write_released(folder / "b.pth.tar", parameters))
    (folder / "b.pth.tar").unlink()
    assert published.depth == golden.constructor["network"]
    network = ResNet2D3D(published.depth)
    load_memdpc(network, published)
    return network


def stages(network: ResNet2D3D, clips: Tensor) -> dict[str, Tensor]:
    """The outputs of the stages, as [K, C, L, H, W]."""
    found: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output):
            is_flat = output.dim() == 4
            found[name] = output.reshape(len(clips), -1, *output.shape[1:]).transpose(1, 2) if is_flat else output

        return hook

    hooks = [
        getattr(network, name).register_forward_hook(keep(name)) for name in ("maxpool", "layer1", "layer2", "layer3")
    ]
    with torch.no_grad():
        found["feature"] = network(clips)
    for hook in hooks:
        hook.remove()
    return found


def check_stages(golden: Golden, network: ResNet2D3D) -> None:
    for name, value in stages(network, golden.input("clip")).items():
        golden.check(name if name == "feature" else f"tap.{name}", value)


def test_every_stage_is_the_references(tmp_path):
    golden = Golden("backbone_resnet18_64")
    check_stages(golden, imported(golden, tmp_path).eval())


@pytest.mark.slow
@pytest.mark.parametrize("case", ["resnet18_128", "resnet34_64", "resnet34_128", "resnet50_64", "resnet50_128"])
def test_every_stage_of_every_depth_and_size_is_the_references(case, shared, tmp_path):
    golden = Golden(f"backbone_{case}", shared / "goldens/memdpc")
    check_stages(golden, imported(golden, tmp_path).eval())


def test_in_training_the_statistics_are_the_batchs_and_are_kept():
    golden = Golden("backbone_resnet18_64_train")
    network = ResNet2D3D("resnet18")
    network.load_state_dict(golden.parameters())
    check_stages(golden, network.train())
    for name, value in network.state_dict().items():
        if f"after.{name}" in golden.outputs:
            golden.check(f"after.{name}", value)


@pytest.mark.parametrize("depth", PLANS)
def test_depths_have_the_published_number_of_parameters(depth):
    with torch.device("meta"):
        network = ResNet2D3D(depth)
    assert sum(parameter.numel() for parameter in network.parameters()) == COUNTS[depth]
    assert network.width == PLANS[depth].width == (1024 if depth == "resnet50" else 256)


@pytest.mark.parametrize(("length", "size", "wanted"), [(5, 48, (2, 2, 2)), (4, 32, (1, 1, 1)), (9, 33, (3, 2, 2))])
def test_durations_and_sizes_are_rounded_up(length, size, wanted):
    with torch.device("meta"):
        found = ResNet2D3D("resnet18")(torch.empty(2, 3, length, size, size))
    assert found.shape == (2, 256, *wanted)


def test_weights_over_frames_are_those_over_clips_in_a_state_dict():
    flat = FrameConv(3, 4, 3, padding=1, bias=False)
    clips = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1), bias=False)
    clips.load_state_dict(flat.state_dict())
    x = torch.randn(2, 3, 5, 6, 6)
    over_frames = flat(x.transpose(1, 2).flatten(0, 1)).reshape(2, 5, 4, 6, 6).transpose(1, 2)
    torch.testing.assert_close(over_frames, clips(x))
    flat.load_state_dict({"weight": 2 * clips.weight.detach()})
    torch.testing.assert_close(flat.weight, 2 * clips.weight.squeeze(2))
    with pytest.raises(RuntimeError, match="size mismatch"):
        flat.load_state_dict({"weight": torch.zeros(4, 3, 3, 3, 3)})


def test_every_batch_norm_folds_and_maps_stay():
    network = ResNet2D3D("resnet18").eval()
    clips = torch.randn(1, 3, 5, 32, 32)
    with torch.inference_mode():
        wanted = network(clips)
        assert fold_batch_norms(network) == 20
        torch.testing.assert_close(network(clips), wanted, rtol=1e-4, atol=1e-5)


def test_bf16_on_a_cpu_pads_two_frames_explicitly_and_computes_the_same(monkeypatch):
    convolution = ClipConv(4, 4, 3, padding=1, bias=False)
    clips = torch.randn(2, 4, 2, 4, 4)
    paddings = []
    real = F.conv3d
    monkeypatch.setattr(F, "conv3d", lambda *given: paddings.append(given[4]) or real(*given))
    with torch.autocast("cpu", torch.bfloat16):
        found = convolution(clips)
        with torch.no_grad():
            convolution(clips)
    wanted = convolution(clips)
    assert paddings[0] == (0, 1, 1)
    assert all(tuple(padding) == (1, 1, 1) for padding in paddings[1:])
    torch.testing.assert_close(found.float(), wanted, rtol=0.02, atol=0.02)
