"""Merges caches with the same recipe, and converts a cache to another format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egotools.config import file_digest
from egotools.errors import RecipeError, StoreError
from egotools.progress import Progress, no_progress
from egotools.stores.int8_files import take_int8_file
from egotools.stores.opening import open_store
from egotools.stores.publish import publish
from egotools.stores.store import Recipe, Store, check_dtype, differences, key_of


def merge(
    paths: Sequence[Path],
    out: Path,
    *,
    manifest: Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Writes the clips of all caches to `out`; a clip in several of them must have the same rows in all.

    Args:
        paths: the caches.
        out: the new one.
        manifest: recorded as what it was made from; None: the manifests that the caches name.
        overwrite: whether to replace an existing cache.
        progress: reports clips.

    Returns:
        The number of clips in `out`.

    Raises:
        RecipeError: the caches have different recipes; the message names the differing option.
        StoreError: two caches have different rows for the same id, or `out` exists.
    """
    stores = [open_store(path) for path in paths]
    first = stores[0]
    for store in stores[1:]:
        for name, was, now in differences(first.recipe.identity, store.recipe.identity):
            raise RecipeError(
                f"{store.path} was made with {name}={now!r} and {first.path} with {was!r};"
                " only caches with the same recipe can be merged"
            )
    clips: dict[str, Store] = {}
    for store in stores:
        for name in store:
            if name in clips and not _same(clips[name], store, name):
                raise StoreError(
                    f"clip {name!r} has other rows in {store.path} than in {clips[name].path};"
                    " merge caches that agree, or rebuild one of them"
                )
            clips.setdefault(name, store)
    recipe = Recipe(first.recipe.identity, _origin(stores, manifest))
    ordered = sorted(clips.items(), key=lambda item: key_of(item[0]))
    publish(out, recipe, ordered, overwrite=overwrite, progress=progress)
    take_int8_file(stores, out)
    return len(clips)


def _origin(stores: Sequence[Store], manifest: Path | None) -> dict[str, Any]:  # Any: JSON values
    """The origin of the first cache, with the manifests of all, so that a rebuild knows all clips.

    `limit` is kept only if all caches have it, for the same manifest.
    """
    origins = [store.recipe.origin for store in stores]
    if manifest is not None:
        known = {"manifest": str(manifest.absolute()), "manifest_digest": file_digest(manifest)}
        origins = [{**origin, **known} for origin in origins]
    named = [origin.get("manifest") for origin in origins]
    manifests = sorted({str(each) for name in named if name for each in (name if isinstance(name, list) else [name])})
    limits = [origin["limit"] for origin in origins if origin.get("limit") is not None]
    joined = {**origins[0], "merged": [str(store.path) for store in stores]}
    if len(manifests) > 1:
        joined = {**joined, "manifest": manifests}
        joined.pop("manifest_digest", None)  # it was the first one's
    elif manifests:
        joined["manifest"] = manifests[0]
    for part in ("limit", "shard"):
        joined.pop(part, None)
    if len(manifests) == 1 and len(limits) == len(stores):
        joined["limit"] = max(limits)
    return joined


def _same(one: Store, other: Store, id: str) -> bool:
    """Bit for bit, so that NaN equals NaN."""
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
    """Writes the cache at `path` as `out`, in the format of its suffix.

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
    take_int8_file([store], out)
    return len(clips)
