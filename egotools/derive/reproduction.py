"""What a derived cache is made of once more, from its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from egotools.config import field_values
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
    kind = find_derivation(str(name))
    if isinstance(version, int) and version > kind.version:
        raise StoreError(
            f"{cache} was made by version {version} of {name!r}, this egotools has {kind.version}; update egotools"
        )
    inputs = _paths(recipe.origin.get("inputs"))
    if not inputs:
        raise StoreError(f"{cache}: cannot be rebuilt: its recipe does not say from which caches")
    for path in inputs.values():
        if not path.exists():
            raise StoreError(f"{cache}: its input {path} is gone; restore it, or delete this cache too")
    values = _options(cache, kind, recipe)
    try:
        derivation = kind(**values)
    except ValueError as error:
        raise StoreError(f"{cache}: cannot be rebuilt: {name}: {error}") from error
    try:
        _, dtype = numbers_in(recipe)
    except ExtractorError as error:
        raise StoreError(f"{cache}: {error}") from error
    return Derived(cache, str(name), derivation, inputs, dtype)


def _options(cache: Path, kind: type[Any], recipe: Recipe) -> dict[str, Any]:  # Any: values of fields
    """The options of a recipe as its derivation takes them, files as the paths where they lay."""
    options, files = recipe.identity.get("options"), _paths(recipe.origin.get("files"))
    if not isinstance(options, Mapping):
        raise StoreError(f"{cache}: cannot be rebuilt: its recipe says no options")
    for name, value in options.items():
        if name not in {field.name for field in fields(kind)}:
            raise StoreError(f"{cache}: cannot be rebuilt: there is no option {name!r} any longer (it was {value!r})")
    for name, path in files.items():
        if not path.exists():
            raise StoreError(f"{cache}: its {name} {path} is gone; restore it, or delete this cache too")
    try:
        return field_values(kind, {**options, **{name: str(path) for name, path in files.items()}})
    except ValueError as error:
        raise StoreError(f"{cache}: cannot be rebuilt: {error}") from error


def _paths(named: Any) -> dict[str, Path]:  # Any: JSON values
    return {str(name): Path(path) for name, path in named.items()} if isinstance(named, Mapping) else {}
