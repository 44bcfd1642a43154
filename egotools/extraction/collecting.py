"""Collects computed rows into clips: orders, checks and counts them, and passes them on for writing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from egotools.extraction.messages import (
    BegunAgain,
    Failure,
    FileDigest,
    FileRemarks,
    Message,
    Piece,
    ReadingTask,
    Stage,
)
from egotools.extraction.request import CacheRequest, Extraction
from egotools.extraction.writing import Writing
from egotools.progress import Progress
from egotools.stores import Source
from egotools.stores.source import SourceFiles
from egotools.stores.unfinished import Begun
from egotools.types import Clip, Rows

Array = np.ndarray[Any, Any]
NOTHING: Mapping[tuple[int, int], Begun] = MappingProxyType({})


@dataclass
class _Part:
    """The rows of one clip for one cache, so far."""

    attempt: int = 0
    appended: int = 0
    begun: Begun | None = None  # once a piece has come that is not its last
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
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.tell = tell
        self.clips, self.requests, self.writing, self.result = clips, requests, writing, result
        self.progress = progress
        self._parts: dict[tuple[int, int], _Part] = {}  # those that are neither complete nor failed
        self._share: dict[int, float] = {}
        self._digesting: dict[int, Path] = {}  # the clips whose tasks return their files' digests
        self._digests: dict[Path, str | None] = {}
        self._awaiting: dict[Path, list[tuple[int, str, Source]]] = {}  # complete, but without digest yet
        self._clips_done = 0.0
        self._told: set[tuple[str, str]] = set()  # failures: a clip may fail for the same reason for several caches

    def expect(self, tasks: Sequence[ReadingTask], begun: Mapping[tuple[int, int], Begun] = NOTHING) -> None:
        """Registers the tasks that are coming, by cache; all other clips count as done.

        `begun` tells of the clips of which rows are there already, by number and position.
        """
        self._clips_done = float(len(self.clips) - len(tasks))
        for task in tasks:
            self._share[task.number] = 1 / len(task.positions)
            if task.digest:
                self._digesting[task.number], self._awaiting[task.clip.path] = task.clip.path, []
            for position in task.positions:
                place = (task.number, position)
                part = self._parts[place] = _Part()
                if position in task.done:
                    part.begun, part.appended = begun[place], task.done[position].rows
                    part.fraction = part.appended / begun[place].total
                    self._clips_done += self._share[task.number] * part.fraction

    def receive(self, message: Message) -> None:
        """Takes any message about a clip."""
        if isinstance(message, FileDigest):
            self.add_digest(message)
        elif isinstance(message, Failure):
            self.fail(message)
        elif isinstance(message, FileRemarks):
            self.remark(message)
        elif isinstance(message, BegunAgain):
            self.begin_again(message)
        elif isinstance(message, Stage):
            self.progress(message.name, self._clips_done, len(self.clips))
        else:
            self.take(message)

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
            part.attempt, part.held, part.held_count = piece.attempt, [], 0
        piece = _new(piece, part.appended)
        piece = replace(piece, units=_stored(piece.units, self.requests[piece.extractor].dtype))
        if not np.isfinite(piece.units).all():
            reason = f"{self.clips[piece.clip].path}: rows that are not finite"
            self.fail(Failure(piece.clip, piece.attempt, piece.extractor, reason))
            return
        if piece.remark:
            self.result.remarks.setdefault(self.requests[piece.extractor].cache, {})[id] = piece.remark
        if part.begun is None and len(piece.rows) < piece.total and not self._begin(place, part, piece):
            return
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

    def _begin(self, place: tuple[int, int], part: _Part, piece: Piece) -> bool:
        """Records the file of a clip of which the first rows have come; whether it is still there."""
        clip = self.clips[place[0]]
        try:
            part.begun = Begun(Source.of(clip), piece.total, piece.each)
        except OSError as error:
            self.fail(Failure(place[0], part.attempt, place[1], _disappeared(clip, error)))
        return part.begun is not None

    def begin_again(self, message: BegunAgain) -> None:
        """Drops the rows that a clip has, because its windows have become others; all its rows will come."""
        place = (message.clip, message.extractor)
        part, cache, id = self._parts.get(place), self.requests[message.extractor].cache, self.clips[message.clip].id
        if part is None or message.attempt < part.attempt:
            return
        self.writing.drop(message.extractor, id)
        self._parts[place] = _Part(message.attempt, fraction=part.fraction)
        if self.result.resumed[cache].pop(id, None):
            self.result.begun_again[cache][id] = "its windows have become others, as after an update of a library"

    def remark(self, found: FileRemarks) -> None:
        """Records remarks on a file; several of its clips, and workers, may send the same ones."""
        said = self.result.file_remarks.setdefault(self.clips[found.clip].path, [])
        said += [remark for remark in found.remarks if remark not in said]

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
        if _is_there(clip):
            self.writing.drop(failure.extractor, clip.id)
        self.result.failed[self.requests[failure.extractor].cache].append((clip, failure.reason))
        self.tell_failed(clip, failure.reason)
        self._advance(place, part, 1.0)

    def tell_failed(self, clip: Clip, reason: str) -> None:
        """Says once that a clip failed, and why."""
        if (clip.id, reason) not in self._told:
            self._told.add((clip.id, reason))
            self.tell(f"failed: {clip.id}: {reason}")

    def _append(self, place: tuple[int, int], part: _Part, values: Array, times: Array) -> None:
        if len(values):
            self.writing.append(place[1], self.clips[place[0]].id, Rows(values, times), part.begun)
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
            self.fail(Failure(place[0], part.attempt, place[1], _disappeared(clip, error)))
            return
        if part.begun is not None and (change := SourceFiles().change(part.begun.source, clip)):
            reason = f"{clip.path}: was changed while it was read ({change}); rerun the command"
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


def _disappeared(clip: Clip, error: OSError) -> str:
    return f"{clip.path}: disappeared while it was read ({error})"


def _is_there(clip: Clip) -> bool:
    """Whether the file of a clip can be reached; otherwise, as on a disk that is not mounted, its rows are kept."""
    try:
        clip.path.stat()
    except OSError:
        return False
    return True


def _new(piece: Piece, appended: int) -> Piece:
    """The rows of a piece that are not there yet: who reads a clip once more sends its first ones again."""
    is_new = piece.rows >= appended
    if is_new.all():
        return piece
    return replace(piece, rows=piece.rows[is_new], times=piece.times[is_new], units=piece.units[is_new])


def _follows(piece: Piece, appended: int) -> bool:
    """Whether the rows of a piece are the next ones of their clip."""
    return bool(np.array_equal(piece.rows, np.arange(appended, appended + len(piece.rows))))
