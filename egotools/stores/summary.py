"""Finds and describes caches, without reading their rows."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from egotools.errors import StoreError
from egotools.files.disk import real
from egotools.stores.opening import open_store
from egotools.stores.store import PART, SUFFIXES, Recipe, Store
from egotools.stores.unfinished import Unfinished
from egotools.stores.writer_lock import writer_of


@dataclass(frozen=True)
class Summary:
    """One cache in a list. Any: `extractor`, `weights` and `precision` are JSON values of the recipe.

    `committed` is the time of the last commit, in seconds since 1970 (None: unknown), `writer` the process writing it.
    `clips` and `rows` are those of whole clips.
    """

    path: Path
    format: str
    clips: int
    rows: int
    width: int
    dtype: str
    bytes: int
    extractor: Any
    weights: Any
    precision: Any
    committed: int | None
    writer: str | None
    unfinished: Mapping[str, Unfinished] = field(default_factory=dict)  # clips of which only the first rows are there

    @property
    def unfinished_rows(self) -> int:
        """Rows of unfinished clips, together."""
        return sum(clip.rows for clip in self.unfinished.values())


def summarize(path: Path) -> Summary:
    """Summarizes a cache from its header.

    Raises:
        StoreError: not a cache, cut short, or nothing was committed yet.
    """
    store = open_any(path)
    identity = store.recipe.identity
    return Summary(
        path=path,
        format="hdf5, not sealed" if path.name.endswith(PART) else {".lmdb": "lmdb", ".h5": "hdf5"}[path.suffix],
        clips=len(store),
        rows=store.rows,
        width=store.width,
        dtype=store.dtype.name,
        bytes=path.stat().st_size,
        extractor=identity.get("extractor", identity.get("derivation", "imported" if "imported" in identity else None)),
        weights=identity.get("weights"),
        precision=identity.get("precision"),
        committed=getattr(store, "committed", None),
        writer=writer_of(path),
        unfinished=getattr(store, "unfinished", {}),  # only LMDB caches, and parts, have them
    )


def open_any(path: Path) -> Store:
    """Like `open_store`, but also opens parts that are not sealed yet."""
    if path.name.endswith(PART):
        from egotools.stores.lmdb_store import LMDBStore

        return LMDBStore(path)
    return open_store(path)


def unsaid(text: str) -> None:
    """Ignores a remark."""


def find_caches(paths: Sequence[Path], *, remark: Callable[[str], None] = unsaid) -> list[Path]:
    """The caches among `paths`, and those in folders among them, at any depth, each once; hidden ones are skipped.

    Links are followed if they stay inside the given folder; a folder outside must be given itself.

    Args:
        paths: files and folders; links among them are followed anywhere.
        remark: receives remarks on skipped folders: links that point outside, and unreadable ones.

    Raises:
        StoreError: a path does not exist.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise StoreError(f"{path}: no such cache or folder")
        for cache in _caches_in(path, remark) if path.is_dir() else [path]:
            place = real(cache)
            if place not in found or (found[place].is_symlink() and not cache.is_symlink()):
                found[place] = cache  # its own name takes precedence over a link's
    return list(found.values())


def _caches_in(root: Path, remark: Callable[[str], None]) -> Iterator[Path]:
    inside, visited = real(root), set()
    tops = [root]  # links are visited last, so that caches keep their own names
    for top in tops:
        if top is not root and not real(top).is_relative_to(inside):
            remark(f"{top}: a link to {real(top)}, outside of {root}; skipped: give it, too, to include it")
            continue
        for folder, subfolders, names in os.walk(
            top, onerror=lambda error: remark(f"{error.filename}: skipped: it cannot be read: {error.strerror}")
        ):
            place = real(folder)
            if place in visited:
                subfolders.clear()
                continue
            visited.add(place)
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            tops += [Path(folder, name) for name in subfolders if os.path.islink(Path(folder, name))]
            caches = sorted(name for name in names if name.endswith((*SUFFIXES, PART)) and not name.startswith("."))
            yield from (Path(folder, name) for name in caches)


def sealed(path: Path) -> Path:
    """The name of a cache once it is sealed: a part's name without its suffix."""
    return path.with_name(path.name.removesuffix(".part")) if path.name.endswith(PART) else path


def describe_clip(store: Store, id: str) -> dict[str, Any]:
    """The source of one clip, and statistics of its rows, JSON-ready.

    Raises:
        StoreError: the clip does not exist.
    """
    if id not in store:
        raise StoreError(f"{store.path}: no clip {id!r}; 'egotools cache info' shows some ids")
    rows = store[id]
    values = rows.values.astype(np.float64)
    finite = values[np.isfinite(values)]
    names: dict[str, Callable[..., Any]] = {"mean": np.mean, "deviation": np.std, "smallest": np.min, "largest": np.max}
    statistics = {name: float(value(finite)) if finite.size else None for name, value in names.items()}
    return {
        "id": id,
        **{f"source {name}": value for name, value in store.source(id).__dict__.items()},
        "rows": len(values),
        "first row": rows.times[0].tolist() if len(values) else None,  # seconds
        "last row": rows.times[-1].tolist() if len(values) else None,
        **statistics,
        "not finite": int(values.size - finite.size),
        "intact": store.stored(id).is_intact(),
    }


def recipe_lines(recipe: Recipe) -> dict[str, Any]:
    """A recipe as dotted names and values."""
    return dotted({"recipe": recipe.identity, "origin": recipe.origin})


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested entries by dotted names; Any: JSON values."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inside = (
            dotted(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else {f"{prefix}{name}": value}
        )
        found |= inside
    return found
