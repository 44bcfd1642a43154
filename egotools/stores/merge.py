"""Several caches of one recipe as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egotools.errors import RecipeError, StoreError
from egotools.progress import Progress, no_progress
from egotools.stores.opening import open_store
from egotools.stores.publish import publish
from egotools.stores.store import Recipe, Store, check_dtype, differences, key_of


def merge(paths: Sequence[Path], out: Path, *, overwrite: bool = False, progress: Progress = no_progress) -> int:
    """Writes the clips of all caches to `out`; a clip that several hold must have the same rows in all of them.

    Returns:
        The number of clips in `out`.

    Raises:
        RecipeError: the caches were made in different ways; the differing option is named.
        StoreError: two caches hold different rows for one id, or `out` exists.
    """
    stores = [open_store(path) for path in paths]
    first = stores[0]
    for store in stores[1:]:
        for name, was, now in differences(first.recipe.identity, store.recipe.identity):
            raise RecipeError(
                f"{store.path} was made with {name}={now!r} and {first.path} with {was!r};"
                " only caches of one recipe can be merged"
            )
    clips: dict[str, Store] = {}
    for store in stores:
        for name in store:
            if name in clips and not _same(clips[name], store, name):
                raise StoreError(
                    f"clip {name!r} has other rows in {store.path} than in {clips[name].path};"
                    " merge caches that agree, or make one of them anew"
                )
            clips.setdefault(name, store)
    recipe = Recipe(first.recipe.identity, _origin(stores))
    ordered = sorted(clips.items(), key=lambda item: key_of(item[0]))
    publish(out, recipe, ordered, overwrite=overwrite, progress=progress)
    return len(clips)


def _origin(stores: Sequence[Store]) -> dict[str, Any]:  # Any: JSON values
    """That of the first cache, with the manifests of all, so that a rebuild knows whose clips these are.

    How many clips were meant of a manifest stays true only if all caches were limited, and of one manifest.
    """
    origins = [store.recipe.origin for store in stores]
    named = [origin.get("manifest") for origin in origins]
    manifests = sorted({str(each) for name in named if name for each in (name if isinstance(name, list) else [name])})
    limits = [origin["limit"] for origin in origins if origin.get("limit") is not None]
    joined = {**origins[0], "merged": [str(store.path) for store in stores]}
    if len(manifests) > 1:
        joined = {**joined, "manifest": manifests}
        joined.pop("manifest_digest", None)  # it was of the first one
    elif manifests:
        joined["manifest"] = manifests[0]
    joined.pop("limit", None)
    if len(manifests) == 1 and len(limits) == len(stores):
        joined["limit"] = max(limits)
    return joined


def _same(one: Store, other: Store, id: str) -> bool:
    """Bit for bit, so that a NaN equals itself."""
    a, b = one[id], other[id]
    return (a.values.dtype, a.values.shape) == (b.values.dtype, b.values.shape) and all(
        np.array_equal(x.view(np.uint8), y.view(np.uint8)) for x, y in ((a.values, b.values), (a.times, b.times))
    )


def convert(
    path: Path,
    out: Path,
    *,
    dtype: Literal["float16", "float32"] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Writes the cache at `path` as `out`, in the format that `out` ends in.

    Returns:
        The number of clips.

    Raises:
        StoreError: `out` exists, a clip is damaged, or a value is too large for float16.
    """
    store = open_store(path)
    wanted = store.dtype if dtype is None else np.dtype(dtype).newbyteorder("<")
    check_dtype(store.recipe, wanted, path)
    identity = dict(store.recipe.identity)
    if wanted != store.dtype:
        identity["dtype"] = wanted.name
    recipe = Recipe(identity, {**store.recipe.origin, "converted": str(path)})
    clips = [(name, store) for name in store]
    publish(out, recipe, clips, dtype=wanted, overwrite=overwrite, progress=progress)
    return len(clips)
