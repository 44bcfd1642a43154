"""Values for parity checks, the same on every machine: parameters by their name and shape, inputs by their name.

They are those of which a reference implementation recorded the outputs in data/, computed by the same rules.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

DATA = Path(__file__).parent / "data"
full_size = pytest.mark.skipif("EGOTOOLS_FULL_SIZE" not in os.environ, reason="minutes, 6 GB: EGOTOOLS_FULL_SIZE=1")
Network = TypeVar("Network", bound=nn.Module)


def normal(key: str, shape: tuple[int, ...], salt: str = "a") -> npt.NDArray[np.float32]:
    """Standard-normal numbers of that name; NumPy keeps the stream of its RandomState frozen."""
    seed = zlib.crc32(f"{salt}/{key}".encode())
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def input_of(name: str, *shape: int) -> Tensor:
    """A standard-normal input."""
    return torch.from_numpy(normal(f"input/{name}", shape))


def parameter(key: str, shape: tuple[int, ...]) -> Tensor:
    """The value of an entry of a reference's state_dict.

    Weights of rank 2 and more have the standard deviation sqrt(2 / fan-in), so that deep networks neither fade nor,
    within float32, overflow; scales and variances are near 1, means and biases near 0, and none is exactly that.
    """
    kind = key.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    z = normal(key, shape)
    if kind == "running_mean":
        z = np.float32(0.1) * z
    elif kind == "running_var":
        z = 1 + np.float32(0.1) * np.abs(z)
    elif len(shape) > 1:
        z = z * np.float32(math.sqrt(2 / math.prod(shape[1:])))
    else:
        z = 1 + np.float32(0.1) * z if kind == "weight" else np.float32(0.02) * z
    return torch.from_numpy(np.asarray(z))


def state_dict(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Values for every entry of a state_dict, by the reference's names."""
    return {key: parameter(key, tuple(shape)) for key, shape in shapes.items()}


def recorded_shapes(case: Path) -> dict[str, tuple[int, ...]]:
    """The reference's state_dict as the description of a case lists it."""
    return {key: tuple(shape) for key, shape in json.loads(case.read_text())["state_dict"].items()}


def assert_as_recorded(found: Tensor, recorded: npt.NDArray[np.float32]) -> None:
    """Equal within float32's noise through some hundred layers, relative to the largest value, as recorded with them.

    Activations grow to 1e8 and more with these parameters, so an absolute tolerance would say nothing.
    """
    assert tuple(found.shape) == recorded.shape
    np.testing.assert_allclose(found.numpy(), recorded, rtol=0, atol=2e-4 * float(np.abs(recorded).max()))
    a, b = found.double().flatten(), torch.from_numpy(recorded).double().flatten()
    assert torch.cosine_similarity(a, b, dim=0) >= 0.99999


def filled(network: Network) -> Network:
    """With the values of its names, not training; it may have been built without memory (on the device "meta")."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict(state_dict(shapes), assign=True)
    return network.eval()
