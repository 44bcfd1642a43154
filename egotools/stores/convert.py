"""A cache in the other format, or in the other width of its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from egotools.stores.copying import Progress, silent
from egotools.stores.opening import open_store
from egotools.stores.publish import publish
from egotools.stores.store import Recipe, check_dtype


def convert(
    path: Path,
    out: Path,
    *,
    dtype: Literal["float16", "float32"] | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
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
