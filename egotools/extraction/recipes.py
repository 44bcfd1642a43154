"""Builds the recipe of a cache: its identity, which is compared, and its origin (provenance), which is reported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egotools.config import file_digest, plain, recorded_options
from egotools.errors import StoreError, reason_of
from egotools.extractors.names import weights_option
from egotools.extractors.own_code import source_digest
from egotools.provenance import surroundings
from egotools.stores import Recipe
from egotools.stores.int8_files import CALIBRATION
from egotools.types import ClipExtractor

if TYPE_CHECKING:  # a derived cache's recipe does not need torch
    from egotools.extraction.request import CacheRequest


def recipe_of(request: CacheRequest, origin: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a cache.

    In the identity, `--weights` is the digest of the weights, because a file that was only moved is the same. The
    origin records everything needed to reproduce the rows from another working directory (`extractors.reproduction`).
    """
    found, extractor = request.found, request.extractor
    left_out = {*found.fixed, *getattr(extractor, "unrecorded", ())}  # `unrecorded`: options that no row depends on
    options = {name: value for name, value in recorded_options(extractor).items() if name not in left_out}
    is_on_device = not isinstance(extractor, ClipExtractor) and extractor.place == "device"
    identity: dict[str, Any] = {
        "extractor": _named(request),
        "version": getattr(extractor, "rows_version", getattr(extractor, "version", 1)),
        "options": options,
        "precision": request.precision if is_on_device else "float32",
        "dtype": request.dtype,
    }
    if is_on_device and request.runtime == "openvino":  # a compiled network is PyTorch's, and gives the same rows
        identity["runtime"] = request.runtime
    if is_on_device and request.quantized is not None:
        identity[CALIBRATION] = _int8_digest(request.quantized)
    if hasattr(extractor, "facts"):  # what the name and the options do not tell, such as a model's config
        identity["facts"] = plain(extractor.facts())
    if hasattr(extractor, "weights_digest"):
        options.pop(weights_option(found.kind), None)
        identity["weights"] = extractor.weights_digest()
    if found.source is not None:
        identity["source"] = source_digest(found.source)
    how = {"runtime": request.runtime} if is_on_device and request.runtime == "compile" else {}
    return Recipe(identity, {**(origin or {}), **how, **_again(request), **surroundings()})


def _int8_digest(file: Path) -> str:
    try:
        return file_digest(file)
    except OSError as error:
        raise StoreError(f"{file}: the int8 network of the cache cannot be read: {reason_of(error)}") from error


def _named(request: CacheRequest) -> str:
    found = request.found
    if hasattr(request.extractor, "recorded_name"):
        return str(request.extractor.recorded_name)
    return found.fixed.get("model", found.name if found.source is None else found.cache_name)


def _again(request: CacheRequest) -> dict[str, Any]:
    """The extractor, its weights and the defaults of its name, valid in any working directory."""
    from egotools.weights.tensors import anchored  # imported here because it loads torch

    found = request.found
    weights = getattr(request.extractor, weights_option(found.kind), None)
    name = found.name if request.source is None else f"{request.source}:{found.name.rpartition(':')[2]}"
    if isinstance(weights, Path):
        weights = weights.absolute()
    again = {"extractor": name, "weights": anchored(weights) if isinstance(weights, str) else plain(weights)}
    return {**again, "defaults": plain(found.defaults)} if found.defaults is not None else again
