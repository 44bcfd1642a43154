"""Networks for sound of RepLAI, and PANNs: the reference's outputs, names and numbers of parameters."""

from __future__ import annotations

import pytest
import torch
from avid_networks import Golden
from fill import full_size
from torch import Tensor, nn

from egotools.nn.panns import ARCHITECTURES
from egotools.nn.spec_cnn import AvidSpecCnn9, SpecCnn

LARGE = {"Cnn14", "Res1dNet31", "Res1dNet51", "Wavegram_Cnn14"}  # 80 to 105 million parameters


def loaded(build, golden: Golden) -> nn.Module:
    """A network with the parameters of a case, all of them and no others."""
    with torch.device("meta"):
        network: nn.Module = build()
    network.load_state_dict(golden.parameters(), assign=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == golden.about["num_parameters"]
    return network.eval()


def test_every_block_of_replais_is_the_references():
    golden = Golden("audio_spec_cnn9_125x80")
    network = loaded(AvidSpecCnn9, golden)
    found: dict[str, Tensor] = {}
    for number in (1, 2, 3):
        network.get_submodule(f"block{number}").register_forward_hook(
            lambda _m, _i, y, number=number: found.update({f"conv{number + 1}x": y})
        )
    with torch.no_grad():
        maps = network(golden.input())
    for name, value in found.items():
        golden.check(name, value)
    golden.check("pool", maps.amax((2, 3)))
    torch.testing.assert_close(maps[:, :64], torch.from_numpy(golden.outputs["out_slice"]), rtol=1e-3, atol=7e-5)


def test_the_other_cnn_gives_the_references_features():
    golden = Golden("audio_speccnn_d64")
    with torch.no_grad():
        found = loaded(SpecCnn, golden)(golden.input())
    assert found.shape == (2, 512, 1, 1)
    golden.check("out", found)


@pytest.mark.parametrize(
    "name",
    [pytest.param(each.name, marks=[full_size] if each.name in LARGE else []) for each in ARCHITECTURES.values()],
)
def test_panns_give_the_references_features(name):
    golden = Golden(f"audio_panns_{name}")
    architecture = ARCHITECTURES[name.lower()]
    with torch.no_grad():
        found = loaded(architecture.build, golden)(golden.input())
    assert found.shape == (2, architecture.width)
    golden.check("out", found)


@pytest.mark.parametrize("name", sorted(LARGE))
def test_large_panns_have_the_references_names_and_shapes(name):
    golden = Golden(f"audio_panns_{name}")
    with torch.device("meta"):
        network = ARCHITECTURES[name.lower()].build()
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert shapes == golden.about["state_dict"]
