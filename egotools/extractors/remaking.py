"""The extractor of a cache once more, from the cache's recipe."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from egotools.config import plain
from egotools.errors import ExtractorError
from egotools.extractors import Found, find_extractor, weights_option
from egotools.stores.store import Recipe
from egotools.types import Extractor

Precision = Literal["float32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16")
DTYPES = ("float32", "float16")


def name_in(recipe: Recipe, *, weights: str | None = None) -> str:
    """The name of the extractor by which a cache is made again: the one value that is checked and then looked up.

    Args:
        recipe: of the cache.
        weights: instead of the recipe's own: what `--weights` takes.

    Raises:
        ExtractorError: the recipe names none: rows that were imported, for instance.
    """
    name = recipe.origin.get("extractor")
    if isinstance(name, str) and weights is not None and name.startswith("run:"):
        # another run, or the same network with weights of its own
        name = weights if weights.startswith("run:") else recipe.identity.get("extractor")
    if not isinstance(name, str):
        raise ExtractorError("cannot be made again: its recipe does not say by which extractor")
    return name


def numbers_in(recipe: Recipe) -> tuple[Precision, str]:
    """The precision of what made a cache, and the dtype of its rows; float32 where its recipe does not say.

    Raises:
        ExtractorError: ones that this egotools does not have.
    """
    precision, dtype = (recipe.identity.get(name, "float32") for name in ("precision", "dtype"))
    known = next((each for each in PRECISIONS if each == precision), None)
    if known is None:
        raise ExtractorError(f"cannot be made again: its precision is {precision!r}, not {' or '.join(PRECISIONS)}")
    if dtype not in DTYPES:
        raise ExtractorError(f"cannot be made again: its dtype is {dtype!r}, not {' or '.join(DTYPES)}")
    return known, str(dtype)


def remade(
    recipe: Recipe, *, weights: str | None = None, trusted: Collection[str] = frozenset()
) -> tuple[Found, Extractor]:
    """The extractor that a recipe describes, as this code and the files of today have it.

    Options that the recipe lacks take their default. What a run's backbone is trained with today takes the place of
    what it was trained with then; options that the user had given otherwise stay.

    Args:
        recipe: of a cache, as it was written or as it was read.
        weights: instead of the recipe's own: what `--weights` takes.
        trusted: the user's own files and packages that may be imported; a recipe only names them.

    Raises:
        ExtractorError: the recipe names no extractor, or one that is gone, not trusted, or without an option that was
            given, or weights are given to one that has none.
        MissingExtra: its library is not installed.
    """
    name, options = name_in(recipe, weights=weights), recipe.identity.get("options")
    if not isinstance(options, Mapping):
        raise ExtractorError("cannot be made again: its recipe says no options")
    found = find_extractor(name, trusted=trusted)
    if found.defaults is not None:
        options = _given(found.kind, options, recipe.origin.get("defaults"))
    _check_known(found, options)
    try:
        values = field_values(found.kind, options)
        extractor = found.built(**{**values, **_weights(found, recipe, weights)})
    except ValueError as error:
        raise ExtractorError(f"cannot be made again: {found.name}: {error}") from error
    return found, extractor


def _given(kind: type[Any], options: Mapping[str, Any], defaults: Any) -> dict[str, Any]:  # Any: JSON values
    """The options that a user had given otherwise than the run's defaults of then."""
    usual = {field.name: plain(_default(field)) for field in fields(kind)}
    then = {**usual, **(defaults if isinstance(defaults, Mapping) else {})}
    return {name: value for name, value in options.items() if name not in then or then[name] != value}


def _default(field: Field[Any]) -> Any:  # Any: of the field's own type
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _check_known(found: Found, options: Mapping[str, Any]) -> None:
    names = {field.name for field in fields(found.kind)} - set(found.fixed)
    for name, value in options.items():
        if name not in names:
            raise ExtractorError(
                f"cannot be made again: {found.name} no longer has the option {name!r} (it was {value!r});"
                " extract it anew under another name"
            )


def _weights(found: Found, recipe: Recipe, weights: str | None) -> dict[str, Any]:
    name = weights_option(found.kind)
    has_weights = any(field.name == name for field in fields(found.kind))
    if weights is not None and not has_weights:
        raise ExtractorError(f"{found.name} has no weights that {weights!r} could replace")
    chosen = recipe.origin.get("weights") if weights is None else weights
    return field_values(found.kind, {name: chosen}) if has_weights and chosen is not None else {}


def field_values(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values of a dataclass's options as what its fields hold; those that it computes itself are left out.

    Raises:
        ValueError: a value of another kind than its field's; names the option.
    """
    hints = get_type_hints(kind)
    values = {}
    for field in fields(kind):
        if field.name not in options or not field.init:
            continue
        value, choices = options[field.name], field.metadata.get("choices")
        try:
            values[field.name] = _value(hints[field.name], value)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"the option {field.name!r} cannot be {value!r}") from error
        if choices and isinstance(value, str) and value not in choices:
            raise ValueError(f"the option {field.name!r} is {value!r}, not one of {', '.join(choices)}")
    return values


def _value(hint: Any, value: Any) -> Any:  # Any: types as values, and JSON values
    """A JSON value as a type has it; a TypeError where it cannot be.

    >>> _value(tuple[int, ...] | None, [1, 5, 20])
    (1, 5, 20)
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _any_of(parts, value)
    if origin is Literal:
        fitting = [each for each in parts if each == value and type(each) is type(value)]
    elif origin is tuple or hint is tuple:
        fitting = [_tuple(parts, value)] if isinstance(value, list) else []
    elif is_dataclass(hint) and isinstance(hint, type):
        fitting = [hint(**field_values(hint, value))] if isinstance(value, Mapping) else []
    elif hint is float:
        fitting = [value] if type(value) in (int, float) and float(value) == value else []
    elif hint is Path:
        fitting = [Path(value)] if isinstance(value, str) else []
    elif hint in (bool, int, str, type(None)):
        fitting = [value] if type(value) is hint else []
    elif isinstance(hint, type) and issubclass(hint, Enum):
        fitting = [hint(value)]
    else:  # a type of the user's own; options must not be mutable
        fitting = [_tuple((), value) if isinstance(value, list) and origin is not list and hint is not list else value]
    if not fitting:
        raise TypeError(f"{value!r} is no {hint}")
    return fitting[0]


def _any_of(parts: tuple[Any, ...], value: Any) -> Any:
    for part in parts:
        try:
            return _value(part, value)
        except TypeError:
            continue
    raise TypeError(f"{value!r} is none of {parts}")


def _tuple(parts: tuple[Any, ...], value: list[Any]) -> tuple[Any, ...]:
    if not parts:
        return tuple(_tuple((), each) if isinstance(each, list) else each for each in value)
    if parts[-1] is Ellipsis:
        return tuple(_value(parts[0], each) for each in value)
    if len(parts) != len(value):
        raise TypeError(f"{value!r} has not {len(parts)} entries")
    return tuple(_value(part, each) for part, each in zip(parts, value, strict=True))
