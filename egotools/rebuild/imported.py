"""Caches that were imported from another program's arrays: whether those are still what they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from egotools.rebuild.assessment import Assessment, all_or_nothing
from egotools.stores.importing import imported_digest
from egotools.stores.store import Store


def assess_imported(
    cache: Path,
    store: Store,
    *,
    damaged: Mapping[str, str] | None = None,
    digest: Callable[[Path], str] = imported_digest,
) -> Assessment:
    """What of an imported cache holds: all of it, or nothing; it is never made again.

    Where the file that it came from is gone, its rows stand; where it cannot be read, nothing can be said.
    """
    source, ids = Path(str(store.recipe.origin.get("source", ""))), tuple(store)
    again = f"import it again: egotools cache import {source} ... --out {cache} --overwrite"
    reasons = [f"clip {id!r}: {problem}; {again}" for id, problem in (damaged or {}).items()][:1]
    try:
        if digest(source) != store.recipe.identity.get("content"):
            reasons.insert(0, f"{source}, which it was imported from, has changed; {again}")
        gone: tuple[str, ...] = ()
    except (FileNotFoundError, NotADirectoryError):
        gone = ids
    except OSError as error:  # a device, a pipe, a folder that may not be looked into
        return Assessment(cache, problem=f"{source}, which it was imported from, cannot be read: {error.strerror}")
    return all_or_nothing(cache, ids, reasons, gone)
