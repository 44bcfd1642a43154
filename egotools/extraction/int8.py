"""The int8 network of a cache: quantized once, on windows of the cache's own clips, and kept in a file beside it.

So rows that are added later come from the same network. The file's digest is part of the cache's recipe.
"""

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from egotools.config import to_json
from egotools.errors import EgotoolsError, StoreError
from egotools.extraction.forward import Network
from egotools.extraction.openvino_runtime import Model, compiled, converted, core, load, quantized
from egotools.extraction.precision import Array, sample_windows
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import CacheRequest
from egotools.files.disk import new_file
from egotools.files.numpy_files import open_npz
from egotools.progress import Progress, no_progress
from egotools.sampling import spread
from egotools.stores import Recipe, check_same_recipe, open_store
from egotools.stores.int8_files import CALIBRATION
from egotools.stores.store import make_folder_of, part_of
from egotools.types import Clip, ClipExtractor

WINDOWS = 128  # to calibrate on
MOST_BYTES = 512 << 20  # of these windows


def with_int8_network(
    request: CacheRequest, clips: Sequence[Clip], *, progress: Progress = no_progress, writes: bool = True
) -> CacheRequest:
    """The request with the file of its int8 network, which is quantized now if the cache is new.

    Other requests are returned as they are, and without `writes` those of new caches, too.

    Raises:
        RecipeError: the cache, or the file, was made with another recipe.
        StoreError: the cache has rows, but the file is gone or damaged; or it cannot be written.
        EgotoolsError: the network cannot be converted, or no clip can be read.
    """
    if request.precision != "int8" or isinstance(request.extractor, ClipExtractor):
        return request
    if request.extractor.place != "device":
        return request
    path = request.quantized or request.int8_file
    wanted = recipe_of(replace(request, quantized=None))
    if path.exists():
        there = json.loads(_arrays(path)["identity"].tobytes())
        there["dtype"] = request.dtype  # of the rows on disk, which `cache convert` changes
        check_same_recipe(path, Recipe(there), wanted)
    else:
        _check_new(request, wanted)
        if not writes:
            return request
        progress(f"quantizing {request.found.name} (once)", 0, len(clips))
        _write(path, quantized_on(request, clips), wanted.identity)
    return replace(request, quantized=path)


def _check_new(request: CacheRequest, wanted: Recipe) -> None:
    """Refuses a new network for a cache that has rows of another."""
    cache = request.cache
    if cache.exists():
        identity = {name: each for name, each in open_store(cache).recipe.identity.items() if name != CALIBRATION}
        check_same_recipe(cache, Recipe(identity), wanted)
    if cache.exists() or part_of(cache).exists():
        raise StoreError(
            f"{cache}: the int8 network of its rows, {request.int8_file.name}, is gone; restore it, or delete the cache"
            " to compute it again"
        )


def quantized_on(request: CacheRequest, clips: Sequence[Clip], *, most: int = WINDOWS) -> Model:
    """The network of a request in int8, calibrated on up to `most` windows spread over the clips.

    Raises:
        EgotoolsError: it cannot be converted, or no clip can be read.
    """
    assert not isinstance(request.extractor, ClipExtractor), "it has no network"
    taken = min(len(clips), most)
    windows = sample_windows(request, clips, most=taken, each=-(-most // max(taken, 1))) if taken else None
    if windows is None:
        raise EgotoolsError(f"{request.found.name}: no clip could be read to calibrate --precision int8 on")
    chosen = windows[spread(len(windows), max(1, min(most, MOST_BYTES // windows[0].nbytes)))]
    return quantized(converted(request.extractor.network(), _tensor(chosen[0]), request.found.name), chosen)


def _tensor(window: Array) -> Any:  # Any: a Tensor
    import torch

    return torch.from_numpy(window)


def int8_network(request: CacheRequest) -> Network:
    """The network that a request's file holds.

    Raises:
        StoreError: the file is damaged.
    """
    assert request.quantized is not None, "with_int8_network is called first"
    arrays = _arrays(request.quantized)
    try:
        model = core().read_model(arrays["xml"].tobytes(), arrays["bin"].tobytes())
    except RuntimeError as error:
        raise StoreError(f"{request.quantized}: damaged: it holds no network") from error
    return compiled(model, "int8", request.found.name)


def _write(path: Path, model: Model, identity: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="egotools-") as folder:
        xml = Path(folder) / "network.xml"
        load().save_model(model, xml, compress_to_fp16=False)
        parts = {"xml": xml.read_bytes(), "bin": xml.with_suffix(".bin").read_bytes()}
    parts["identity"] = to_json(identity, exact=True).encode()
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.frombuffer(each, np.uint8) for name, each in parts.items()}
    np.savez(buffer, **arrays)
    make_folder_of(path)
    try:
        with new_file(path) as file:
            file.write(buffer.getbuffer())
    except OSError as error:
        raise StoreError(f"{path}: the int8 network cannot be written: {error.strerror}") from error


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with open_npz(path) as arrays:
            return {name: arrays[name] for name in ("xml", "bin", "identity")}
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path}: not readable as the int8 network of a cache: {error}") from error
