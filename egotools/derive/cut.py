"""Cuts the rows of segments out of a cache of whole videos, so that no video is read again.

Axes: T rows of a cached clip, D features, S segments. Times are seconds of the file.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import ClassVar

import numpy as np

from egotools.config import option
from egotools.derive.fitted import Learned
from egotools.errors import StoreError
from egotools.files.disk import real
from egotools.manifests.table import read_manifest
from egotools.stores.copying import intact
from egotools.stores.source import Source
from egotools.stores.store import Store, StoredClip
from egotools.tables.joining import SAME_TIME, count_named
from egotools.tables.rows_within import Picked, rows_within
from egotools.types import Clip, Rows


@dataclass(frozen=True)
class Cut:
    """The rows of segments, from a cache of the videos they are from: one clip per row of a manifest.

    A segment gets the rows of its file's cached clip whose window's middle lies from its start up to, but not
    including, its end. Files are joined by path, ids may differ. Where several cached clips hold a segment, the longest
    one gives the rows; of equally long ones the first by start, then by id.
    """

    version: ClassVar[int] = 1
    naming: ClassVar[str] = "{input}"

    manifest: Path | None = option(None, "CSV of the segments: id, path, start, end.  [required]")  # noqa: RUF009
    overlap: bool = option(False, "Whether rows that only reach into a segment belong to it, too.")

    def __post_init__(self) -> None:
        if self.manifest is None:
            raise ValueError("--manifest is needed: it lists the segments")

    def learn(self, inputs: Mapping[str, Store]) -> Learned:
        """Which rows each segment gets, found from times alone; the rows themselves are read clip by clip.

        Raises:
            StoreError: no segment can be cut from the one input.
            ManifestError: the manifest cannot be used.
        """
        assert self.manifest is not None  # __post_init__ refuses it
        (store,) = inputs.values()
        segments = read_manifest(self.manifest, labels=())
        plan = _plan(store, segments)
        if not plan.parts:
            example, why = next(iter(plan.failed.items()))
            raise StoreError(f"{store.path}: none of the {len(segments)} clips of {self.manifest}: {example!r}: {why}")
        picked = {id: self._picked(store, id, each) for id, each in plan.parts.items()}
        remarks = _remarks(store, plan, picked)
        return Learned(_each(store, plan.parts, picked), remarks=remarks, sources=plan.sources, failed=plan.failed)

    def _picked(self, store: Store, id: str, segments: Sequence[Clip]) -> list[Picked]:
        times = store.stored(id).times
        spans = np.array([(segment.start, inf if segment.end is None else segment.end) for segment in segments])
        return rows_within(times, spans, overlap=self.overlap)


@dataclass(frozen=True)
class _Plan:
    """Which cached clip each segment is cut from."""

    parts: dict[str, list[Clip]] = field(default_factory=dict)  # by the id of the cached clip
    sources: dict[str, Source] = field(default_factory=dict)  # of the segments
    failed: dict[str, str] = field(default_factory=dict)  # segments that no cached clip holds -> why
    doubly: list[str] = field(default_factory=list)  # segments that several hold


def _plan(store: Store, segments: Sequence[Clip]) -> _Plan:
    files, plan = _Files(store), _Plan()
    for segment in segments:
        holding, why = files.holding(segment)
        if why:
            plan.failed[segment.id] = why
            continue
        id, source = holding[0]
        plan.parts.setdefault(id, []).append(segment)
        plan.sources[segment.id] = _source(segment, source)
        if len(holding) > 1:
            plan.doubly.append(segment.id)
    return plan


class _Files:
    """The cached clips of each file, in the order in which they are preferred."""

    def __init__(self, store: Store) -> None:
        self._real = lru_cache(maxsize=None)(lambda path: str(real(path)))  # many clips share a file
        self._clips: dict[str, list[tuple[str, Source]]] = {}
        for id in store:
            source = store.source(id)
            if source.path:
                self._clips.setdefault(self._real(source.path), []).append((id, source))
        if not self._clips and len(store):
            raise StoreError(
                f"{store.path}: its rows were imported and name no files, by which segments are found; cut needs a"
                " cache that was extracted"
            )
        for clips in self._clips.values():
            clips.sort(key=lambda each: (each[1].start - _end(each[1]), each[1].start, each[0]))

    def holding(self, segment: Clip) -> tuple[list[tuple[str, Source]], str]:
        """The cached clips that hold a segment, the best one first; or why there is none."""
        if segment.path == Path():
            return [], "it has no path, by which cached clips are found"
        clips = self._clips.get(self._real(str(segment.path)), [])
        if not clips:
            return [], f"no cached clip is of {segment.path}"
        holding = [each for each in clips if _holds(each[1], segment)]
        if not holding:
            spans = " and ".join(_span(source.start, source.end) for _, source in clips[:2])
            more = f" and {len(clips) - 2} more" if len(clips) > 2 else ""
            return (
                [],
                f"{_span(segment.start, segment.end)} is not inside what is cached of {segment.path}: {spans}{more}",
            )
        same = [each for each in holding if segment.fps is None or each[1].fps in (None, segment.fps)]
        return same, "" if same else f"its fps is {segment.fps:g}, that of the cached clip {holding[0][1].fps:g}"


def _holds(source: Source, segment: Clip) -> bool:
    end = inf if segment.end is None else segment.end
    return source.start <= segment.start + SAME_TIME and end <= _end(source) + SAME_TIME


def _end(source: Source) -> float:
    return inf if source.end is None else source.end


def _span(start: float, end: float | None) -> str:
    return f"{start:g} s to {'the end of the file' if end is None else f'{end:g} s'}"


def _source(segment: Clip, source: Source) -> Source:
    """The manifest's row, with the state that its file had when it was read."""
    fps = source.fps if segment.fps is None else segment.fps
    return replace(source, path=os.path.abspath(segment.path), start=segment.start, end=segment.end, fps=fps)


def _remarks(store: Store, plan: _Plan, picked: Mapping[str, Sequence[Picked]]) -> tuple[str, ...]:
    late, short = [], []
    for id, segments in plan.parts.items():
        times = store.stored(id).times
        last = times[:, 1].max() if len(times) else -inf
        empty = [part for part, rows in zip(segments, picked[id], strict=True) if not _count(rows)]
        late += [part.id for part in empty if part.start >= last]
        short += [part.id for part in empty if part.start < last]
    found = {
        "without rows, after the last row of their file": late,
        "without rows, as no row's middle lies in them": short,
        "held by several cached clips, cut from the longest of them, or else the first": plan.doubly,
    }
    return tuple(count_named(ids, what) for what, ids in found.items() if ids)


def _count(rows: Picked) -> int:
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def _each(
    store: Store, parts: Mapping[str, Sequence[Clip]], picked: Mapping[str, Sequence[Picked]]
) -> Iterator[tuple[str, Rows]]:
    """Every segment with its rows; each cached clip is read once."""
    for id, segments in parts.items():
        clip = intact(store, id)
        for segment, rows in zip(segments, picked[id], strict=True):
            yield segment.id, _rows(store, clip, rows)
        store.release()  # mapped pages would add up


def _rows(store: Store, clip: StoredClip, rows: Picked) -> Rows:
    whole = rows if isinstance(rows, slice) else slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
    views = clip.between(whole.start, whole.stop)
    values = np.concatenate([np.empty((0, store.width), store.dtype), *views])
    return Rows(values if isinstance(rows, slice) else values[rows - whole.start], np.array(clip.times[rows]))
