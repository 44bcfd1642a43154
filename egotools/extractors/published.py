"""Networks that a library publishes, each with its weights' own preprocessing: torchvision's and timm's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from egotools.pixels import Preprocessing
from egotools.weights import load_into, random_seed, read_tensors, weights_digest, weights_file


@dataclass(frozen=True)
class Published:
    """One network by name; nothing is built or fetched before it is asked for."""

    name: str
    kind: Literal["image", "video"]
    preprocessing: Callable[[str], Preprocessing]  # of the weights of that name
    build: Callable[[str], nn.Module]  # whole, of the size that those weights need, from torch's random state
    heads: Callable[[nn.Module], tuple[str, ...]]  # prefixes of the classifiers' parameters
    without_head: Callable[[nn.Module], nn.Module]  # [B, 3, (L,) H, W] to [B, D]
    fetch: Callable[[str], Path]  # the file of published weights
    rename: Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] = lambda tensors, _: tensors
    frames: int = 1  # of a window, for videos
    fps: float | None = None  # rate of a window's frames, Hz

    def digest(self, weights: str) -> str:
        """What stands for the weights in a recipe."""
        return weights_digest(weights, self.fetch)

    def features(self, weights: str) -> nn.Module:
        """The network up to its classifier, with the given weights.

        Raises:
            WeightsError: weights that cannot be had or do not fit.
        """
        seed = random_seed(weights)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed or 0)  # that of CPUs; a GPU's is left alone
            network = self.build(weights)
        if seed is None:
            path = weights_file(weights, self.fetch)
            tensors = self.rename(read_tensors(path), network)
            load_into(network, tensors, heads=self.heads(network), source=str(path))
        return self.without_head(network).eval()
