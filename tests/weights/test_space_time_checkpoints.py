"""Checkpoints of EgoVLP and LaViLa in the layouts that are published: read, told apart, nothing in them run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from space_time_files import EGOVLP, LAVILA, drawn, write_egovlp, write_lavila

from egotools.errors import WeightsError
from egotools.weights.description import describe
from egotools.weights.tensors import read_tensors
from egotools.weights.timesformer import read_space_time, shape_of


def assert_holds(path: Path, network: torch.nn.Module) -> None:
    found, own = read_space_time(path), network.state_dict()
    assert found.keys() == own.keys()
    assert all(torch.equal(value, found[name]) for name, value in own.items())


def test_a_checkpoint_of_egovlp_is_read_past_its_configuration(tmp_path: Path) -> None:
    network = drawn(EGOVLP)
    with pytest.MonkeyPatch.context() as patch:
        path = write_egovlp(tmp_path / "egovlp.pth", network, patch)
    with pytest.raises(WeightsError, match="other things than tensors"):
        read_tensors(path)  # what does not expect such objects still refuses them
    assert_holds(path, network)
    assert shape_of(read_space_time(path), "x") == EGOVLP


@pytest.mark.parametrize("gated", [False, True])
def test_a_checkpoint_of_lavila_is_read_past_its_options(gated: bool, tmp_path: Path) -> None:
    shape = replace(LAVILA, is_gated=gated)
    network = drawn(shape)
    path = write_lavila(tmp_path / "lavila.pth", network)
    assert_holds(path, network)
    assert shape_of(read_space_time(path), "x") == shape


def test_egovlp_as_converted_by_lavila_is_the_same_network(tmp_path: Path) -> None:
    network = drawn(EGOVLP)
    state = {
        "module." + (n.replace("projection.", "image_projection.0.") if "projection" in n else f"visual.{n}"): v.half()
        for n, v in network.state_dict().items()
    }
    torch.save({"epoch": 0, "state_dict": state, "best_acc1": 0}, tmp_path / "f16.pth")
    found = read_space_time(tmp_path / "f16.pth")
    assert shape_of(found, "x") == EGOVLP
    assert torch.equal(found["projection.bias"], network.state_dict()["projection.bias"].half())


def test_a_fine_tuned_classifier_has_no_joint_space(tmp_path: Path) -> None:
    path = write_lavila(tmp_path / "egtea.pth", drawn(LAVILA), fine_tuned=True)
    assert shape_of(read_space_time(path), "x") == replace(LAVILA, joint=None)


def test_other_networks_are_refused_in_a_line(tmp_path: Path) -> None:
    torch.save({"visual.conv1.weight": torch.ones(2, 3, 4, 4)}, tmp_path / "clip.pth")
    with pytest.raises(WeightsError, match=r"clip\.pth: contains no network of EgoVLP, .*: no cls_token"):
        read_space_time(tmp_path / "clip.pth")
    odd = {**drawn(EGOVLP).state_dict(), "pos_embed": torch.ones(1, 9, 128)}
    torch.save(odd, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"is of another network: 8 patches are no square"):
        shape_of(read_space_time(tmp_path / "odd.pth"), "odd.pth")


def test_weights_info_says_which_network_it_is(tmp_path: Path) -> None:
    path = write_lavila(tmp_path / "lavila.pth", drawn(LAVILA))
    assert describe(path).network == "LaViLa, 128 wide, 2 blocks, 4 frames of 24x24 (extractor lavila)"
    assert describe(path).beside["args"] == "an object of argparse.Namespace"
