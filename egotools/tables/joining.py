"""Which clips of a manifest several caches have in common, and why others are left out.

Axes: C clips.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from egotools.errors import TableError
from egotools.manifests.table import read_manifest
from egotools.stores.store import Store
from egotools.texts import alike, named, split_name
from egotools.types import Clip, IntArray

SAME_TIME = 1e-3  # seconds; containers round timestamps to their own ticks
NAMED = 3  # clips named in a remark


def listed(caches: Path | str | Sequence[Path | str]) -> list[Path]:
    """One or several paths as a list.

    Raises:
        ValueError: there is none.
    """
    paths = [caches] if isinstance(caches, (str, Path)) else [*caches]
    if not paths:
        raise ValueError("at least one cache is needed")
    return [Path(path) for path in paths]


def shared_clips(
    manifest: Path, stores: Sequence[Store], split: str | None, labels: Sequence[str] | None
) -> tuple[list[Clip], tuple[str, ...]]:
    """The clips with rows in every store, with normalized splits; and remarks on the others.

    Args:
        manifest: lists the clips, in order.
        stores: caches.
        split: only the clips of this split; None: all.
        labels: the label columns to read; None: all.

    Raises:
        TableError: no clip is in the split, or in every store.
    """
    clips = read_manifest(manifest, labels=labels)
    named_alike = lru_cache(maxsize=None)(split_name)  # few splits, many clips
    for number, clip in enumerate(clips):
        if clip.split != (name := named_alike(clip.split)):
            clips[number] = replace(clip, split=name)
    remarks = alike({clip.split for clip in clips}, "splits")
    if split is not None:
        clips = [clip for clip in clips if clip.split == split_name(split)]
    if not clips:
        raise TableError(f"{manifest}: " + ("no clips" if split is None else f"no clip is in the split {split!r}"))
    kept, missing = present_in_all(clips, stores, manifest)
    return kept, (*remarks, *missing)


def present_in_all(
    clips: Sequence[Clip], stores: Sequence[Store], manifest: Path
) -> tuple[list[Clip], tuple[str, ...]]:
    """The clips with rows in every store, and remarks on the others; `manifest` is the file that names the clips.

    Raises:
        TableError: there is no such clip.
    """
    remarks, paths = [], ", ".join(str(store.path) for store in stores)
    ids = [clip.id for clip in clips]
    counts = np.array([store.row_counts(ids) for store in stores])
    for store, of_store in zip(stores, counts, strict=True):
        missing = np.flatnonzero(of_store < 0).tolist()
        if len(missing) == len(clips):
            example = next(iter(store), None)
            has = f"its ids are like {example!r}" if example else "it is empty"
            raise TableError(
                f"{store.path} has none of the {len(clips)} clips of {manifest}: {has}; "
                "were they made from the same manifest?"
            )
        if missing:
            remarks.append(count_named([ids[at] for at in missing], f"missing in {store.path} left out"))
    least = counts.min(axis=0)
    if (least < 0).all():
        raise TableError(f"no clip of {manifest} is in every one of {paths}")
    empty = [ids[at] for at in np.flatnonzero(least == 0).tolist()]
    if (least <= 0).all():
        raise TableError(f"{manifest}: all {len(empty)} clips in {paths} have no rows")
    if empty:
        remarks.append(count_named(sorted(empty), "without any row left out"))
    return [clips[at] for at in np.flatnonzero(least > 0).tolist()], tuple(remarks)


def row_counts(clips: Sequence[Clip], stores: Sequence[Store]) -> IntArray:
    """The number of rows per clip [C], which is the same in all stores.

    Raises:
        TableError: it is not; names the clip.
    """
    ids = [clip.id for clip in clips]
    first, *others = (store.row_counts(ids) for store in stores)
    for store, counts in zip(stores[1:], others, strict=True):
        for at in np.flatnonzero(first != counts)[:1].tolist():
            raise not_joined(ids[at], (stores[0], int(first[at])), (store, int(counts[at])))
    return first


def not_joined(id: str, one: tuple[Store, int], other: tuple[Store, int]) -> TableError:
    """The error for a clip whose rows in two stores differ: each store with its number of rows."""
    return TableError(
        f"clip {id!r} has {one[1]} rows in {one[0].path} and {other[1]} rows in {other[0].path}, with different times: "
        "only reduced clips (--reduce mean) can be joined"
    )


def count_named(ids: Sequence[str], what: str) -> str:
    """A count and the first few clips: "2 clips missing in x.lmdb left out: 'a', 'b'"."""
    return f"{len(ids)} {'clip' if len(ids) == 1 else 'clips'} {what}: {named([*map(repr, ids)], NAMED)}"
