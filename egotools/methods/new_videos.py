"""What a run keeps so that it can compute its features for new videos: recipes, and the small files they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from egotools.config import file_digest, plain
from egotools.derive.fitted import file_of, what_is_lost
from egotools.errors import EgotoolsError, StoreError
from egotools.extractors.lookup import find_extractor
from egotools.extractors.names import weights_option
from egotools.stores.opening import open_store
from egotools.stores.store import Recipe
from egotools.tables.groups import Group
from egotools.training.runs import Run
from egotools.weights.pca import pca_path

FILES = "files"

# identity, origin; `inputs`: such a record by name; `file`: what the recipe needs, in the run. Any: JSON values
Record = dict[str, Any]


def keep_files(run: Run, groups: Iterable[Group]) -> dict[str, Record]:
    """The record of each group; a PCA and what a similarity learned are copied into the run.

    The networks' own weights are not: they are large, and `predict` finds them where the recipe says.
    """
    return {group.name: _record(run, group.name, group.cache, Recipe(group.identity, group.origin)) for group in groups}


def _record(run: Run, name: str, cache: Path, recipe: Recipe) -> Record:
    inputs = recipe.origin.get("inputs")
    found = {}
    for stem, path in inputs.items() if isinstance(inputs, Mapping) else ():
        try:
            found[stem] = _record(run, f"{name}-of-{stem}", Path(path), open_store(Path(path)).recipe)
        except StoreError:
            continue  # it is gone, and `predict` will say what it lacks
    source = _file(cache, recipe)
    kept = None
    if source is not None:
        kept = f"{FILES}/{name}{source.suffix}"
        run.write(kept, source.read_bytes())
    return {
        "identity": plain(recipe.identity),
        "origin": plain(recipe.origin),
        "cache": str(cache.absolute()),
        "inputs": found,
        "file": kept,
    }


def _file(cache: Path, recipe: Recipe) -> Path | None:
    """The small file that a recipe needs, if it is still the one that it names."""
    learned = file_of(cache, recipe)
    if learned is not None:
        return None if what_is_lost(cache, recipe) else learned
    name, place = recipe.origin.get("extractor"), recipe.origin.get("weights")
    if not isinstance(name, str) or not isinstance(place, str):
        return None
    try:
        if weights_option(find_extractor(name, trusted=()).kind) != "pca":  # code of users is not run for that
            return None
        path = pca_path(place)
    except EgotoolsError:
        return None
    return path if file_digest(path) == recipe.identity.get("weights") else None
