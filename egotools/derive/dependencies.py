"""Files that a derivation's options name: a recipe's identity has their content, its origin their place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from egotools.errors import StoreError
from egotools.stores.source import content_digest


def files_of(derivation: Any) -> Iterator[tuple[str, Path]]:  # Any: a dataclass of options
    """Each option that is a path, with its path."""
    for field in fields(derivation):
        value = getattr(derivation, field.name)
        if isinstance(value, Path):
            yield field.name, value


def digests_of_files(derivation: Any) -> dict[str, str]:
    """Each option that is a path, with the digest of what lies there.

    Raises:
        StoreError: nothing does, or it cannot be read.
    """
    digests = {}
    for name, path in files_of(derivation):
        try:
            digests[name] = content_digest(path)
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error.strerror}); it is the option {name!r}") from error
    return digests
