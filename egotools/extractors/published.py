"""Networks that a library publishes, each with its weights' own preprocessing: torchvision's and timm's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn

from egotools.errors import WeightsError
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


def downloaded(name: str, url: str, file: str, *, hash_prefix: str | None = None) -> Path:
    """A file of published weights where torch keeps them, under the name `file`; fetched if it is not there yet.

    Raises:
        WeightsError: it cannot be fetched; says what to fetch from where to where.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=hash_prefix, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"{name}: its weights could not be downloaded ({error}); fetch {url} to {path}, "
            "or give --weights FILE or --weights random:0"
        ) from error
    return path
