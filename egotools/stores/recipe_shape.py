"""What the entries of a recipe must be, wherever one is read: in caches, and in runs that remember caches.

Only entries that the library relies on are named; others may be anything.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Identity(TypedDict, total=False):
    """What decides whether rows may stand beside each other."""

    extractor: str
    derivation: str
    options: dict[str, Any]
    inputs: dict[str, str]
    source: str
    precision: str
    dtype: str


class Learned(TypedDict, total=False):
    """What a derivation learned: the file beside the cache, and facts."""

    file: str
    digest: str
    classes: int | None


class Origin(TypedDict, total=False):
    """What is only reported, and what it takes to make the rows again."""

    extractor: str | None
    manifest: str | list[str] | None
    limit: int | None
    inputs: dict[str, str] | None
    files: dict[str, str] | None
    source: str | None
    learned: Learned | None
    defaults: dict[str, Any] | None
    libraries: dict[str, Any] | None


class RecipeShape(TypedDict):
    """A recipe in JSON."""

    identity: Identity
    origin: Origin
