"""The expected types of a recipe's entries, wherever one is read: in caches, and in runs that record caches.

Only entries that the library relies on are listed; others may be anything.
"""

from typing import Any, TypedDict


class Identity(TypedDict, total=False):
    """Decides whether rows can be used together."""

    extractor: str
    derivation: str
    options: dict[str, Any]
    inputs: dict[str, str]
    source: str
    precision: str
    dtype: str


class Learned(TypedDict, total=False):
    """What a derivation fitted: the file next to the cache, and facts."""

    file: str
    digest: str
    classes: int | None


class Origin(TypedDict, total=False):
    """Provenance: reported, and used to reproduce the rows."""

    extractor: str | None
    manifest: str | list[str] | None
    limit: int | None
    shard: str | None
    inputs: dict[str, str] | None
    files: dict[str, str] | None
    source: str | None
    learned: Learned | None
    defaults: dict[str, Any] | None
    libraries: dict[str, Any] | None


class RecipeShape(TypedDict):
    """A recipe as JSON."""

    identity: Identity
    origin: Origin
