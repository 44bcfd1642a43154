"""The digest of a cache's content: a derived cache records it, to tell later whether its input has changed."""

import hashlib

from egotools.config import digest
from egotools.stores.store import Store


def content_of(store: Store) -> str:
    """The first 16 hex digits of a SHA-256 over the content of a cache.

    It covers the identity of the recipe, the dtype and width of the rows, and each clip's id, number of
    rows and checksum (of the bytes of its rows and times), in the order of the ids. It does not cover the layout
    on disk (LMDB or HDF5, blocks, the order in which clips were added), the origin, or the source
    files: the same rows written again have the same digest. Only index records are read, no rows, so damage to rows
    does not change it.

    Raises:
        StoreError: an index record is damaged.
    """
    sha = hashlib.sha256(f"{digest(store.recipe.identity)} {store.dtype.name} {store.width}".encode())
    for id in store:
        clip = store.stored(id)
        sha.update(f"\0{id}\0{len(clip)} {clip.checksum}".encode())  # ids contain no NUL character
    return sha.hexdigest()[:16]
