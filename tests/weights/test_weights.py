"""Weights files: what is read, what is refused, and how that is said."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from egotools.errors import WeightsError
from egotools.weights.tensors import anchored, load_into, random_seed, read_tensors, weights_digest, weights_file


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return {"layer.weight": torch.randn(3, 4, generator=generator), "layer.bias": torch.randn(3, generator=generator)}


def save_npz(tensors, path):
    np.savez(path, **{name: value.numpy() for name, value in tensors.items()})


SAVERS = {
    "w.safetensors": save_file,
    "w.SAFETENSORS": save_file,
    "w.npz": save_npz,
    "w.pth": torch.save,
    "w.pt": torch.save,
    "w.ckpt": lambda tensors, path: torch.save({"epoch": 3, "state_dict": tensors}, path),
    "w.bin": lambda tensors, path: torch.save({"model": tensors, "lr": 0.1}, path),
    "w.tar": lambda tensors, path: torch.save({"module." + name: value for name, value in tensors.items()}, path),
    "old.pth": lambda tensors, path: torch.save(tensors, path, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("name", SAVERS)
def test_tensors_come_back_as_they_were_saved(name, tensors, tmp_path):
    SAVERS[name](tensors, tmp_path / name)
    found = read_tensors(tmp_path / name)
    assert set(found) == set(tensors)
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin", ".tar"])
def test_nothing_in_a_file_is_executed(suffix, tmp_path):
    marker, path = tmp_path / "executed", tmp_path / f"evil{suffix}"
    torch.save({"state_dict": Trap(marker)}, path)
    with pytest.raises(WeightsError, match="contains other things than tensors") as error:
        read_tensors(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    path.write_bytes(pickle.dumps(Trap(marker), protocol=2))
    with pytest.raises(WeightsError, match="contains other things than tensors"):
        read_tensors(path)
    assert not marker.exists()


def test_objects_in_an_npz_are_not_unpickled(tmp_path):
    marker = tmp_path / "executed"
    np.savez(tmp_path / "evil.npz", a=np.array([Trap(marker)], dtype=object))
    with pytest.raises(WeightsError, match="not readable as weights"):
        read_tensors(tmp_path / "evil.npz")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pth", "old.pth"])
def test_a_damaged_file_is_one_line(name, tensors, tmp_path, rng):
    SAVERS[name](tensors, tmp_path / name)
    whole, path = (tmp_path / name).read_bytes(), tmp_path / f"damaged{Path(name).suffix}"
    damaged = [b"", b"weights", rng.bytes(200), whole[:10], whole[: len(whole) // 2], whole[:-5]]
    for at in rng.integers(0, len(whole), 60):
        damaged.append(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    refusals = []
    for content in damaged:
        path.write_bytes(content)
        try:
            read_tensors(path)
        except WeightsError as error:  # a flipped bit among the numbers is no damage that could be seen
            refusals.append(str(error))
    assert len(refusals) >= 5
    assert all(str(path) in text and "\n" not in text for text in refusals)


@pytest.mark.parametrize("value", [[1, 2], torch.zeros(3), {"a": 1}, {"state_dict": {"a": [1.0]}}])
def test_a_file_without_named_tensors_is_refused(value, tmp_path):
    torch.save(value, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"contains no named tensors \(a state_dict\)"):
        read_tensors(tmp_path / "w.pth")


def test_a_whole_pickled_network_is_refused_with_what_to_do(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"save a state_dict\(\)"):
        read_tensors(tmp_path / "w.pth")


def test_an_array_that_is_no_table_and_text_are_refused(tmp_path):
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    np.savez(tmp_path / "text.npz", a=np.array(["a", "b"]))
    for name in ("single.npz", "text.npz"):
        with pytest.raises(WeightsError, match="not readable as weights"):
            read_tensors(tmp_path / name)


class Small(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, classes)


def load(network, tensors, heads=("head.",)):
    load_into(network, tensors, heads=heads, source="w.pth")


def test_every_tensor_arrives():
    given, network = Small().state_dict(), Small()
    load(network, given)
    assert all(torch.equal(value, given[name]) for name, value in network.state_dict().items())


def test_the_classifier_may_be_of_another_task_or_missing():
    given = Small(classes=9).state_dict()
    for tensors in (given, {name: value for name, value in given.items() if not name.startswith("head.")}):
        network = Small()
        load(network, tensors)
        assert torch.equal(network.body[0].weight, given["body.0.weight"])


def test_half_precision_weights_become_float32():
    network, given = Small(), {name: value.half() for name, value in Small().state_dict().items()}
    load(network, given)
    assert network.body[0].weight.dtype == torch.float32


def without(name):
    return {key: value for key, value in Small().state_dict().items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        (without("body.0.bias"), r"w\.pth: does not fit the network: 1 missing such as 'body\.0\.bias'"),
        (without("body.1.running_var"), r"1 missing such as 'body\.1\.running_var'"),
        (Small().state_dict() | {"tail.weight": torch.zeros(1)}, r"1 unknown such as 'tail\.weight'"),
        ({"x": torch.zeros(1)}, r"6 missing such as 'body\.0\.weight'; 1 unknown such as 'x'"),
        ({}, "6 missing such as"),
        (Small().state_dict() | {"body.0.weight": torch.zeros(3, 9)}, r"'body\.0\.weight' is \(3, 9\), not \(3, 4\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(tensors, text):
    network = Small()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(WeightsError, match=text):
        load(network, tensors)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_counters_of_batches_do_not_matter():
    load(Small(), without("body.1.num_batches_tracked"))


def test_a_network_without_a_classifier_needs_every_tensor():
    with pytest.raises(WeightsError, match=r"'head\.weight' is \(9, 3\), not \(5, 3\)"):
        load(Small(), Small(classes=9).state_dict(), heads=())


def fetch(name):
    raise WeightsError(f"fetched {name}")


def test_a_missing_file_is_not_taken_for_a_published_name(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere\.pth: no such weights file"):
        weights_file(str(tmp_path / "nowhere.pth"), fetch)
    with pytest.raises(WeightsError, match="fetched IMAGENET1K_V2"):
        weights_file("IMAGENET1K_V2", fetch)


def test_the_digest_is_that_of_the_file_or_the_seed_itself(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"some weights")
    assert weights_digest(str(tmp_path / "w.pth"), fetch) == hashlib.sha256(b"some weights").hexdigest()[:16]
    assert weights_digest("random:7", fetch) == "random:7"


def test_only_whole_numbers_are_seeds():
    assert random_seed("random:0") == 0
    assert random_seed("random:12") == 12
    for text in ("random:", "random:-1", "random:1.5", "random: 1", "xrandom:1", "random:" + "9" * 30, "DEFAULT"):
        assert random_seed(text) is None


def test_a_run_means_its_backbone(tmp_path, tensors):
    with pytest.raises(WeightsError, match="run: no such run"):
        weights_file(f"run:{tmp_path / 'run'}", fetch)
    (tmp_path / "run").mkdir()
    with pytest.raises(WeightsError, match=r"run: contains no backbone\.safetensors; it must be a finished run"):
        weights_digest(f"run:{tmp_path / 'run'}", fetch)
    save_file(tensors, tmp_path / "run/backbone.safetensors")
    assert weights_file(f"run:{tmp_path / 'run'}", fetch) == tmp_path / "run/backbone.safetensors"
    before = weights_digest(f"run:{tmp_path / 'run'}", fetch)
    (tmp_path / "run").rename(tmp_path / "moved.pth")  # a folder, whatever its name looks like
    assert weights_digest(f"run:{tmp_path / 'moved.pth'}", fetch) == before


def test_files_and_runs_are_named_so_that_any_folder_understands_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert anchored("a/w.pth") == str(tmp_path / "a/w.pth")
    assert anchored("run:runs/a/") == f"run:{tmp_path / 'runs/a'}"
    for same in ("/a/w.npz", "run:/a/b", "DEFAULT", "IMAGENET1K_V1", "random:0"):
        assert anchored(same) == same
