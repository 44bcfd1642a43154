"""Frames of a stream for each step of a training, read ahead by a process of their own, so that decoding takes no time.

Axes: n frames.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
        dataset = _Pieces(self._stream, self._plan, first, self._skip)
        iterator = started(
            dataset, self._workers, torch.device("cpu"), batch_size=None, collate_fn=_as_it_is, **options
        )
        parts: list[Read] = []
        try:
            while (piece := self._next(iterator)) is not None:
                parts.append(piece.read())
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
        piece: _Piece | None = received(iterator)
        self._seconds[WAITING] += time.perf_counter() - began
        if piece is not None:
            self._seconds["decoding"] += piece.seconds
        return piece


@dataclass(frozen=True, eq=False)
class _Piece:
    """Frames on their way: one tensor, because each goes through shared memory of its own."""

    ids: IntArray  # [n]
    sizes: IntArray  # [n, 2] height and width
    pixels: Tensor  # uint8, one frame after the other
    unreadable: dict[int, str]
    is_last: bool  # of its step
    seconds: float  # that decoding took

    @classmethod
    def of(cls, read: Read, *, is_last: bool, seconds: float) -> _Piece:
        sizes = np.array([frame.shape[:2] for frame in read.frames], np.int64).reshape(-1, 2)
        pixels = np.concatenate([np.empty(0, np.uint8), *(frame.reshape(-1) for frame in read.frames)])
        return cls(read.ids, sizes, torch.from_numpy(pixels), dict(read.unreadable), is_last, seconds)

    def read(self) -> Read:
        """With a copy of each frame: one that is kept must not keep its neighbors."""
        ends = np.cumsum(3 * self.sizes.prod(1))
        flat = np.split(self.pixels.numpy(), ends[:-1]) if len(ends) else []
        frames = [each.reshape(*size, 3).copy() for each, size in zip(flat, self.sizes.tolist(), strict=True)]
        return Read(self.ids, frames, self.unreadable)


class _Pieces(IterableDataset[Any]):
    """As PyTorch asks for them."""

    def __init__(self, stream: Stream, plan: Plan, first: int, skip_unreadable: bool) -> None:
        self._stream, self._plan, self._first, self._skip = stream, plan, first, skip_unreadable
        self._at_once = 1  # frames of the next piece; their size is not known yet

    def __iter__(self) -> Iterator[_Piece | Failure]:
        try:
            for ids in self._plan(self._first):
                yield from self._pieces(np.asarray(ids, np.int64))
        except EgotoolsError as error:
            yield Failure(str(error))

    def _pieces(self, ids: IntArray) -> Iterator[_Piece]:
        done = 0
        while True:
            began = time.perf_counter()
            some = ids[done : done + self._at_once]
            read = self._stream.read(some, skip_unreadable=self._skip)
            done += len(some)
            yield _Piece.of(read, is_last=done == len(ids), seconds=time.perf_counter() - began)
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
