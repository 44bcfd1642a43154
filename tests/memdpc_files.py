"""What a reference of MemDPC recorded, and checkpoints as it writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fill import DATA, input_of, recorded_shapes, state_dict
from torch import Tensor

from egotools.nn import resnet_2d3d

SMALL = DATA / "memdpc"


class Golden:
    """A recorded case: its description, inputs, parameters, and outputs to compare with."""

    def __init__(self, case: str, folder: Path = SMALL) -> None:
        self.case, self._file = case, folder / f"{case}.json"
        self.about: dict[str, Any] = json.loads(self._file.read_text())
        self.outputs = dict(np.load(folder / f"{case}.npz"))

    @property
    def constructor(self) -> dict[str, Any]:
        return self.about["constructor"]

    def parameters(self) -> dict[str, Tensor]:
        """By the reference's names, both of the GRUs'; the effective values are those of `cell_list`."""
        return state_dict(recorded_shapes(self._file))

    def input(self, name: str) -> Tensor:
        (shape,) = (each["shape"] for each in self.about["inputs"] if each["name"] == name)
        return input_of(name, *shape)

    def check(self, name: str, found: Tensor, *, rtol: float | None = None, atol: float | None = None) -> None:
        """Equal within the recorded tolerance: |x - y| <= atol max|y| + rtol |y|; summaries of large tensors, too."""
        rtol = self.about["tolerance"]["rtol"] if rtol is None else rtol
        atol = self.about["tolerance"]["atol"] if atol is None else atol
        found = found.detach().double().contiguous()
        pieces = {"": found, ".l2": found.norm(), ".mean": found.mean(), ".std": found.std(correction=0)}
        pieces |= {".stats": torch.stack([found.mean(), found.std(correction=0), found.norm()])}
        pieces |= {".head": found.flatten()[:256]}
        if f"{name}.slice" in self.outputs:
            pieces[".slice"] = self._slice(name, found.flatten())
        seen = [suffix for suffix in pieces if f"{name}{suffix}" in self.outputs]
        assert seen, f"{self.case} has no {name}"
        for suffix in seen:
            wanted = torch.from_numpy(np.asarray(self.outputs[f"{name}{suffix}"], np.float64))
            assert pieces[suffix].numel() == wanted.numel(), (name, suffix, pieces[suffix].shape, wanted.shape)
            error = (pieces[suffix].reshape(wanted.shape) - wanted).abs()
            limit = atol * wanted.abs().max() + rtol * wanted.abs()
            assert (error <= limit).all(), f"{self.case}: {name}{suffix} is off by {error.max():.2e}"

    def _slice(self, name: str, flat: Tensor) -> Tensor:
        rule = self.about["outputs"].get(name, {}).get("slice", "")
        if "[::" in rule:
            step, count = (int(part) for part in rule.split("[::")[1].rstrip("]").split("][:"))
        else:
            count = 512 if name.startswith("grad.") else 2048
            step = max(1, len(flat) // count)
            step += step % 2 == 0
        return flat[::step][:count]


def make_narrow(patch: pytest.MonkeyPatch) -> None:
    """Gives new networks few channels; recorded parameters do not fit them."""
    patch.setattr(resnet_2d3d, "STEM", 8)
    planes = (8, 8, 16, 16)
    patch.setattr(resnet_2d3d, "PLANES", planes)
    for depth, plan in resnet_2d3d.PLANS.items():
        patch.setitem(resnet_2d3d.PLANS, depth, replace(plan, planes=planes))


def write_released(path: Path, parameters: Mapping[str, Tensor], *, prefix: str = "", **options: Any) -> Path:
    """A checkpoint as the reference's training leaves it, with a NumPy number; `options` are those of `torch.save`."""
    tensors = {f"{prefix}{name}": value for name, value in parameters.items()}
    content = {"epoch": 7, "state_dict": tensors, "best_acc": np.float64(0.25), "optimizer": {}, "iteration": 11}
    torch.save(content, path, **options)
    return path
