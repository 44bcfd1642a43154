"""What the reference of RepLAI recorded of its networks, and their parameters in the layouts of its checkpoints."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fill import DATA, input_of, recorded_shapes, state_dict
from torch import Tensor

RECORDED = DATA / "replai"
HEADS = {"video_clr.0.weight": torch.ones(2, 3), "aot_diff.2.bias": torch.zeros(3)}


class Golden:
    """A recorded case: its description, inputs, parameters, and outputs to compare with."""

    def __init__(self, case: str) -> None:
        self._file = RECORDED / f"{case}.json"
        self.about: dict[str, Any] = json.loads(self._file.read_text())
        self.outputs = dict(np.load(self._file.with_suffix(".npz")))

    def parameters(self) -> dict[str, Tensor]:
        """By the reference's names; not to be changed: the smaller ones are drawn once."""
        small = self.about.get("num_parameters", 0) < 10_000_000
        return dict((_drawn if small else _drawn.__wrapped__)(self._file))

    def input(self) -> Tensor:
        (only,) = self.about["inputs"]
        return input_of(only["name"], *only["shape"])

    def check(self, name: str, found: Tensor) -> None:
        """Whole or cut as recorded, within the recorded tolerance; and its mean, deviation, L2 norm and maximum."""
        tolerance = self.about["tolerance"]
        found = found.detach().double()
        if f"{name}_stats" in self.outputs:
            stats = (found.mean(), found.std(correction=0), found.norm(), found.abs().max())
            wanted = self.outputs[f"{name}_stats"]
            np.testing.assert_allclose(torch.stack(stats), wanted, rtol=0, atol=1e-4 * wanted[2])
        cut = {f"{name}_slice": found[0], name: found}
        (key,) = set(cut) & set(self.outputs)
        wanted = self.outputs[key]
        parts = [slice(0, length) for length in wanted.shape]
        values = cut[key].reshape(wanted.shape) if key == name else cut[key][tuple(parts)]
        np.testing.assert_allclose(values.numpy(), wanted, rtol=tolerance["rtol"], atol=tolerance["atol"])


@lru_cache(maxsize=2)
def _drawn(case: Path) -> dict[str, Tensor]:
    return state_dict(recorded_shapes(case))


def replai_names(video: dict[str, Tensor], audio: dict[str, Tensor]) -> dict[str, Tensor]:
    """Both networks and a piece of the heads by the names of RepLAI's checkpoints, without `module.`."""
    named = ((f"backbone.{kind}.", part) for kind, part in (("video", video), ("audio", audio)))
    tensors = {f"{prefix}{name}": value for prefix, part in named for name, value in part.items()}
    return tensors | {f"mlp.{name}": value for name, value in HEADS.items()}
