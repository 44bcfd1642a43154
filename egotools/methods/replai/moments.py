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
from egotools.types import Clip, Rows

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


def read_moments(
    cache: Path,
    clips: Sequence[Clip],
    *,
    prominence: float = 1.0,
    margin: float = 0.6,
    begins: Mapping[str, float] | None = None,
) -> ClipMoments:
    """The moments of clips in a cache of the extractor `moments`.

    Args:
        cache: LMDB or HDF5.
        clips: all must be in it, with the times and files that it was made from.
        prominence: the lowest that counts. A moment's is measured in the whole clip, so this is exact.
        margin: seconds of picture that a moment needs in its clip, before it and after it.
        begins: when the pictures of clips begin, by id, in seconds of the file; None: as the clips.

    Raises:
        TableError: no cache of moments, it has none of this prominence, clips are not in it or have changed.
        StoreError: the cache cannot be read.
    """
    store = open_moments(cache, prominence)
    _check_clips(store, clips)
    times = {
        clip.id: kept_rows(store, clip, prominence, margin, (begins or {}).get(clip.id)).times[:, 0] for clip in clips
    }
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
    return clip.start + margin + float(random.random()) * (seconds - 2 * margin)


def open_moments(cache: Path, prominence: float) -> Store:
    """A cache of moments that has those of this prominence.

    Raises:
        TableError: no cache of moments, or it has none of this prominence.
        StoreError: it cannot be read.
    """
    store = open_store(cache)
    identity = store.recipe.identity
    if identity.get("extractor") != EXTRACTOR or store.width not in (0, 3):
        made = identity.get("extractor") or identity.get("derivation") or "imported rows"
        raise TableError(f"{store.path}: a cache of {made}, not of moments ('egotools extract ... moments' makes one)")
    lowest = float(identity.get("options", {}).get("prominence", 0.0))
    if not prominence >= lowest:
        raise TableError(
            f"{store.path}: it has moments of prominence {lowest:g} and above, so not all of {prominence:g}; extract"
            f" them with moments --prominence {prominence:g}"
        )
    return store


def absent_or_changed(store: Store, clips: Sequence[Clip]) -> tuple[list[str], dict[str, str]]:
    """The ids of clips that are not in a cache, and, by id, how others differ from what their rows were made of."""
    files = SourceFiles()
    there = [clip for clip in clips if clip.id in store]
    changed = {clip.id: change for clip in there if (change := files.change(store.source(clip.id), clip))}
    return [clip.id for clip in clips if clip.id not in store], changed


def kept_rows(store: Store, clip: Clip, prominence: float, margin: float, begin: float | None = None) -> Rows:
    """The moments of a clip, in time order, that have a prominence, and seconds of its picture before and after.

    `begin` is when its picture begins, in seconds of the file; None: as the clip.
    """
    if not margin >= 0:
        raise ValueError(f"the margin of moments must be 0 or above, not {margin}")
    rows = store[clip.id]
    if not len(rows.values):  # of any width: a cache of none has no width
        return Rows(np.zeros((0, 3), np.float32), np.zeros((0, 2)))
    after = rows.times[:, 0] - (clip.start if begin is None else begin)
    seconds = rows.values[:, 2] + np.spacing(rows.values[:, 2])  # they were rounded when they were stored
    is_kept = (rows.values[:, 0] >= prominence) & (margin <= after) & (after <= seconds.astype(np.float64) - margin)
    order = np.flatnonzero(is_kept)[np.argsort(after[is_kept], kind="stable")]
    return Rows(rows.values[order], rows.times[order])


def _check_clips(store: Store, clips: Sequence[Clip]) -> None:
    absent, changed = absent_or_changed(store, clips)
    if absent:
        raise TableError(
            f"{store.path}: {len(absent)} of {counted(len(clips), 'clip')} are not in it: {_quoted(absent)}; extract"
            " moments of this manifest, or leave out the clips that failed (they are listed beside the cache)"
        )
    if changed:
        first = next(iter(changed))
        raise TableError(
            f"{store.path}: {counted(len(changed), 'clip')} changed after moments were extracted, the first is"
            f" {first!r}: {changed[first]}; extract them again into another folder, or use 'egotools rebuild'"
        )


def _quoted(ids: Sequence[str]) -> str:
    return named([repr(id) for id in ids], NAMED)


def most_prominent(cache: Path, times: Mapping[str, Times], count: int) -> dict[str, Times]:
    """Of the moments of each clip, by its id, the `count` most prominent ones, in order of time.

    Args:
        cache: that they are of.
        times: of `read_moments`.
        count: per clip; one that has fewer keeps all.
    """
    store = open_store(cache)
    found = {}
    for id, own in times.items():
        rows = store[id]
        prominence = dict(zip(rows.times[:, 0].tolist(), rows.values[:, 0].tolist(), strict=True))
        best = sorted(own.tolist(), key=lambda time: -prominence[time])[:count]
        found[id] = np.array(sorted(best))
    return found
