"""Verifies that a cache is not damaged."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from egotools.errors import StoreError
from egotools.progress import Progress, no_progress
from egotools.stores.store import Store, StoredClip
from egotools.stores.summary import open_any


@dataclass(frozen=True)
class Verification:
    """The findings for one cache.

    `bad` maps each damaged clip to what is wrong with it, `problems` lists what is wrong with the cache itself. NaN and
    infinite values are counted, but are not damage. `orphans` are blocks that belong to no
    clip, left by an interrupted pass or being written now: the next pass drops them.
    """

    path: Path
    clips: int
    rows: int
    bad: dict[str, str] = field(default_factory=dict)
    nan: dict[str, int] = field(default_factory=dict)  # number of values by clip
    infinite: dict[str, int] = field(default_factory=dict)
    orphans: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """All problems, as messages."""
        return [*self.problems, *(f"clip {id!r}: {problem}" for id, problem in self.bad.items())]

    @property
    def is_sound(self) -> bool:
        """Whether no clip is damaged."""
        return not self.bad and not self.problems


def verify(path: Path, *, progress: Progress = no_progress) -> Verification:
    """Reads every byte of a cache: checksums, shapes, times, NaN and infinite values.

    Raises:
        StoreError: not a cache at all, or cut short.
    """
    store = open_any(path)
    found = Verification(path, len(store), store.rows)
    clips = rows = 0
    for name in _ids(store, found):
        clips += 1
        try:
            clip = store.stored(name)
            rows += len(clip)
            problem = _problem(clip, store)
            store.source(name)
        except StoreError as error:
            problem = str(error)
        if problem:
            found.bad[name] = problem
        else:
            _count_odd(clip, name, found)
        progress(f"verifying {path.name}", clips, len(store))
    if (clips, rows) != (len(store), store.rows) and found.is_sound:
        found.problems.append(
            f"contains {clips} clips and {rows} rows, but its header says {len(store)} and {store.rows}"
        )
    orphans = getattr(store, "orphans", None)  # only LMDB caches have blocks
    return Verification(**{**found.__dict__, "orphans": orphans() if orphans else 0})


def _ids(store: Store, found: Verification) -> Iterator[str]:
    """The ids of a cache; unreadable ones are added to the problems."""
    ids = iter(store)
    while True:
        try:
            yield next(ids)
        except StopIteration:
            return
        except StoreError as error:
            found.problems.append(str(error).removeprefix(f"{store.path}: "))


def _problem(clip: StoredClip, store: Store) -> str | None:
    if not clip.is_intact():
        return "checksum differs: not the bytes that were written"
    if any(view.dtype != store.dtype or view.shape[1] != store.width for view in clip.views):
        return f"rows are not {store.dtype.name} of {store.width} features"
    if not np.all(np.isfinite(clip.times)) or np.any(clip.times[:, 1] < clip.times[:, 0]):
        return "times are not finite, or end before they start"
    return None


def _count_odd(clip: StoredClip, id: str, found: Verification) -> None:
    nan = infinite = 0
    for piece in clip.pieces():
        nan += int(np.isnan(piece.values).sum())
        infinite += int(np.isinf(piece.values).sum())
    if nan:
        found.nan[id] = nan
    if infinite:
        found.infinite[id] = infinite
