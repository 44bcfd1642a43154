"""Frames of a stream for each step of a training, read ahead by a process of their own, so that decoding takes no time.

Axes: n frames.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from egotools.errors import EgotoolsError
from egotools.loading.loader import WAITING, Failure, received, started
from egotools.machine import keep_freed_memory
from egotools.methods.storyboard.stream import Read, Stream
from egotools.types import IntArray

Plan = Callable[[int], Iterator[IntArray]]  # see `Reader`
AHEAD = 4  # pieces that are read and wait
PIECE = 64 << 20  # bytes of frames that are handed over at a time, or one frame if that is larger
MOST = 256  # frames of a piece


class Reader:
    """Reads what each step of a training needs; called with a step, gives what is needed from there on.

    Args:
        stream: sent once to the process.
        plan: called with a step, gives the ids that this step needs for the first time, ascending, then those of the
            next one, and so on to the end; the first of a resumed training are all that are held. A function of a
            module, or an object, that can be pickled: it runs in the reading process, and must give the same each time.
        workers: 1, or 0: this process reads.
        skip_unreadable: frames that cannot be decoded are left out and told; else they end the training.
        ahead: pieces of at most 64 MB of frames that may wait.

    Raises:
        ValueError: --workers that are negative.
    """

    def __init__(
        self, stream: Stream, plan: Plan, *, workers: int = 1, skip_unreadable: bool = False, ahead: int = AHEAD
    ) -> None:
        if workers < 0:
            raise ValueError(f"--workers must be 0 or above, not {workers}")
        self._stream, self._plan, self._skip = stream, plan, skip_unreadable
        self._workers, self._ahead = min(workers, 1), ahead  # one walks the stream; more would decode the same
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def __call__(self, first: int) -> Iterator[Read]:
        """What the steps from number `first` on need, one at a time; each frame in its own memory.

        Raises:
            TrainingError: a frame cannot be decoded (file and time are named), or the process was killed.
        """
        keep_freed_memory()
        options = {"prefetch_factor": self._ahead} if self._workers else {}
        dataset = _Pieces(self._stream, self._plan, first, skip_unreadable=self._skip, is_packed=self._workers > 0)
        iterator = started(
            dataset, self._workers, torch.device("cpu"), batch_size=None, collate_fn=_as_it_is, **options
        )
        parts: list[Read] = []
        try:
            while (piece := self._next(iterator)) is not None:
                parts.append(piece.read)
                if piece.is_last:
                    yield _joined(parts)
                    parts = []
        finally:
            del iterator  # ends the process

    def spent(self) -> dict[str, float]:
        """Seconds since this was last asked, and forgets them: "waiting" for frames here, "decoding" there."""
        found = dict(self._seconds)
        self._seconds.clear()
        return found

    def _next(self, iterator: Iterator[Any]) -> _Piece | None:
        began = time.perf_counter()
        found: _Piece | _Packed | None = received(iterator)
        piece = found.unpacked() if isinstance(found, _Packed) else found
        self._seconds[WAITING] += time.perf_counter() - began
        if piece is not None:
            self._seconds["decoding"] += piece.seconds
        return piece


@dataclass(frozen=True, eq=False)
class _Piece:
    """Frames of a step, or some of them."""

    read: Read
    is_last: bool  # of its step
    seconds: float  # that decoding took


@dataclass(frozen=True, eq=False)
class _Packed:
    """A piece on its way to another process: its frames in one tensor, because each goes through memory of its own."""

    piece: _Piece  # without frames
    sizes: IntArray  # [n, 2] height and width
    pixels: Tensor  # uint8, one frame after the other

    @classmethod
    def of(cls, piece: _Piece) -> _Packed:
        frames = piece.read.frames
        sizes = np.array([frame.shape[:2] for frame in frames], np.int64).reshape(-1, 2)
        pixels = torch.empty(sum(frame.size for frame in frames), dtype=torch.uint8)
        pixels.share_memory_()  # type: ignore[no-untyped-call]  # filled there, not copied later
        begin = 0
        for frame in frames:
            pixels[begin : begin + frame.size].numpy()[:] = frame.reshape(-1)
            begin += frame.size
        return cls(replace(piece, read=replace(piece.read, frames=[])), sizes, pixels)

    def unpacked(self) -> _Piece:
        """With a copy of each frame: one that is kept must not keep its neighbors."""
        pixels, begin, frames = self.pixels.numpy(), 0, []
        for height, width in self.sizes.tolist():
            end = begin + 3 * height * width
            frames.append(pixels[begin:end].reshape(height, width, 3).copy())
            begin = end
        return replace(self.piece, read=replace(self.piece.read, frames=frames))


class _Pieces(IterableDataset[Any]):
    """As PyTorch asks for them."""

    def __init__(self, stream: Stream, plan: Plan, first: int, *, skip_unreadable: bool, is_packed: bool) -> None:
        self._stream, self._plan, self._first = stream, plan, first
        self._skip, self._is_packed = skip_unreadable, is_packed
        self._at_once = 1  # frames of the next piece; their size is not known yet

    def __iter__(self) -> Iterator[_Piece | _Packed | Failure]:
        try:
            for ids in self._plan(self._first):
                for piece in self._pieces(np.asarray(ids, np.int64)):
                    yield _Packed.of(piece) if self._is_packed else piece
        except EgotoolsError as error:
            yield Failure(str(error))

    def _pieces(self, ids: IntArray) -> Iterator[_Piece]:
        done = 0
        while True:
            began = time.perf_counter()
            some = ids[done : done + self._at_once]
            read = self._stream.read(some, skip_unreadable=self._skip)
            done += len(some)
            yield _Piece(read, is_last=done == len(ids), seconds=time.perf_counter() - began)
            if read.frames:
                largest = max(frame.nbytes for frame in read.frames)
                self._at_once = min(max(PIECE // largest, 1), MOST)
            if done == len(ids):
                return


def _as_it_is(piece: Any) -> Any:
    return piece


def _joined(parts: list[Read]) -> Read:
    if len(parts) == 1:
        return parts[0]
    return Read(
        np.concatenate([part.ids for part in parts]),
        [frame for part in parts for frame in part.frames],
        {id: reason for part in parts for id, reason in part.unreadable.items()},
    )
