"""`egotools weights`: any file of weights is described without running it; runs are exported as published."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from egotools.cli.main import root
from memdpc_files import Golden, write_released
from safetensors.torch import save_file
from torchvision import models

from egotools.nn.memdpc import MemDPC
from egotools.weights.memdpc import read_memdpc


class Harmful:
    """What would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["weights", *map(str, arguments)])


def about(path: Path) -> dict:
    done = run("info", path, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def resnet():
    with torch.device("meta"):
        shapes = models.resnet18(num_classes=7).state_dict()
    return {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in shapes.items()}


def test_a_training_checkpoint_says_network_tensors_and_what_stands_beside(tmp_path, resnet):
    content = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in resnet.items()}}
    torch.save({**content, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth.tar")
    found = about(tmp_path / "a.pth.tar")
    assert (found["format"], found["network"]) == ("torch", "torchvision:resnet18, with another classifier")
    assert found["tensors"][0] == {"name": "conv1.weight", "shape": [64, 3, 7, 7], "dtype": "float32"}
    assert found["beside"]["epoch"] == 3
    assert found["beside"]["args"] == "an object of argparse.Namespace"
    text = run("info", tmp_path / "a.pth.tar")
    assert "64x3x7x7" in text.stdout
    assert "--all shows them" in text.stderr


def test_whole_modules_and_the_older_format_are_described_without_their_classes(tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 3)), tmp_path / "whole.pt")
    assert [each["name"] for each in about(tmp_path / "whole.pt")["tensors"]] == ["0.weight", "0.bias"]
    content = {"w": torch.zeros(2), "args": argparse.Namespace(lr=1)}
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    found = about(tmp_path / "old.pth")
    assert (found["format"], found["tensors"][0]["name"]) == ("torch, before 1.6", "w")


def test_nothing_in_a_file_is_run(tmp_path):
    torch.save({"w": torch.zeros(2), "x": Harmful(tmp_path / "harm")}, tmp_path / "h.pth")
    run("info", tmp_path / "h.pth")
    assert not (tmp_path / "harm").exists()


def test_other_formats(tmp_path, resnet):
    del resnet["fc.weight"], resnet["fc.bias"]
    save_file(resnet, tmp_path / "backbone.safetensors")
    assert about(tmp_path / "backbone.safetensors")["network"] == "torchvision:resnet18, without its classifier"
    np.savez(tmp_path / "pca.npz", mean=np.zeros(3), components=np.zeros((2, 3)), explained_variance=np.ones(2))
    assert about(tmp_path / "pca.npz")["network"] == "principal components (train pca)"
    (tmp_path / "no.pth").write_bytes(b"nothing")
    done = run("info", tmp_path / "no.pth")
    assert done.exit_code == 1
    assert "no.pth" in str(done.exception)
    assert "no such weights file" in str(run("info", tmp_path / "gone.pth").exception)


def test_a_released_memdpc_is_known(tmp_path):
    small = Golden("memdpc_resnet18_64_small").parameters()
    found = about(write_released(tmp_path / "r.pth.tar", small))
    assert found["network"].startswith("MemDPC resnet18 in pre-training, ")
    assert found["beside"]["best_acc"] == 0.25


def test_a_run_is_exported_in_the_published_layout(tmp_path):
    network = MemDPC("resnet18", slots=4)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"identity": {"method": "memdpc"}, "origin": {}}))
    out = tmp_path / "memdpc.pth.tar"
    refused = run("export", folder, "--to", "memdpc", "--out", out)
    assert "has no memdpc.safetensors" in str(refused.exception)
    save_file(network.state_dict(), folder / "memdpc.safetensors")
    (folder / "report.json").write_text(json.dumps({"steps": 400, "epochs": 5}))
    done = run("export", folder, "--to", "memdpc", "--out", out)
    assert done.exit_code == 0, (done.output, done.exception)
    content = torch.load(out, weights_only=True)
    assert (content["epoch"], content["iteration"], content["best_acc"]) == (4, 401, 0.0)
    gates = [name for name in content["state_dict"] if name.startswith("agg_f.")]
    assert gates[0].startswith("agg_f.ConvGRUCell_00.")
    assert gates[-1].startswith("agg_f.cell_list.0.")
    back = read_memdpc(out).tensors
    assert all(torch.equal(value, back[name]) for name, value in network.state_dict().items())
