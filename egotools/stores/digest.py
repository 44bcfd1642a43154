"""What a cache holds, as one digest: by it a cache that was made from this one tells later whether it still holds."""

from __future__ import annotations

import hashlib

from egotools.config import digest
from egotools.stores.store import Store


def content_of(store: Store) -> str:
    """The first 16 hex digits of a SHA-256 over what a cache holds.

    It covers the identity of the recipe, the dtype and the width of the rows, and of each clip its id, its number of
    rows and its checksum (of the bytes of its rows and times), in the order of the ids. It does not cover how they lie
    on disk (LMDB or HDF5, blocks, the order in which clips were added), the origin, or the files that the rows came
    from: the same rows written again have the same digest. Only index records are read, no rows; what is damaged below
    its index has the digest that it had before.

    Raises:
        StoreError: an index record is damaged.
    """
    sha = hashlib.sha256(f"{digest(store.recipe.identity)} {store.dtype.name} {store.width}".encode())
    for id in store:
        clip = store.stored(id)
        sha.update(f"\0{id}\0{len(clip)} {clip.checksum}".encode())  # no id holds a NUL character
    return sha.hexdigest()[:16]
