"""Reading JSON files: nesting is limited, and values are checked against a type before they are used."""

import json
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from egotools.files.disk import open_file

WORDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
}
LARGEST = 1 << 63  # whole numbers are counts, seeds and sizes, which arrays hold as int64
SHOWN = 40  # characters of a value shown in a message


def check_shape(value: Any, shape: Any, entry: str = "") -> None:
    """Checks a JSON value against a type. Any: JSON values, and types as values.

    >>> check_shape({"a": [1, "x"]}, dict[str, list[int]])
    Traceback (most recent call last):
    ValueError: 'a.1' is 'x', not a whole number

    Args:
        value: as returned by `json.loads`.
        shape: `str`, `bool`, `int`, `float` (which accepts whole numbers, too), `None`, `Any`, a union, a `Literal`,
            `list[...]`, `dict[str, ...]`, or a `TypedDict`; entries that the `TypedDict` does not list may be anything.
        entry: the dotted name of the value, for messages.

    Raises:
        ValueError: the value does not match; the message names the entry.
    """
    if shape is Any:
        return
    origin, parts = get_origin(shape) or shape, get_args(shape)
    if origin in (Union, types.UnionType):
        _check_any(value, parts, entry)
        return
    if not _is(value, origin, parts):
        shown = repr(value)
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        raise ValueError(
            f"{entry!r} is {shown}, not {_words(shape)}" if entry else f"it is {shown}, not {_words(shape)}"
        )
    if is_typeddict(origin):
        _check_entries(value, origin, entry)
    elif parts and origin in (list, dict):
        for name, item in _items(value):
            check_shape(item, parts[-1], _joined(entry, name))


def _check_any(value: Any, parts: tuple[Any, ...], entry: str) -> None:
    """Checks against the first part of a union whose kind matches, so that the message says what is wrong inside."""
    for part in parts:
        if _is(value, get_origin(part) or part, get_args(part)):
            check_shape(value, part, entry)
            return
    check_shape(value, next(part for part in parts if part is not type(None)), entry)


def _check_entries(value: dict[str, Any], shape: Any, entry: str) -> None:
    for name, hint in _hints(shape).items():
        if name in value:
            check_shape(value[name], hint, _joined(entry, name))
        elif name in shape.__required_keys__:
            raise ValueError(f"the entry {_joined(entry, name)!r} is missing")


@cache
def _hints(shape: Any) -> dict[str, Any]:
    return get_type_hints(shape)


def _is(value: Any, kind: Any, parts: tuple[Any, ...]) -> bool:
    """Whether a value is of a kind, without looking inside it."""
    if kind is Any:
        return True
    if kind is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if kind is str:
        return isinstance(value, str) and "\0" not in value  # NUL is not allowed in paths
    if kind is float:
        return type(value) in (int, float)
    if kind is int:
        return type(value) is int and abs(value) < LARGEST
    return isinstance(value, dict) if is_typeddict(kind) else type(value) is (type(None) if kind is None else kind)


def _items(value: list[Any] | dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return iter(value.items()) if isinstance(value, dict) else ((str(at), item) for at, item in enumerate(value))


def _joined(entry: str, name: str) -> str:
    return f"{entry}.{name}" if entry else name


def _words(shape: Any) -> str:
    origin = get_origin(shape) or shape
    if origin is Literal:
        return " or ".join(map(repr, get_args(shape)))
    return "an object" if is_typeddict(origin) else WORDS.get(origin, str(origin))


DEEPEST = 64  # levels of nesting in a JSON file; ours have fewer than ten


def parse_json(text: str | bytes) -> Any:  # Any: JSON values
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, or nested deeper than `DEEPEST` levels.
    """
    too_deep = f"nested deeper than {DEEPEST} levels"
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(too_deep) from error
    level = [value]
    for _ in range(DEEPEST):
        level = [item for each in level if isinstance(each, (dict, list)) for _, item in _items(each)]
        if not level:
            return value
    raise ValueError(too_deep)


def read_json(path: Path, shape: Any = Any) -> Any:  # Any: JSON values, and a type as a value
    """The value of a JSON file, checked against `shape` (see `check_shape`).

    Raises:
        OSError: it cannot be read.
        ValueError: as `parse_json`, or the value does not match `shape`; the message names the entry.
    """
    with open_file(path) as file:
        value = parse_json(file.read())
    check_shape(value, shape)
    return value
