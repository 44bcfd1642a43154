"""Options as dataclass fields, declared once: flags, recipes and a run's `config.json` derive from them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from egotools.files import open_file


def option(default: Any, help: str, *, choices: tuple[str, ...] | None = None, later: bool = False) -> Any:
    """A dataclass field with a default and the help text that its flag shows.

    Any: the field takes the type of its annotation. A field named `learning_rate` becomes `--learning-rate`; a bool
    becomes a pair `--name / --no-name`; a `tuple[int, ...]` is written with commas. One that came `later` than caches
    were made is no part of a recipe at its default.
    """
    metadata = {"help": help, "choices": choices, "later": later}
    if isinstance(default, (list, dict)):
        raise TypeError("an option's default must not be mutable")
    return dataclasses.field(default=default, metadata=metadata)


def options_of(value: object) -> dict[str, Any]:
    """The fields of a dataclass instance, JSON-ready, in their order."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{value!r} is not a dataclass instance, so it has no options")
    return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}


def recorded_options(value: Any) -> dict[str, Any]:
    """The options of a dataclass instance that its recipe holds."""
    unsaid = {field.name for field in dataclasses.fields(value) if field.metadata.get("later")}
    unsaid &= {field.name for field in dataclasses.fields(value) if getattr(value, field.name) == field.default}
    return {name: option for name, option in options_of(value).items() if name not in unsaid}


def plain(value: Any) -> Any:
    """`value` as what JSON can hold: paths as text, tuples as lists, dataclasses and NumPy scalars as their values."""
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
    """As `plain`, with None for numbers that are not finite: JSON has no NaN and no infinity."""
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
    """The first 16 hex digits of the SHA-256 of a JSON-ready value, whatever the order of its keys."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(_encode(text)).hexdigest()[:16]


def _encode(text: str) -> bytes:
    """JSON as UTF-8; the surrogates that stand for bytes of a name that is no UTF-8 stay escaped, as UTF-8 has none."""
    return text.encode(errors="backslashreplace")


def file_digest(path: Path) -> str:
    """The first 16 hex digits of the SHA-256 of a file's bytes.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    sha = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()[:16]
