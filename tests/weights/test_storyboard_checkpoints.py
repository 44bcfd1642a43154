"""Checkpoints of Memory Storyboard: read without running them, told apart, refused by name, and written."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from storyboard_networks import filled_again
from torch import nn

from egotools.errors import WeightsError
from egotools.methods.storyboard.learners import METHODS, Learner
from egotools.nn.storyboard import ResNet
from egotools.weights.storyboard import (
    load_storyboard,
    published_content,
    published_of,
    read_label_mapping,
    read_storyboard,
    write_label_mapping,
)


class Harmful:
    """What would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def released(path: Path, model: nn.Module, prefix: str = "") -> Path:
    """As the reference saves it, whose models may have run in parallel."""
    state = {f"{prefix}{name}": value for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    torch.save({"model_state_dict": state, "optimizer_state_dict": optimizer.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    model = filled_again(partial(Learner, "simsiam-tc", 18, classes=7))
    return released(tmp_path_factory.mktemp("released") / "step_3.pth", model, "module.")


def test_a_checkpoint_says_what_it_is_and_is_loaded_whole(checkpoint):
    found = read_storyboard(checkpoint)
    assert (found.depth, found.norm, found.method, found.classes) == (18, "group", "simsiam-tc", 7)
    assert found.optimizer["param_groups"][0]["momentum"] == 0.9
    model = Learner("simsiam-tc", 18, classes=7)
    assert load_storyboard(model, found).missing == ()
    assert all(torch.equal(value, found.tensors[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("depth", [18, 50])
def test_depth_norm_and_method_are_told_from_the_names(depth, norm):
    for method in METHODS:
        with torch.device("meta"):
            state = Learner(method, depth, norm=norm, classes=3).state_dict()
        found = published_of(state, Path("x"))
        own = "simclr-tc" if method == "tc" else method  # whose parts are the same
        assert (found.depth, found.norm, found.method) == (depth, norm, own)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"depth": 50}, "its backbone is a ResNet-18 with group norm, not a ResNet-50 with group norm"),
        ({"depth": 18, "norm": "batch"}, "is a ResNet-18 with group norm, not a ResNet-18 with batch norm"),
    ],
)
def test_another_depth_or_norm_is_refused_by_name(checkpoint, options, named):
    with torch.device("meta"):
        networks = [ResNet(**options), Learner("simsiam", **options)]
    for network in networks:
        with pytest.raises(WeightsError, match=rf"step_3\.pth: .*{named}"):
            load_storyboard(network, read_storyboard(checkpoint))


def test_heads_of_another_method_are_left_out_and_named(checkpoint):
    loaded = load_storyboard(Learner("simclr", 18), read_storyboard(checkpoint))
    assert set(loaded.missing) >= {"supcon_projector.0.weight", "projector.0.weight"}
    assert set(loaded.unused) >= {"classifer.2.weight", "predictor.0.weight", "projector.0.weight"}
    other = load_storyboard(Learner("simsiam-tc", 18, classes=9), read_storyboard(checkpoint))
    assert other.missing == other.unused == ("classifer.2.weight", "classifer.2.bias")


def test_a_backbone_alone_is_read_too(checkpoint, tmp_path):
    published = read_storyboard(checkpoint)
    network = ResNet(18)
    load_storyboard(network, published)
    torch.save(network.state_dict(), tmp_path / "backbone.pth")
    found = read_storyboard(tmp_path / "backbone.pth")
    assert (found.depth, found.norm, found.method, found.optimizer) == (18, "group", "", None)
    assert torch.equal(found.tensors["backbone.conv1.weight"], published.tensors["backbone.conv1.weight"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"backbone.layer3.2.conv1.weight": 1},
            "has 2 and 3 basic blocks in layer1 and layer3, which is none of 18, 50",
        ),
        ({"fc.weight": 1}, r"no checkpoint of Memory Storyboard has a tensor 'fc\.weight'"),
        ({"backbone.gn1.weight": 0}, "contains no network of Memory Storyboard: a backbone.conv1.weight"),
        ({"backbone.layer4.1.gn2.bias": 0}, "1 missing such as 'backbone.layer4.1.gn2.bias'"),
        ({"backbone.extra": 1}, "1 unknown such as 'backbone.extra'"),
    ],
)
def test_other_networks_are_refused(changes, named):
    with torch.device("meta"):
        model = Learner("simclr", 18)
        state = model.state_dict() | {name: torch.zeros(1) for name in changes}
    state = {name: value for name, value in state.items() if changes.get(name, 1)}
    with pytest.raises(WeightsError, match=named):
        load_storyboard(model, published_of(state, Path("x.pth")))


def test_nothing_in_a_checkpoint_is_run(tmp_path):
    torch.save({"model_state_dict": {}, "x": Harmful(tmp_path / "harm")}, tmp_path / "step_1.pth")
    with pytest.raises(WeightsError, match=r"step_1\.pth: contains other things than tensors"):
        read_storyboard(tmp_path / "step_1.pth")
    assert not (tmp_path / "harm").exists()


def test_written_content_says_nothing_of_how_an_optimizer_computes():
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    content = published_content(model.state_dict(), optimizer.state_dict())
    other = torch.optim.Adam(model.parameters())
    other.load_state_dict(content["optimizer_state_dict"])
    assert other.param_groups[0]["fused"] is None
    other.step()
    assert optimizer.param_groups[0]["fused"]
    assert published_content({})["optimizer_state_dict"] is None


def test_merged_labels_are_read_and_written(tmp_path):
    mapping = {17: 3, 40: 3, 41: 40}
    write_label_mapping(tmp_path / "label_mapping.pkl", mapping)
    assert pickle.loads((tmp_path / "label_mapping.pkl").read_bytes()) == mapping  # as the reference reads it
    assert read_label_mapping(tmp_path / "label_mapping.pkl") == mapping


@pytest.mark.parametrize("content", [[1, 2], {1: "a"}, {True: 1}, {1.0: 2}, 7])
def test_anything_but_labels_by_labels_is_refused(content, tmp_path):
    (tmp_path / "l.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match=r"l\.pkl: not a mapping of labels"):
        read_label_mapping(tmp_path / "l.pkl")


def test_nothing_in_a_label_mapping_is_run(tmp_path):
    (tmp_path / "l.pkl").write_bytes(pickle.dumps({1: Harmful(tmp_path / "harm")}))
    with pytest.raises(WeightsError, match=r"l\.pkl: not a pickle that can be read safely"):
        read_label_mapping(tmp_path / "l.pkl")
    assert not (tmp_path / "harm").exists()
