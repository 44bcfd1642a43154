"""What values of JSON must be: types as Python writes them, compared before anything is done with a value."""

from __future__ import annotations

import types
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

WORDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
}
LARGEST = 1 << 63  # whole numbers are counts, seeds and sizes; arrays hold none that is larger
SHOWN = 40  # characters of a value that a message shows


def check_shape(value: Any, shape: Any, entry: str = "") -> None:
    """Compares a value of JSON with a type. Any: JSON values, and types as values.

    >>> check_shape({"a": [1, "x"]}, dict[str, list[int]])
    Traceback (most recent call last):
    ValueError: 'a.1' is 'x', not a whole number

    Args:
        value: as `json.loads` gives it.
        shape: `str`, `bool`, `int`, `float` (which takes whole numbers, too), `None`, `Any`, a union, a `Literal`,
            `list[...]`, `dict[str, ...]`, or a `TypedDict`, whose further entries may be anything.
        entry: the dotted name of the value, for messages.

    Raises:
        ValueError: it is something else; the entry is named.
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
    """Of a union's parts the first of the value's own kind says what is wrong inside it."""
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
    """Whether a value is of a kind, whatever is inside it."""
    if kind is Any:
        return True
    if kind is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if kind is str:
        return isinstance(value, str) and "\0" not in value  # which no path may hold
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
