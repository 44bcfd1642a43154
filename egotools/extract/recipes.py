"""The recipe of what an extraction makes: its identity, which is compared, and its origin, which is reported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egotools.config import plain, recorded_options
from egotools.extractors.names import weights_option
from egotools.extractors.own_code import source_digest
from egotools.provenance import surroundings
from egotools.stores import Recipe
from egotools.types import ClipExtractor

if TYPE_CHECKING:  # a derived cache's recipe needs no torch
    from egotools.extract.request import CacheRequest


def recipe_of(wanted: CacheRequest, origin: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of the rows of a cache.

    `--weights` stands in the identity as the digest of the weights, since a file that was only moved is the same. The
    origin says all that it takes to make the rows again from another working directory (`extractors.remaking`).
    """
    found, extractor = wanted.found, wanted.extractor
    options = {name: value for name, value in recorded_options(extractor).items() if name not in found.fixed}
    is_on_device = not isinstance(extractor, ClipExtractor) and extractor.place == "device"
    identity: dict[str, Any] = {
        "extractor": found.fixed.get("model", found.name if found.source is None else found.cache_name),
        "version": getattr(extractor, "rows_version", getattr(extractor, "version", 1)),
        "options": options,
        "precision": wanted.precision if is_on_device else "float32",
        "dtype": wanted.dtype,
    }
    if hasattr(extractor, "weights_digest"):
        options.pop(weights_option(found.kind), None)
        identity["weights"] = extractor.weights_digest()
    if found.source is not None:
        identity["source"] = source_digest(found.source)
    return Recipe(identity, {**(origin or {}), **_again(wanted), **surroundings()})


def _again(wanted: CacheRequest) -> dict[str, Any]:
    """The extractor, its weights and the defaults that its name brought, as any working directory understands them."""
    from egotools.weights.tensors import anchored  # here, for it loads torch

    found = wanted.found
    weights = getattr(wanted.extractor, weights_option(found.kind), None)
    name = found.name if wanted.source is None else f"{wanted.source}:{found.name.rpartition(':')[2]}"
    if isinstance(weights, Path):
        weights = weights.absolute()
    again = {"extractor": name, "weights": anchored(weights) if isinstance(weights, str) else plain(weights)}
    return {**again, "defaults": plain(found.defaults)} if found.defaults is not None else again
