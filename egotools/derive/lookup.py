"""Finds derivations, which make caches from caches, by name."""

import difflib
import importlib
from typing import Any

from egotools.errors import StoreError

# name -> ("module:Class", its line in `egotools derive --help`)
BUILT_IN = {
    "cut": (
        "egotools.derive.cut:Cut",
        "The rows of segments, from a cache of whole videos.",
    ),
    "pool": (
        "egotools.derive.pool:Pool",
        "One row per clip: mean, standard deviation, maximum or minimum of its rows.",
    ),
    "resample": (
        "egotools.derive.resample:Resample",
        "Rows on a given clock: so many a second, or at the times of a file.",
    ),
    "similarity": (
        "egotools.derive.similarity:Similarity",
        "How similar each clip is to the training clips: clusters, densities, distances (M3-S).",
    ),
}


def find_derivation(name: str) -> type[Any]:
    """The class of a derivation. Any: one that implements `egotools.derive.deriving.Derivation`.

    Raises:
        StoreError: unknown name; similar ones are suggested.
    """
    if name not in BUILT_IN:
        near = difflib.get_close_matches(name, BUILT_IN, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(BUILT_IN)}"
        raise StoreError(f"unknown derivation {name!r}; {hint}")
    module, _, attribute = BUILT_IN[name][0].partition(":")
    kind: type[Any] = getattr(importlib.import_module(module), attribute)
    return kind
