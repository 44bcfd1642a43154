"""Checkpoints of MemDPC: the published layout is read without running it, told apart, refused by name, and written."""

from __future__ import annotations

import json

import pytest
import torch
from fill import state_dict
from memdpc_files import SMALL, write_released
from torch import Tensor, nn

from egotools.errors import WeightsError
from egotools.nn.memdpc import MemDPC, MemDPCClassifier, MemDPCContext
from egotools.nn.resnet_2d3d import ResNet2D3D
from egotools.weights.memdpc import (
    Published,
    load_memdpc,
    network_of,
    own_names,
    published_content,
    read_memdpc,
)
from egotools.weights.tensors import Loaded
from egotools.weights.torch_files import write_torch

KINDS = [f"{kind}_{depth}" for kind in ("memdpc", "lc") for depth in ("resnet18", "resnet34", "resnet50")]


def key_map(case: str, folder=SMALL) -> dict:
    return json.loads((folder / f"keys_{case}.json").read_text())


def parameters(case: str) -> dict[str, Tensor]:
    return state_dict({name: tuple(shape) for name, shape in key_map(case)["state_dict"].items()})


def empty(case: str) -> MemDPC | MemDPCClassifier:
    kind, _, depth = case.partition("_")
    return MemDPC(depth) if kind == "memdpc" else MemDPCClassifier(depth, classes=101)


def tiny(**changed: tuple[int, ...]) -> dict[str, Tensor]:
    """A checkpoint's tensors, those of the backbone only as far as their names say what it is."""
    shapes = {f"backbone.layer{layer}.{block}.conv2.weight": (1,) for layer in (1, 2, 3, 4) for block in (0, 1)}
    return {name: torch.zeros(shape) for name, shape in {**shapes, "mb": (5, 2), **changed}.items()}


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Published:
    return read_memdpc(write_released(tmp_path_factory.mktemp("released") / "r.pth.tar", parameters("memdpc_resnet18")))


def test_a_released_checkpoint_says_what_it_is(released):
    assert (released.depth, released.slots, released.classes) == ("resnet18", 1024, None)
    assert released.facts == {"epoch": 7, "iteration": 11, "best_acc": 0.25}
    assert len(released.twice) == 12  # the two names were filled with different values
    assert torch.equal(
        released.tensors["agg_f.cell_list.0.out_gate.bias"],
        parameters("memdpc_resnet18")["agg_f.cell_list.0.out_gate.bias"],
    )


@pytest.mark.parametrize("options", [{"_use_new_zipfile_serialization": False}, {"prefix": "module."}])
def test_old_formats_and_prefixes_are_read(options, tmp_path):
    found = read_memdpc(write_released(tmp_path / "r.pth.tar", tiny(), **options))
    assert (found.depth, found.slots, found.facts["best_acc"]) == ("resnet18", 5, 0.25)
    assert "mb" in found.tensors


def test_numbers_of_older_numpy_are_read(tmp_path):
    path = write_released(tmp_path / "r.pth.tar", tiny(), _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_memdpc(path).facts["best_acc"] == 0.25


@pytest.mark.parametrize("name", ["ConvGRUCell_00", "cell_list.0"])
def test_either_name_of_the_grus_is_enough(name, tmp_path):
    given = tiny(**{f"agg_f.{name}.out_gate.bias": (3,)})
    found = read_memdpc(write_released(tmp_path / "r.pth.tar", given))
    assert "agg_f.cell_list.0.out_gate.bias" in found.tensors
    assert found.twice == ()


def test_another_depth_is_named(tmp_path):
    deeper = {f"backbone.layer3.{block}.conv2.weight": (1,) for block in range(23)}
    given = tiny(**deeper, **{"backbone.layer1.0.conv3.weight": (1,), "backbone.layer1.2.conv2.weight": (1,)})
    with pytest.raises(WeightsError, match=r"r\.pth\.tar: its backbone has 3 and 23 bottleneck blocks .* resnet50"):
        read_memdpc(write_released(tmp_path / "r.pth.tar", given))


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    torch.save({"state_dict": {"layer1.0.conv1.weight": torch.zeros(1)}}, tmp_path / "r.pth.tar")
    with pytest.raises(WeightsError, match=r"r\.pth\.tar: contains no MemDPC"):
        read_memdpc(tmp_path / "r.pth.tar")


def test_the_other_depth_is_refused_by_name(released):
    with pytest.raises(WeightsError, match=r"its backbone is a resnet18, not a resnet34"):
        load_memdpc(ResNet2D3D("resnet34"), released)


def test_another_memory_is_refused_by_its_size(released):
    with pytest.raises(WeightsError, match="it has 1024 memory slots, not 16"):
        load_memdpc(MemDPC("resnet18", slots=16), released)


def test_another_width_is_refused_by_the_first_tensor_that_differs(released):
    narrow = {
        name: value[:32] if name.startswith("backbone.conv1") else value for name, value in released.tensors.items()
    }
    changed = Published(released.source, "resnet18", 1024, None, narrow, {}, ())
    with pytest.raises(WeightsError, match=r"'backbone\.conv1\.weight' is \(32, 3, 1, 7, 7\), not \(64, 3, 1, 7, 7\)"):
        load_memdpc(MemDPC("resnet18"), changed)


def test_a_missing_tensor_is_named_unless_partial(released):
    fewer = {name: value for name, value in released.tensors.items() if not name.startswith("network_pred.2.")}
    changed = Published(released.source, "resnet18", 1024, None, fewer, {}, ())
    network = MemDPC("resnet18")
    with pytest.raises(WeightsError, match=r"2 missing such as 'network_pred\.2\.weight'"):
        load_memdpc(network, changed)
    assert load_memdpc(network, changed, is_partial=True) == Loaded(
        ("network_pred.2.weight", "network_pred.2.bias"), ()
    )


def test_nothing_that_fits_is_refused_even_if_partial(tmp_path):
    found = read_memdpc(write_released(tmp_path / "r.pth.tar", tiny()))
    with pytest.raises(WeightsError, match="nothing in it fits"):
        load_memdpc(MemDPC("resnet18", slots=4), found, is_partial=True)


def test_a_classifier_takes_all_but_the_memory_and_starts_its_head_afresh(released):
    network = MemDPCClassifier("resnet18", classes=5)
    before = network.final_fc[1].weight.clone()
    found = load_memdpc(network, released)
    assert {name.partition(".")[0] for name in found.missing} == {"final_bn", "final_fc"}
    assert {name.partition(".")[0] for name in found.unused} == {"mb", "network_pred"}
    assert torch.equal(network.final_fc[1].weight, before)
    assert torch.equal(network.backbone.layer4[1].bn2.weight, released.tensors["backbone.layer4.1.bn2.weight"])
    with pytest.raises(WeightsError, match=r"missing such as 'final_bn\.weight'"):
        load_memdpc(network, released, fresh=())


def test_a_head_for_other_classes_is_refused_where_it_is_needed(tmp_path):
    found = read_memdpc(write_released(tmp_path / "r.pth.tar", parameters("lc_resnet18")))
    assert (found.slots, found.classes) == (None, 101)
    with pytest.raises(WeightsError, match="it has 101 classes, not 5"):
        load_memdpc(MemDPCClassifier("resnet18", classes=5), found, fresh=())
    load_memdpc(MemDPCContext("resnet18"), found)


def check_layout(case: str, folder) -> None:
    recorded, network = key_map(case, folder), empty(case)
    content = published_content(network, net=case.rpartition("_")[2], epoch=3, iteration=9)
    shapes = {name: list(value.shape) for name, value in content["state_dict"].items()}
    assert list(shapes.items()) == list(recorded["state_dict"].items())
    for name, other in recorded["same_tensor"].items():
        assert content["state_dict"][name].data_ptr() == content["state_dict"][other].data_ptr()
    order = [name.replace("cell_list.0", "ConvGRUCell_00") for name, _ in network.named_parameters()]
    assert order == recorded["optimizer_parameter_order"]
    assert sum(parameter.numel() for parameter in network.parameters()) == recorded["unique_parameters"]
    assert len(shapes) == recorded["entries"]


@pytest.mark.parametrize("case", ["memdpc_resnet18", "lc_resnet18"])
def test_what_is_written_has_the_references_names_shapes_and_order(case):
    check_layout(case, SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in KINDS if not case.endswith("18")])
def test_deeper_ones_have_the_references_names_shapes_and_order(case, shared):
    check_layout(case, shared / "goldens/memdpc")


def test_a_written_checkpoint_is_what_was_saved_and_strict_readers_take_it(released, tmp_path):
    network = network_of(released)
    content = published_content(network, net="resnet18", epoch=3, iteration=9, best_acc=0.5)
    write_torch(tmp_path / "out" / "m.pth.tar", content)
    plain = torch.load(tmp_path / "out" / "m.pth.tar", weights_only=True)
    assert list(plain) == ["epoch", "net", "state_dict", "best_acc", "optimizer", "iteration"]
    again = read_memdpc(tmp_path / "out" / "m.pth.tar")
    assert again.twice == ()
    assert all(torch.equal(value, again.tensors[name]) for name, value in network.state_dict().items())
    assert again.facts == {"epoch": 3, "iteration": 9, "best_acc": 0.5, "net": "resnet18"}


def test_an_optimizers_moments_have_the_shapes_and_order_of_the_reference(monkeypatch):
    monkeypatch.setattr(nn.init, "orthogonal_", lambda *_: None)
    network = MemDPC("resnet18", slots=2)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in ("mb", "backbone.conv1.weight", "network_pred.2.bias"))
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learning)
    for parameter in learning:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = published_content(network, net="resnet18", epoch=0, iteration=1, optimizer=optimizer)["optimizer"]
    assert [tuple(state["state"][number]["exp_avg"].shape) for number in range(3)] == [(2, 256), (64, 3, 1, 7, 7), (2,)]
    assert state["param_groups"][0]["params"] == [0, 1, 2]
    assert state["state"][0]["step"].item() == 1


def test_a_classifiers_checkpoint_names_its_backbone():
    network = MemDPCClassifier("resnet18", classes=3)
    assert published_content(network, net="resnet18", epoch=0, iteration=1)["backbone"] == "resnet18"


def test_an_optimizer_of_other_groups_cannot_be_written():
    network = MemDPCClassifier("resnet18", classes=3, is_frozen=True)
    optimizer = torch.optim.Adam([{"params": [each]} for each in network.final_fc.parameters()])
    with pytest.raises(ValueError, match="one group"):
        published_content(network, net="resnet18", epoch=0, iteration=1, optimizer=optimizer)


def test_layers_above_the_ninth_keep_their_numbers():
    found, _ = own_names({"agg_f.ConvGRUCell_12.out_gate.bias": torch.zeros(1), "ConvGRUCell_00.a": torch.ones(1)})
    assert set(found) == {"agg_f.cell_list.12.out_gate.bias", "cell_list.0.a"}
    assert found["cell_list.0.a"].item() == 1
