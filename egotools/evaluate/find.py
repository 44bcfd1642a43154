"""The moments of a cache that are nearest to queries, by cosine, exactly, in memory that does not grow with the cache.

The cache is read once, in chunks. A query keeps the best rows so far, and at the end chooses moments among them, the
best first, leaving out those too near to a better one of their file. Where so many are left out that rows which were
not kept could follow, the cache is read again for the rest. The result is that of sorting all rows.

Float32 only says which rows cannot be among the best; the others are compared in float64, as in `exact`.

Axes: Q queries, D features, N rows of a chunk, C candidates.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.config import option
from egotools.errors import TableError
from egotools.evaluate.exact import unit
from egotools.evaluate.queries import Query, check_comparable
from egotools.progress import Progress, no_progress
from egotools.stores.source import SourceFiles
from egotools.stores.store import Store
from egotools.texts import composed, counted, named
from egotools.types import Clip, FloatArray, Rows

CHUNK = 1 << 22  # bytes of rows compared at a time
RELEASED = 1 << 26  # bytes of a cache in memory at a time
RECORD = 1 << 10  # bytes that are read for a clip besides its rows, about
KEPT = 1 << 14  # rows that a query keeps at least, while the cache is read
NAMED = 3  # clips named in a remark
TINY, HUGE = 1e-30, 1e30  # squared lengths between which float32 is exact enough

# A row: its squared distance to the query (both of length one), its number in the cache, clip, and seconds of the file.
ROW = np.dtype([("distance", "f8"), ("number", "i8"), ("id", "O"), ("start", "f8"), ("end", "f8")])
Floats = npt.NDArray[np.float64]
Candidates = npt.NDArray[np.void]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Finding:
    """How many moments are found, and how far apart."""

    top: int = option(12, "Moments to find for each query.")
    min_gap: float = option(2.0, "Seconds: of two moments of one file that are nearer than this, the best counts.")

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"--top must be 1 or more, not {self.top}")
        if not 0 <= self.min_gap < math.inf:
            raise ValueError(f"--min-gap must be 0 or more seconds, not {self.min_gap}")


@dataclass(frozen=True)
class Moment:
    """A row of a cache that was found."""

    id: str
    start: float  # seconds of the file
    end: float
    similarity: float  # cosine
    video: Clip | None  # where it can be seen, with the manifest's labels; None if it is unknown

    @property
    def middle(self) -> float:
        """Seconds of the file."""
        return (self.start + self.end) / 2


@dataclass(frozen=True, eq=False)
class Found:
    """The moments of each query, the best first; how many rows and clips were compared, and remarks."""

    queries: tuple[Query, ...]
    moments: tuple[tuple[Moment, ...], ...]
    rows: int
    clips: int
    remarks: tuple[str, ...]


class Videos:
    """The file of each clip: what the manifest says, else what the cache was made from."""

    def __init__(self, store: Store, listed: Mapping[str, Clip] | None = None) -> None:
        self._store, self._listed = store, listed or {}
        self.file = lru_cache(KEPT)(self._file)

    def of(self, id: str) -> Clip | None:
        """The video of a clip; None if neither knows its file."""
        listed = self._listed.get(id)
        if listed is not None and listed.path != Path():
            return listed
        source, labels = self._store.source(id), {} if listed is None else listed.labels
        if not source.path:
            return None
        return Clip(id, Path(source.path), source.start, source.end, labels=labels, fps=source.fps)

    def _file(self, id: str) -> str:
        """What clips of one file have in common; clips of unknown files have nothing in common."""
        video = self.of(id)
        return f"\0{id}" if video is None else os.path.realpath(video.path)


def find(
    store: Store,
    queries: Sequence[Query],
    finding: Finding = Finding(),
    *,
    listed: Mapping[str, Clip] | None = None,
    kept: int = KEPT,
    progress: Progress = no_progress,
) -> Found:
    """The nearest moments of each query. Of equally near ones the first of the cache (or of the manifest) comes first.

    Args:
        store: the cache.
        queries: vectors as wide as its rows.
        finding: how many moments, and how far apart.
        listed: the clips of a manifest by id, to look among; None: all of the cache.
        kept: rows that a query keeps in one reading; more readings for fewer.
        progress: reports clips and rows.

    Raises:
        TableError: the cache and the queries cannot be compared, or no clip of the manifest is in the cache.
        StoreError: the cache is damaged.
    """
    check_comparable(store, queries)
    ids = None if listed is None else [id for id in listed if id in store]
    if ids is not None and not ids:
        has = f"its ids are like {next(iter(store))!r}"
        raise TableError(f"{store.path} has none of the {len(listed or ())} clips of the manifest: {has}")
    searches = [_Search(query, finding, Videos(store, listed), max(kept, 2 * finding.top)) for query in queries]
    left_out, rows, reading = _LeftOut(), 0, 1
    while unfinished := [each for each in searches if not each.is_done]:
        stage = "searching" if reading == 1 else f"searching, reading {reading}"
        for chunk in _chunks(store, ids, stage, progress):
            _compare(chunk, unfinished, left_out if reading == 1 else _LeftOut())
            rows += len(chunk.rows) if reading == 1 else 0
        for each in unfinished:
            each.choose()
        reading += 1
    if not rows:
        raise TableError(f"{store.path}: the clips of the manifest have no rows in it: there is nothing to find")
    moments = tuple(tuple(each.moments) for each in searches)
    remarks = [] if listed is None else _missing(store, ids or (), listed)
    remarks += [*left_out.remarks(), *(remark for each in searches for remark in each.remarks())]
    shown = {each.shows.id for each in queries if each.shows is not None}
    shown |= {moment.id for each in moments for moment in each}
    remarks += _changed(store, sorted(shown), Videos(store, listed))
    return Found(tuple(queries), moments, rows, len(store) if ids is None else len(ids), tuple(remarks))


@dataclass(frozen=True, eq=False)
class _Chunk:
    values: npt.NDArray[np.float32]  # [N, D]; float16 becomes float32 without rounding
    rows: Candidates  # [N], without distances


def _chunks(store: Store, ids: Sequence[str] | None, stage: str, progress: Progress) -> Iterator[_Chunk]:
    """All rows of a cache, or of some of its clips, a few megabytes at a time, whatever the length of clips."""
    total, number, read = len(store) if ids is None else len(ids), 0, 0
    held: list[tuple[str, Rows]] = []
    size = 0
    for done, id in enumerate(map(composed, store) if ids is None else ids, 1):
        for piece in store.stored(id).pieces():
            held.append((id, piece))
            size += piece.values.nbytes
            if size >= CHUNK:
                yield (chunk := _chunk(held, number))
                number, read, held, size = number + len(chunk.rows), read + size + RECORD * len(held), [], 0
                progress(stage, done, total, number)
            if read >= RELEASED:  # mapped pages would count as memory
                store.release()
                read = 0
    if held:
        yield (chunk := _chunk(held, number))
        number += len(chunk.rows)
    progress(stage, total, total, number)
    store.release()


def _chunk(held: Sequence[tuple[str, Rows]], first: int) -> _Chunk:
    """Pieces of clips together; `first` is the number of their first row in the cache."""
    values = np.concatenate([piece.values for _, piece in held], dtype=np.float32)
    rows = np.empty(len(values), ROW)
    rows["number"] = np.arange(first, first + len(rows))
    rows["id"] = np.repeat(np.array([id for id, _ in held], object), [len(piece.values) for _, piece in held])
    rows["start"], rows["end"] = np.concatenate([piece.times for _, piece in held]).T
    return _Chunk(values, rows)


def _compare(chunk: _Chunk, searches: Sequence[_Search], left_out: _LeftOut) -> None:
    """Offers the rows of a chunk to each search, with their cosines in float32."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # of such rows the float64 is asked
        squares = np.vecdot(chunk.values, chunk.values)
        lengths = np.sqrt(squares)  # and products one by one, because those of thin matrices are slower
        columns = [np.vecdot(chunk.values, each.target.astype(np.float32)) / lengths for each in searches]
    odd = np.flatnonzero(~((squares > TINY) & (squares < HUGE)))
    usable = left_out.usable(chunk.values[odd], chunk.rows[odd])
    for each, similarity in zip(searches, columns, strict=True):
        similarity[odd] = np.where(usable, np.inf, np.nan)  # float32 does not know
        each.offer(chunk, similarity)


@dataclass
class _LeftOut:
    """Rows that have no direction: of zeros (black frames), or not finite."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    clips: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def usable(self, values: FloatArray, rows: Candidates) -> Mask:
        """Which of these rows [N, D] are neither; the others are counted."""
        is_finite = np.asarray(np.isfinite(values).all(axis=1))
        is_zero = np.asarray(~values.any(axis=1))
        for what, those in (("NaN or infinite features", ~is_finite), ("zeros only", is_zero)):
            if those.any():
                self.counts[what] += int(those.sum())
                names = self.clips[what]
                names += [id for id in dict.fromkeys(rows["id"][those].tolist()) if id not in names][: NAMED + 1]
                del names[NAMED + 1 :]
        return np.asarray(is_finite & ~is_zero)

    def remarks(self) -> list[str]:
        """What was left out, counted."""
        shown = {what: ", ".join(map(repr, names[:NAMED])) for what, names in self.clips.items()}
        more = {what: ", ..." if len(names) > NAMED else "" for what, names in self.clips.items()}
        return [
            f"{counted(count, 'row')} with {what} left out, of {shown[what]}{more[what]}"
            for what, count in self.counts.items()
        ]


class _Search:
    """The search for one query: rows kept while the cache is read, and moments chosen among them."""

    def __init__(self, query: Query, finding: Finding, videos: Videos, kept: int) -> None:
        self.query, self.target = query, unit(query.vector[np.newaxis])[0]
        self.moments: list[Moment] = []
        self.is_done = False
        self._finding, self._videos, self._kept = finding, videos, kept
        self._margin = (len(self.target) + 8) * float(np.finfo(np.float32).eps)  # of a float32 cosine, at most
        # By file, where nothing more is found: a middle, and up to which distance from it.
        self._taken: dict[str, list[tuple[float, float]]] = defaultdict(list)
        if (own := query.left_out) is not None:
            self._taken[videos.file(own.id)].append(((own.start + own.end) / 2, (own.end - own.start) / 2))
        self._after = (-math.inf, -1)  # distance and number of the last row that was kept in the reading before
        self._begin()

    def _begin(self) -> None:
        self._parts: list[Candidates] = []
        self._count, self._has_dropped = 0, False
        self._limit = math.inf  # the distance from which on rows are dropped

    def offer(self, chunk: _Chunk, similarity: FloatArray) -> None:
        """Keeps those of N rows that may be among the best; `similarity` [N] is float32, NaN for unusable rows."""
        near = np.flatnonzero(similarity >= 1 - self._limit / 2 - self._margin)
        self._has_dropped |= len(near) < int(np.count_nonzero(~np.isnan(similarity)))
        if not len(near):
            return
        rows = chunk.rows[near]
        between = unit(chunk.values[near]) - self.target
        rows["distance"] = np.vecdot(between, between)
        is_free = rows["distance"] < self._limit
        self._has_dropped |= not is_free.all()
        distance, number = self._after
        is_free &= (rows["distance"] > distance) | ((rows["distance"] == distance) & (rows["number"] > number))
        rows = rows[is_free & self._is_open(rows)]
        self._parts.append(rows)
        self._count += len(rows)
        if self._count > 2 * self._kept:
            self._limit = float(self._sorted()[-1]["distance"])

    def choose(self) -> None:
        """Takes moments from the kept rows, the best first."""
        rows = self._sorted()
        for row in rows:
            moment = self._moment(row)
            taken = self._taken[self._videos.file(moment.id)]
            if any(abs(moment.middle - middle) < reach for middle, reach in taken):
                continue
            self.moments.append(moment)
            if len(self.moments) == self._finding.top:
                break
            taken.append((moment.middle, self._finding.min_gap))
        self.is_done = len(self.moments) == self._finding.top or not self._has_dropped or not len(rows)
        if len(rows):
            self._after = (float(rows[-1]["distance"]), int(rows[-1]["number"]))
        self._begin()

    def remarks(self) -> list[str]:
        """What is left out, and why there are fewer moments than wanted."""
        wanted, gap, own, found = self._finding.top, self._finding.min_gap, self.query.left_out, len(self.moments)
        apart = f" that are {gap:g} s apart (--min-gap)" if gap else ""
        remarks = [] if own is None else [f"moments of {own.id!r} itself are left out; --include-clip finds them, too"]
        few = [f"{self.query.name!r}: {counted(found, 'moment')}, not {wanted}: there are no more{apart}"]
        return remarks + few * (found < wanted)

    def _sorted(self) -> Candidates:
        """The kept rows, the nearest first, at most so many as are kept; the others are dropped."""
        rows = np.concatenate([np.empty(0, ROW), *self._parts])
        rows = rows[np.lexsort((rows["number"], rows["distance"]))]
        self._has_dropped |= len(rows) > self._kept
        rows = rows[: self._kept]
        self._parts, self._count = [rows], len(rows)
        return rows

    def _is_open(self, rows: Candidates) -> Mask:
        """Which rows [C] lie where something may still be found."""
        is_open = np.ones(len(rows), bool)
        if not self._taken:
            return is_open
        middles, ids, own = (rows["start"] + rows["end"]) / 2, rows["id"], self.query.left_out
        starts = [*np.flatnonzero(np.append(True, ids[1:] != ids[:-1])[: len(ids)]).tolist(), len(ids)]
        for those in (slice(first, last) for first, last in pairwise(starts)):  # the rows of one clip
            id = ids[those.start]
            for middle, reach in self._taken.get(self._videos.file(id), ()):
                is_open[those] &= np.abs(middles[those] - middle) >= reach
            is_open[those] &= own is None or id != own.id
        return is_open

    def _moment(self, row: Any) -> Moment:  # Any: a NumPy record
        start, end = float(row["start"]), float(row["end"])
        return Moment(row["id"], start, end, 1 - float(row["distance"]) / 2, self._videos.of(row["id"]))


def _missing(store: Store, ids: Iterable[str], listed: Mapping[str, Clip]) -> list[str]:
    there = set(ids)
    missing = [repr(id) for id in listed if id not in there]
    return [f"{counted(len(missing), 'clip')} of the manifest not in {store.path}: {named(missing, NAMED)}"] * bool(
        missing
    )


def _changed(store: Store, ids: Iterable[str], videos: Videos) -> list[str]:
    """Which of these clips are not, in the manifest or on disk, what the cache was made from."""
    files, lines = SourceFiles(), []
    for id in ids:
        video = videos.of(id)
        if video is not None and (change := files.change(store.source(id), video)):
            lines.append(f"{id}: the features are older: {change}")
    more = [f"{counted(len(lines) - NAMED, 'more clip')} changed, too"] if len(lines) > NAMED else []
    return [*lines[:NAMED], *more]
