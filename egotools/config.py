"""Options as dataclass fields, declared once; flags, recipes and a run's `config.json` derive from them."""

import dataclasses
import hashlib
import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from egotools.files.disk import open_file


def option(
    default: Any, help: str, *, choices: tuple[str, ...] | None = None, absent: Any = MISSING, alias: str | None = None
) -> Any:
    """A dataclass field with a default and the help text of its flag.

    Any: the field takes the type of its annotation. A field named `learning_rate` becomes `--learning-rate`; a bool
    becomes a pair `--name / --no-name`; a `tuple[int, ...]` is written with commas. An option that is added when there
    are caches already says what was computed without it: at the value `absent` it is left out of recipes, so that the
    older ones stay equal, and a recipe that lacks it means that value, whatever the default. `alias` is a second name
    of the flag.
    """
    metadata = {"help": help, "choices": choices, "alias": alias} | ({} if absent is MISSING else {"absent": absent})
    if isinstance(default, (list, dict)):
        raise TypeError("an option's default must not be mutable")
    return dataclasses.field(default=default, metadata=metadata)


def options_of(value: object) -> dict[str, Any]:
    """The fields of a dataclass instance, JSON-ready, in their order."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{value!r} is not a dataclass instance, so it has no options")
    return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}


def check_positive(options: object, *names: str) -> None:
    """Checks options that must be above 0; those that are None are left alone.

    Raises:
        ValueError: names the first that is not, as a flag.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be above 0, not {value}")


def recorded_options(value: Any) -> dict[str, Any]:
    """The options of a dataclass instance to record in its recipe: all except those at their value `absent`."""
    older = omitted_options(type(value))
    return {name: each for name, each in options_of(value).items() if name not in older or each != older[name]}


def omitted_options(kind: type[Any]) -> dict[str, Any]:
    """The values of options that a recipe of this dataclass lacks; JSON values."""
    return {field.name: plain(field.metadata["absent"]) for field in fields(kind) if "absent" in field.metadata}


def plain(value: Any) -> Any:
    """`value` converted for JSON: paths as text, tuples as lists, dataclasses and NumPy scalars as their values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return options_of(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy arrays and scalars, torch tensors
        return value.tolist()
    return value


def finite(value: Any) -> Any:
    """Like `plain`, with None for numbers that are not finite: JSON has no NaN and no infinity."""
    value = plain(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any, *, indent: int | None = 2, exact: bool = False) -> str:
    """`value` as JSON text that is the same for equal values.

    Args:
        value: what `plain` takes.
        indent: spaces a level; None: one line.
        exact: keep NaN and infinity, by the names that Python reads and that are no JSON: for what only egotools
            reads. Otherwise they are null.
    """
    text = json.dumps(plain(value) if exact else finite(value), indent=indent, ensure_ascii=False, allow_nan=exact)
    return _encode(text).decode()


def digest(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of a JSON-ready value, independent of key order."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(_encode(text)).hexdigest()[:16]


def _encode(text: str) -> bytes:
    """JSON as UTF-8; surrogates, which represent bytes of names that are not UTF-8, stay escaped."""
    return text.encode(errors="backslashreplace")


def file_digest(path: Path) -> str:
    """The first 16 hex digits of the SHA-256 of a file's bytes.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    sha = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()[:16]


def field_values(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Converts JSON values of a dataclass's options to the types of its fields; computed fields are left out.

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
    """Converts a JSON value to a type; raises TypeError if it does not fit.

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
        fitting = [float(value)] if type(value) in (int, float) and float(value) == value else []
    elif hint is Path:
        fitting = [Path(value)] if isinstance(value, str) else []
    elif hint in (bool, int, str, type(None)):
        fitting = [value] if type(value) is hint else []
    elif isinstance(hint, type) and issubclass(hint, Enum):
        fitting = [hint(value)]
    else:  # a type of the user's own; options must not be mutable
        fitting = [_tuple((), value) if isinstance(value, list) and origin is not list and hint is not list else value]
    if not fitting:
        raise TypeError(f"{value!r} is not {hint}")
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
        raise TypeError(f"{value!r} does not have {len(parts)} entries")
    return tuple(_value(part, each) for part, each in zip(parts, value, strict=True))
