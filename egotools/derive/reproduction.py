"""Derived caches described again by their recipes, to be rebuilt."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from egotools.config import field_values, plain
from egotools.derive.deriving import Derived
from egotools.derive.lookup import find_derivation
from egotools.errors import ExtractorError, StoreError
from egotools.extractors.reproduction import numbers_in
from egotools.stores.store import Recipe


def reproduced(cache: Path, recipe: Recipe) -> Derived:
    """What the recipe of a derived cache describes, as this code has it; options that it lacks take their default.

    Raises:
        StoreError: the derivation is unknown or older here than there, it has an option no longer, or an input or
            another file that it needs is gone.
    """
    name, version = recipe.identity.get("derivation"), recipe.identity.get("version")
    kind, inputs = find_derivation(str(name)), _paths(recipe.origin.get("inputs"))
    if isinstance(version, int) and version > kind.version:
        raise StoreError(
            f"{cache} was made by version {version} of {name!r}, this egotools has {kind.version}; update egotools"
        )
    if not inputs:
        raise StoreError(f"{cache}: cannot be rebuilt: its recipe names no inputs")
    options, files = recipe.identity.get("options"), _paths(recipe.origin.get("files"))
    if not isinstance(options, Mapping):
        raise StoreError(f"{cache}: cannot be rebuilt: its recipe has no options")
    if gone := next((each for each in options if each not in {field.name for field in fields(kind)}), None):
        raise StoreError(f"{cache}: cannot be rebuilt: {name} no longer has the option {gone!r} ({options[gone]!r})")
    for what, path in [*(("input", path) for path in inputs.values()), *files.items()]:
        if not path.exists():
            raise StoreError(f"{cache}: its {what} {path} is gone; restore it, or delete this cache too")
    try:
        derivation = kind(**field_values(kind, {**options, **plain(files)}))
        _, dtype = numbers_in(recipe)
    except ValueError as error:
        raise StoreError(f"{cache}: cannot be rebuilt: {name}: {error}") from error
    except ExtractorError as error:
        raise StoreError(f"{cache}: {error}") from error
    return Derived(cache, str(name), derivation, inputs, dtype)


def _paths(named: Any) -> dict[str, Path]:  # Any: JSON values
    return {str(name): Path(path) for name, path in named.items()} if isinstance(named, Mapping) else {}
