"""Networks published by torchvision and timm, each with the preprocessing of its weights."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from egotools.errors import WeightsError
from egotools.extractors.downloading import check_reachable, failures, reason
from egotools.pixels.preprocessing import Preprocessing
from egotools.training.seeding import seeded
from egotools.weights.tensors import load_into, random_seed, read_tensors, weights_digest, weights_file


@dataclass(frozen=True)
class Published:
    """One network by name; built or downloaded only on request."""

    name: str
    kind: Literal["image", "video"]
    preprocessing: Callable[[str], Preprocessing]  # of the weights with this name
    build: Callable[..., nn.Module]  # (weights, size=None): complete, from torch's random state; size: see `features`
    fetch: Callable[[str], Path]  # the file of published weights
    heads: Callable[[nn.Module], tuple[str, ...]] = lambda _: ()  # prefixes of the classifiers' parameters
    without_head: Callable[[nn.Module], nn.Module] = lambda network: network  # [B, 3, (L,) H, W] to [B, D]
    read: Callable[[Path], dict[str, Tensor]] = read_tensors
    rename: Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] = lambda tensors, _: tensors
    frames: int = 1  # frames per window, for videos
    fps: float | None = None  # rate of a window's frames, Hz

    def digest(self, weights: str) -> str:
        """The digest, or other identifier, of the weights in a recipe."""
        return weights_digest(weights, self.fetch)

    def features(self, weights: str, size: tuple[int, int] | None = None) -> nn.Module:
        """The network without its classifier, with the given weights.

        Args:
            weights: as accepted by `--weights`.
            size: height and width of the frames, if they differ from those of the weights: position embeddings are
                then resampled. A network that does not support it refuses frames when it is called.

        Raises:
            WeightsError: the weights are not available or do not fit.
        """
        seed = random_seed(weights)
        with seeded(seed or 0):
            network = self.build(weights, size)
        if seed is None:
            path = weights_file(weights, self.fetch)
            tensors = self.rename(self.read(path), network)
            load_into(network, tensors, heads=self.heads(network), source=str(path))
        return self.without_head(network).eval()


def downloaded(name: str, url: str, file: str, *, hash_prefix: str | None = None) -> Path:
    """A file of published weights in torch's cache, under the name `file`; downloaded if it does not exist yet.

    Raises:
        WeightsError: it cannot be downloaded; the message says what to fetch from where to where.
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


def from_hub(name: str, repository: str, files: Sequence[str], *, given: str = "--weights FILE") -> Path:
    """The first of these files that a repository of huggingface.co has, from the user's cache of it, or downloaded.

    Args:
        name: of the network, for messages.
        repository: such as `timm/resnet18.a1_in1k`.
        files: in the order of preference.
        given: the options that a user gives who has fetched one.

    Raises:
        WeightsError: it cannot be downloaded; the message says what to fetch from where.
    """
    from huggingface_hub import constants, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for file in files:
        with suppress(OSError, EntryNotFoundError):  # not cached yet
            return Path(hf_hub_download(repository, file, local_files_only=True))
    try:
        if not constants.HF_HUB_OFFLINE:  # set by the user; the next line then reports it
            check_reachable(hf_hub_url(repository, files[-1]))  # the library itself would try for half a minute
        for file in files[:-1]:
            with suppress(EntryNotFoundError):
                return Path(hf_hub_download(repository, file))
        return Path(hf_hub_download(repository, files[-1]))
    except failures() as error:
        raise WeightsError(
            f"{name}: its weights could not be downloaded ({reason(error)}); fetch {' or '.join(files)} of "
            f"huggingface.co/{repository} and give it as {given}, or give --weights random:0"
        ) from error
