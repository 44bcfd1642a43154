"""Collects computed rows into clips: orders, checks and counts them, and passes them on for writing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from egotools.extraction.messages import Failure, FileDigest, FileRemarks, Piece, ReadingTask, Stage
from egotools.extraction.request import CacheRequest, Extraction
from egotools.extraction.writing import Writing
from egotools.progress import Progress
from egotools.stores import Source
from egotools.types import Clip, Rows

Array = np.ndarray[Any, Any]


@dataclass
class _Part:
    """The rows of one clip for one cache, so far."""

    attempt: int = 0
    appended: int = 0
    held: list[Piece] = field(default_factory=list)  # rows that arrived early
    held_count: int = 0
    fraction: float = 0.0  # of the clip that is done, for progress


class Collector:
    """Tracks every clip of every cache from its first row to its last."""

    def __init__(
        self,
        clips: Sequence[Clip],
        requests: Sequence[CacheRequest],
        writing: Writing,
        result: Extraction,
        progress: Progress,
    ) -> None:
        self.clips, self.requests, self.writing, self.result = clips, requests, writing, result
        self.progress = progress
        self._parts: dict[tuple[int, int], _Part] = {}  # those that are neither complete nor failed
        self._share: dict[int, float] = {}
        self._digesting: dict[int, Path] = {}  # the clips whose tasks return their files' digests
        self._digests: dict[Path, str | None] = {}
        self._awaiting: dict[Path, list[tuple[int, str, Source]]] = {}  # complete, but without digest yet
        self._clips_done = 0.0

    def expect(self, tasks: Sequence[ReadingTask]) -> None:
        """Registers the tasks that are coming, by cache; all other clips count as done."""
        self._clips_done = float(len(self.clips) - len(tasks))
        for task in tasks:
            self._share[task.number] = 1 / len(task.positions)
            if task.digest:
                self._digesting[task.number], self._awaiting[task.clip.path] = task.clip.path, []
            for position in task.positions:
                self._parts[task.number, position] = _Part()

    def is_open(self, piece: Piece) -> bool:
        """Whether rows of this piece are still needed: its clip has not failed, its attempt has not crashed."""
        part = self._parts.get((piece.clip, piece.extractor))
        return part is not None and piece.attempt >= part.attempt

    def take(self, piece: Piece) -> None:
        """Takes rows of a clip; its last ones finish it."""
        if not self.is_open(piece):
            return
        place = (piece.clip, piece.extractor)
        part, id = self._parts[place], self.clips[piece.clip].id
        if piece.attempt > part.attempt:  # a worker crashed on the clip and another started it again
            self.writing.drop(piece.extractor, id)
            part = self._parts[place] = _Part(piece.attempt, fraction=part.fraction)
        piece = replace(piece, units=_stored(piece.units, self.requests[piece.extractor].dtype))
        if not np.isfinite(piece.units).all():
            reason = f"{self.clips[piece.clip].path}: rows that are not finite"
            self.fail(Failure(piece.clip, piece.attempt, piece.extractor, reason))
            return
        if piece.remark:
            self.result.remarks.setdefault(self.requests[piece.extractor].cache, {})[id] = piece.remark
        if part.held or not _follows(piece, part.appended):
            part.held.append(piece)
            part.held_count += len(piece.rows)
        else:
            self._append(place, part, piece.units, piece.times)
        self.result.rows += len(piece.rows)
        there = part.appended + part.held_count
        self._advance(place, part, there / piece.total if piece.total else 1.0)
        if there == piece.total:
            self._finish(place, part, id)

    def remark(self, found: FileRemarks) -> None:
        """Records remarks on a file; several of its clips, and workers, may send the same ones."""
        said = self.result.file_remarks.setdefault(self.clips[found.clip].path, [])
        said += [remark for remark in found.remarks if remark not in said]

    def tell(self, stage: Stage) -> None:
        """Reports what is being done before rows come."""
        self.progress(stage.name, self._clips_done, len(self.clips))

    def add_digest(self, found: FileDigest) -> None:
        """Takes the digest of a file, for all its clips; it may arrive after the first of them."""
        path = self._digesting[found.clip]
        self._digests[path] = found.digest
        for cache, id, source in self._awaiting.pop(path, []):
            self.writing.finish(cache, id, replace(source, digest=found.digest))

    def finish_undigested(self) -> None:
        """Finishes the clips of files whose digest never arrived, because the worker died."""
        for path in list(self._awaiting):
            for cache, id, source in self._awaiting.pop(path):
                self.writing.finish(cache, id, source)

    def fail_unfinished(self) -> None:
        """Records clips of which rows are missing although no more come: none may end neither done nor failed."""
        for (number, position), part in list(self._parts.items()):
            reason = f"{self.clips[number].path}: its rows did not all arrive; rerun the command"
            self.fail(Failure(number, part.attempt, position, reason))

    def fail(self, failure: Failure) -> None:
        """Records a clip that failed for one cache."""
        place = (failure.clip, failure.extractor)
        part = self._parts.pop(place, None)
        if part is None:
            return
        clip = self.clips[failure.clip]
        if self._digesting.get(failure.clip) in self._awaiting:  # its task was to return the digest
            self.add_digest(FileDigest(failure.clip, None))
        self.writing.drop(failure.extractor, clip.id)
        self.result.failed[self.requests[failure.extractor].cache].append((clip, failure.reason))
        self._advance(place, part, 1.0)

    def _append(self, place: tuple[int, int], part: _Part, values: Array, times: Array) -> None:
        if len(values):
            self.writing.append(place[1], self.clips[place[0]].id, Rows(values, times))
            part.appended += len(values)

    def _finish(self, place: tuple[int, int], part: _Part, id: str) -> None:
        if part.held:
            order = np.argsort(np.concatenate([piece.rows for piece in part.held]))
            values = np.concatenate([piece.units for piece in part.held])[order]
            times = np.concatenate([piece.times for piece in part.held])[order]
            self._append(place, part, values, times)
        clip = self.clips[place[0]]
        try:
            source = Source.of(clip)
        except OSError as error:
            reason = f"{clip.path}: disappeared while it was read ({error})"
            self.fail(Failure(place[0], part.attempt, place[1], reason))
            return
        if clip.path in self._awaiting:
            self._awaiting[clip.path].append((place[1], id, source))
        else:
            self.writing.finish(place[1], id, replace(source, digest=self._digests.get(clip.path)))
        del self._parts[place]
        cache = self.requests[place[1]].cache
        self.result.done[cache] += 1
        if not part.appended:
            self.result.empty[cache].append(id)

    def _advance(self, place: tuple[int, int], part: _Part, fraction: float) -> None:
        self._clips_done += self._share[place[0]] * max(fraction - part.fraction, 0.0)
        part.fraction = max(fraction, part.fraction)
        self.progress("extracting", self._clips_done, len(self.clips), self.result.rows)


def _stored(values: Array, dtype: str) -> Array:
    with np.errstate(over="ignore"):  # values too large for float16 become infinite
        return values.astype(dtype, copy=False)


def _follows(piece: Piece, appended: int) -> bool:
    """Whether the rows of a piece are the next ones of their clip."""
    return bool(np.array_equal(piece.rows, np.arange(appended, appended + len(piece.rows))))
