"""What the reference of Memory Storyboard recorded, and networks filled as it filled them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fill import DATA, Network, normal, parameter
from torch import Tensor

from egotools.nn import storyboard as networks
from egotools.types import Frame

SMALL = DATA / "storyboard"
LABELS = (20, 21, 3, 3, 5, 5, 5, 9)  # of the recorded batches, whose first two images are current


def recorded(case: str) -> dict[str, npt.NDArray[Any]]:
    with np.load(SMALL / f"{case}.npz", allow_pickle=False) as file:
        return dict(file)


def recorded_state(case: str) -> dict[str, list[int]]:
    """The shapes of the reference's tensors, in its order."""
    return json.loads((SMALL / f"{case}.json").read_text())["state"]


@cache
def value(name: str, shape: tuple[int, ...]) -> Tensor:
    return parameter(name, shape)


def filled_again(make: Callable[[], Network]) -> Network:
    """What `make` gives, with the values of its names, kept for the next, instead of initial ones; in train mode."""
    with torch.device("meta"):
        network = make()
    values = {name: value(name, tuple(each.shape)).clone() for name, each in network.state_dict().items()}
    network.load_state_dict(values, assign=True)
    return network.train()


def golden_image() -> Frame:
    """The picture whose views the reference recorded, uint8 [256, 352, 3]."""
    cells = normal("input/image", (16, 22, 3)).repeat(16, 0).repeat(16, 1)
    height, width = cells.shape[:2]
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([x / width, y / height, (x + y) / (width + height)], axis=2)
    return np.clip(np.rint(127.5 + 45 * cells + 20 * ramps), 0, 255).astype(np.uint8)


def near(found: Tensor, wanted: npt.NDArray[Any], *, rtol: float, of_largest: float = 0.0, atol: float = 0.0) -> None:
    """Within the recorded tolerance, of which a part may be relative to the largest value."""
    atol = max(atol, of_largest * float(np.abs(wanted).max()))
    torch.testing.assert_close(found.detach().double(), torch.from_numpy(wanted).double(), rtol=rtol, atol=atol)


def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes ResNet-18 and the heads a hundredth as large: checkpoints are written after every step."""
    planes = (8, 8, 8, 8)
    for name, value in {"STEM": 8, "PLANES": planes, "HIDDEN": 16}.items():
        monkeypatch.setattr(networks, name, value)
    monkeypatch.setitem(networks.PLANS, 18, replace(networks.PLANS[18], blocks=(1, 1, 1, 1), planes=planes))
