"""The header of a cache, for both formats: one JSON text, validated when it is read."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egotools.config import plain
from egotools.errors import StoreError
from egotools.files.json_files import check_shape, parse_json
from egotools.stores.recipe_shape import RecipeShape
from egotools.stores.store import Recipe
from egotools.types import Shard

VERSION = 1  # of the layout on disk
DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
LARGEST = 1 << 48  # limit of a count: more than any disk holds
MOST_CLASSES = 1 << 20  # limit of a cluster's index, which becomes as many columns


@dataclass(frozen=True)
class Header:
    """The recipe of a cache, and its counts."""

    recipe: Recipe
    dtype: np.dtype[Any] | None  # None: the cache has no rows
    width: int
    clips: int
    rows: int
    blocks: int = 0  # LMDB only
    committed: int | None = None  # seconds since 1970, the last commit; LMDB only

    def to_json_value(self) -> dict[str, Any]:
        """JSON-ready, hence Any."""
        counts = {"width": self.width, "clips": self.clips, "rows": self.rows}
        own = {} if self.committed is None else {"blocks": self.blocks, "committed": self.committed}
        return {
            "format": "egotools cache",
            "version": VERSION,
            "identity": plain(self.recipe.identity),
            "origin": plain(self.recipe.origin),
            "dtype": None if self.dtype is None else self.dtype.name,
            **counts,
            **own,
        }


def read_header(path: Path, text: str | bytes) -> Header:
    """Parses the header of a cache from its JSON; unknown entries are ignored.

    Raises:
        StoreError: not a cache header, of a newer layout, or with invalid values.
    """
    try:
        header = parse_json(text)
        version = header["version"] if header["format"] == "egotools cache" else 0
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a cache of egotools, or damaged") from error
    if version != VERSION or isinstance(version, bool):
        raise StoreError(
            f"{path}: a cache of layout {version}, but this egotools reads layout {VERSION}; update egotools"
        )
    _check_recipe(header, path)
    dtype = header.get("dtype")
    _check(dtype is None or (isinstance(dtype, str) and dtype in DTYPES), "dtype", dtype, path)
    counts = {name: header.get(name) for name in ("width", "clips", "rows")}
    counts["blocks"], committed = header.get("blocks", 0), header.get("committed")
    for name, value in counts.items():
        _check(_is_count(value), name, value, path)
    _check(committed is None or _is_count(committed), "committed", committed, path)
    recipe = Recipe(header["identity"], header["origin"])
    return Header(recipe, None if dtype is None else DTYPES[dtype], **counts, committed=committed)


def _check_recipe(header: dict[str, Any], path: Path) -> None:
    try:
        check_shape(header, RecipeShape)
    except ValueError as error:
        raise StoreError(f"{path}: damaged: in its header {error}; restore it, or compute it again") from error
    origin = header["origin"]
    limit, classes = origin.get("limit"), (origin.get("learned") or {}).get("classes")
    _check(limit is None or _is_count(limit), "origin.limit", limit, path)
    _check(_is_shard(origin.get("shard")), "origin.shard", origin.get("shard"), path)
    _check(classes is None or 0 < classes <= MOST_CLASSES, "origin.learned.classes", classes, path)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _is_shard(value: str | None) -> bool:
    with suppress(ValueError):
        return value is None or bool(Shard.parse(value))
    return False


def _check(is_right: bool, name: str, value: object, path: Path) -> None:
    if not is_right:
        raise StoreError(f"{path}: damaged: its header has {name}={str(value)[:40]}; restore it, or compute it again")
