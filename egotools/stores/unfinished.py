"""Clips that are not finished: what is known of one while its rows arrive."""

import json
from dataclasses import dataclass, field
from typing import Any

from egotools.files.json_files import parse_json
from egotools.stores.source import Source

LARGEST = 1 << 48  # limit of a count


@dataclass(frozen=True)
class Begun:
    """A clip that was begun: its file as it was then, all the rows that it will have, and how many of them a window."""

    source: Source
    total: int
    each: int = 1

    def to_json(self, recipe: str) -> str:
        """As ASCII text, with the digest of the recipe's identity."""
        said = {"recipe": recipe, "total": self.total, "each": self.each, "source": self.source.to_json()}
        return json.dumps(said)

    @classmethod
    def from_json(cls, text: bytes, recipe: str) -> "Begun":
        """The inverse of `to_json`.

        Raises:
            ValueError: not what was written, or for a recipe with another digest: an older egotools, which sees an
                empty cache, has given it its own recipe.
        """
        said = parse_json(text)
        if not isinstance(said, dict) or said.get("recipe") != recipe:
            raise ValueError("of another recipe")
        if not isinstance(said.get("source"), str):
            raise ValueError("not what was written")
        total, each = (_count(said.get(name)) for name in ("total", "each"))
        if total % each:
            raise ValueError("not what was written")
        return cls(Source.from_json(said["source"]), total, each)


@dataclass(frozen=True)
class Unfinished:
    """A clip whose first rows a cache has: how many of how many, and its file as it was when they were computed."""

    rows: int
    begun: Begun
    blocks: tuple[int, ...] = field(default=(), repr=False)  # those that hold its rows (LMDB)


def _count(value: Any) -> int:  # Any: a JSON value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
        raise ValueError("not what was written")
    return value
