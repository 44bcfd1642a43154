"""Networks that a library publishes, each with its weights' own preprocessing: torchvision's and timm's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
from torch import Tensor, nn

from egotools.errors import WeightsError
from egotools.pixels.preprocessing import Preprocessing
from egotools.weights.tensors import load_into, random_seed, read_tensors, weights_digest, weights_file

REACH_SECONDS = 5.0


@dataclass(frozen=True)
class Published:
    """One network by name; nothing is built or fetched before it is asked for."""

    name: str
    kind: Literal["image", "video"]
    preprocessing: Callable[[str], Preprocessing]  # of the weights of that name
    build: Callable[..., nn.Module]  # (weights, size=None): whole, from torch's random state; size: see `features`
    heads: Callable[[nn.Module], tuple[str, ...]]  # prefixes of the classifiers' parameters
    without_head: Callable[[nn.Module], nn.Module]  # [B, 3, (L,) H, W] to [B, D]
    fetch: Callable[[str], Path]  # the file of published weights
    rename: Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] = lambda tensors, _: tensors
    frames: int = 1  # of a window, for videos
    fps: float | None = None  # rate of a window's frames, Hz

    def digest(self, weights: str) -> str:
        """What stands for the weights in a recipe."""
        return weights_digest(weights, self.fetch)

    def features(self, weights: str, size: tuple[int, int] | None = None) -> nn.Module:
        """The network up to its classifier, with the given weights.

        Args:
            weights: as `--weights` takes them.
            size: height and width of the frames, where they are not those of the weights: position embeddings are
                then resampled. A network that cannot take it refuses frames when it is called.

        Raises:
            WeightsError: weights that cannot be had or do not fit.
        """
        seed = random_seed(weights)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed or 0)  # that of CPUs; a GPU's is left alone
            network = self.build(weights, size)
        if seed is None:
            path = weights_file(weights, self.fetch)
            tensors = self.rename(read_tensors(path), network)
            load_into(network, tensors, heads=self.heads(network), source=str(path))
        return self.without_head(network).eval()


def check_reachable(url: str) -> None:
    """Asks once, within seconds, what a download would try for minutes.

    Raises:
        OSError: nobody answers.
    """
    try:
        urlopen(Request(url, method="HEAD"), timeout=REACH_SECONDS).close()
    except HTTPError as error:  # it is there, and says what it thinks when it is asked in its own way
        error.close()
    except HTTPException as error:
        raise OSError(f"no sensible answer: {error}") from error


def downloaded(name: str, url: str, file: str, *, hash_prefix: str | None = None) -> Path:
    """A file of published weights where torch keeps them, under the name `file`; fetched if it is not there yet.

    Raises:
        WeightsError: it cannot be fetched; says what to fetch from where to where.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if path.is_file():
        return path
    try:
        check_reachable(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=hash_prefix, progress=False)
    except (OSError, HTTPException, RuntimeError) as error:
        raise WeightsError(
            f"{name}: its weights could not be downloaded ({error}); fetch {url} to {path}, "
            "or give --weights FILE or --weights random:0"
        ) from error
    return path
