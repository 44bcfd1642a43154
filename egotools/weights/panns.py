"""Checkpoints of PANNs as published (`{"model": {...}}`): read, told apart, loaded up to the classifier."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from egotools.errors import WeightsError
from egotools.nn.panns import ARCHITECTURES, Architecture
from egotools.weights.tensors import load_into, read_tensors

# What the published networks have around ours: the spectrogram, the batch norm of its bands, and the classifier.
AROUND = ("spectrogram_extractor.", "logmel_extractor.", "bn0.", "fc_audioset.")
FIRST = ("conv_block1.conv1.weight", "features.0.0.weight", "conv0.weight")  # one of them is in each network


@dataclass(frozen=True, eq=False)
class PannsWeights:
    """A checkpoint of PANNs."""

    source: str
    name: str  # of the network, as published; "" if it is none that is built
    tensors: dict[str, Tensor]


def read_panns(path: Path) -> PannsWeights:
    """A checkpoint of PANNs, whole or without its front end and classifier; nothing in it is executed.

    Raises:
        WeightsError: it cannot be read, or is none of PANNs.
    """
    tensors = read_tensors(path)
    if "fc1.weight" not in tensors or not any(name in tensors for name in FIRST):
        raise WeightsError(f"{path}: contains no network of PANNs: no fc1.weight, and none of {', '.join(FIRST)}")
    return PannsWeights(str(path), name_of(tensors), tensors)


def load_panns(network: nn.Module, weights: PannsWeights, architecture: Architecture) -> None:
    """Loads a checkpoint into its network.

    Raises:
        WeightsError: it is of another network, or lacks a tensor or has an unknown one; names the first.
    """
    if weights.name not in ("", architecture.name):
        raise WeightsError(f"{weights.source}: its network is {weights.name}, not {architecture.name}")
    own = network.state_dict()
    around = tuple(prefix for prefix in AROUND if not any(name.startswith(prefix) for name in own))
    load_into(network, weights.tensors, heads=around, source=weights.source)


def name_of(tensors: Mapping[str, Tensor]) -> str:
    """Which network tensors are of, by their names and shapes; "" if of none."""
    if "fc1.weight" not in tensors or not any(name in tensors for name in FIRST):
        return ""
    for architecture in ARCHITECTURES.values():
        with torch.device("meta"):  # shapes only: no memory, no random numbers
            own = _shapes(architecture.build().state_dict())
        found = {n: shape for n, shape in _shapes(tensors).items() if n in own or not n.startswith(AROUND)}
        if found == own:
            return architecture.name
    return ""


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith("num_batches_tracked")}
