"""The moments that a training draws from: those of a cache, or times at random. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.errors import TableError
from egotools.stores import Store, open_store
from egotools.stores.source import SourceFiles
from egotools.texts import counted, named
from egotools.types import Clip

EXTRACTOR = "moments"
NAMED = 3  # clips named in a message

Times = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClipMoments:
    """Moments by clip: `times` [M >= 1] ascending seconds of the file; and the ids of clips that have `none`."""

    times: Mapping[str, Times]
    none: tuple[str, ...]
    prominence: float
    margin: float

    @property
    def remark(self) -> str:
        """A line about the clips without a moment, which leave the epoch; empty if there are none."""
        if not self.none:
            return ""
        total = len(self.none) + len(self.times)
        return (
            f"{len(self.none)} of {counted(total, 'clip')} left out: no moment of prominence {self.prominence:g} with"
            f" {self.margin:g} s before and after it ({_quoted(self.none)})"
        )


def read_moments(cache: Path, clips: Sequence[Clip], *, prominence: float = 1.0, margin: float = 0.6) -> ClipMoments:
    """The moments of clips in a cache of the extractor `moments`.

    Args:
        cache: LMDB or HDF5.
        clips: all must be in it, with the times and files that it was made from.
        prominence: the lowest that counts. A moment's is measured in the whole clip, so this is exact.
        margin: seconds of picture that a moment needs in its clip, before it and after it.

    Raises:
        TableError: no cache of moments, it has none of this prominence, clips are not in it or have changed.
        StoreError: the cache cannot be read.
    """
    if not margin >= 0:
        raise ValueError(f"the margin of moments must be 0 or above, not {margin}")
    store = open_store(cache)
    _check_recipe(store, prominence)
    _check_clips(store, clips)
    times = {clip.id: _kept(store, clip, prominence, margin) for clip in clips}
    none = tuple(id for id, found in times.items() if not len(found))
    return ClipMoments({id: found for id, found in times.items() if len(found)}, none, prominence, margin)


def random_moment(clip: Clip, seconds: float, random: np.random.Generator, *, margin: float = 0.6) -> float:
    """A time of the file drawn evenly from all that have `margin` seconds of the clip before and after them.

    Args:
        clip: begins at `clip.start`.
        seconds: how long its picture lasts.
        random: one number is drawn.
        margin: seconds.

    Raises:
        ValueError: the clip is shorter than two margins.
    """
    if not 2 * margin <= seconds:
        raise ValueError(f"clip {clip.id!r} of {seconds:g} s has no moment with {margin:g} s before and after it")
    return float(random.uniform(clip.start + margin, clip.start + seconds - margin))


def _kept(store: Store, clip: Clip, prominence: float, margin: float) -> Times:
    """The moments [M] of one clip, ascending."""
    rows = store[clip.id]
    if not len(rows.values):
        return np.zeros(0)
    times, after = rows.times[:, 0], rows.times[:, 0] - clip.start
    is_kept = (rows.values[:, 0] >= prominence) & (margin <= after) & (after <= rows.values[:, 2] - margin)
    return np.sort(times[is_kept])


def _check_recipe(store: Store, prominence: float) -> None:
    identity = store.recipe.identity
    if identity.get("extractor") != EXTRACTOR or store.width not in (0, 3):
        made = identity.get("extractor") or identity.get("derivation") or "imported rows"
        raise TableError(f"{store.path}: a cache of {made}, not of moments ('egotools extract ... moments' makes one)")
    lowest = float(identity.get("options", {}).get("prominence", 0.0))
    if prominence < lowest:
        raise TableError(
            f"{store.path}: it has moments of prominence {lowest:g} and above, so none of {prominence:g}; extract them"
            f" with moments --prominence {prominence:g}"
        )


def _check_clips(store: Store, clips: Sequence[Clip]) -> None:
    absent = [clip.id for clip in clips if clip.id not in store]
    if absent:
        raise TableError(
            f"{store.path}: {len(absent)} of {counted(len(clips), 'clip')} are not in it: {_quoted(absent)}; extract"
            " moments of this manifest, or leave out the clips that failed (they are listed beside the cache)"
        )
    files = SourceFiles()
    changed = {clip.id: change for clip in clips if (change := files.change(store.source(clip.id), clip))}
    if changed:
        first = next(iter(changed))
        raise TableError(
            f"{store.path}: {counted(len(changed), 'clip')} changed after moments were extracted, the first is"
            f" {first!r}: {changed[first]}; extract them again into another folder, or use 'egotools rebuild'"
        )


def _quoted(ids: Sequence[str]) -> str:
    return named([repr(id) for id in ids], NAMED)
