"""Copies clips from cache to cache, in pieces; damaged clips are never copied."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from egotools.errors import StoreError
from egotools.stores.store import Store, StoredClip, Writer
from egotools.types import Rows


def intact(store: Store, id: str) -> StoredClip:
    """The rows of a clip as stored, after checking their checksum.

    Raises:
        StoreError: the clip is damaged.
    """
    clip = store.stored(id)
    if not clip.is_intact():
        raise StoreError(f"{store.path}: damaged: clip {id!r} is not what was written; see 'egotools cache verify'")
    return clip


def copied_pieces(store: Store, id: str, dtype: np.dtype[Any] | None = None) -> Iterator[Rows]:
    """The rows of a clip in pieces of at most 4 MiB, as views, or as `dtype`.

    Raises:
        StoreError: the clip is damaged, or a value is too large for float16.
    """
    for piece in intact(store, id).pieces():
        yield piece if dtype in (None, store.dtype) else Rows(_cast(piece.values, dtype, store, id), piece.times)


def _cast(values: np.ndarray[Any, Any], dtype: np.dtype[Any] | None, store: Store, id: str) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    if np.any(np.isinf(cast) & np.isfinite(values)):
        largest = np.abs(values[np.isfinite(values)]).max()
        raise StoreError(f"{store.path}: clip {id!r} has values up to {largest:.4g}, too large for {cast.dtype.name}")
    return cast


def copy_clip(store: Store, id: str, writer: Writer, dtype: np.dtype[Any] | None = None) -> None:
    """Writes one clip of `store` to `writer`, without committing."""
    for piece in copied_pieces(store, id, dtype):
        writer.append(id, piece)
    writer.finish(id, store.source(id))


def check_space(folder: Path, needed: int) -> None:
    """Refuses to start writing what will not fit on the disk.

    Raises:
        StoreError: fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(
            f"{folder}: disk full: {free / 1e6:.3g} MB are free and {needed / 1e6:.3g} MB are needed;"
            " what was committed is kept; free space and run the same command again"
        )


def sync_folder(folder: Path) -> None:
    """Makes new and renamed files of a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
