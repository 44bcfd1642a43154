"""The batches of a stream: which frames are remembered, read as they arrive, and shown as two views.

Axes: B images of a batch, n frames.
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt
import torch

from egotools.errors import TrainingError
from egotools.methods.storyboard.held import Drawn, LabelsOf, Memory, State
from egotools.methods.storyboard.learners import Views
from egotools.methods.storyboard.memories import Sizes, memory_of
from egotools.methods.storyboard.minred import CPU, Choosing
from egotools.methods.storyboard.options import StoryboardOptions
from egotools.methods.storyboard.reading import Reader
from egotools.methods.storyboard.stream import Read, Stream
from egotools.methods.storyboard.views import random_of
from egotools.types import Frame, IntArray

DRAWS, KEYS = 0, 1  # the two chances of a memory, each with a seed of its own


def new_memory(
    options: StoryboardOptions, frames: int, default: LabelsOf, seed: int, device: torch.device = CPU
) -> tuple[Memory, Random]:
    """The empty memory of a stream of so many frames, and the chance that it draws with; MinRed compares on `device`.

    Raises:
        TrainingError: the stream is too short for it.
    """
    current, replay = options.curr_batch_size, options.replay_batch_size
    if options.memory != "two-tier":  # one memory gives the whole batch
        current = replay = options.batch_size
    sizes = Sizes(
        options.step_batch_size,
        current,
        replay,
        options.short_buffer_size,
        options.long_buffer_size,
        options.subsample,
        options.frames_per_step,
    )
    words = np.random.default_rng(seed).integers(1 << 62, size=2).tolist()
    random, generator = Random(words[DRAWS]), torch.Generator().manual_seed(words[KEYS])
    memory = memory_of(options.memory, frames, sizes, default, random=random, generator=generator, device=device)
    short, every = sizes.short_buffer_size, sizes.subsample  # the reference also trains if these are never full
    if options.memory in ("two-tier", "fifo") and frames < (short - 1) * every + 1:
        raise TrainingError(
            f"the stream has {frames} frames, too few for --short-buffer-size {short} with --subsample {every}"
        )
    return memory, random


def without_labels(ids: IntArray) -> IntArray:
    """For a memory that only says which frames it needs."""
    return np.zeros(len(ids), np.int64)


@dataclass(frozen=True, eq=False)
class Needed:
    """The plan of a `Reader`: all frames that are held, then, step by step, those that arrive.

    An equal memory runs ahead, from a saved state on.
    """

    options: StoryboardOptions
    frames: int
    seed: int
    state: State

    def __call__(self, first: int) -> Iterator[IntArray]:
        memory, _ = new_memory(self.options, self.frames, without_labels, self.seed)
        memory.load_state_dict(self.state)
        yield memory.ids
        for _ in range(first, memory.steps):
            yield memory.advance().arrived


@dataclass(frozen=True, eq=False)
class InOrder:
    """The same of a memory that forgets by what is not known ahead: all that it takes, whatever it keeps of that."""

    ids: IntArray  # that are held
    intakes: list[tuple[int, int]]  # of each step to come: the first frame, and the end

    def __call__(self, _: int) -> Iterator[IntArray]:
        yield self.ids
        for first, end in self.intakes:
            yield np.arange(first, end)


def plan_of(memory: Memory, options: StoryboardOptions, frames: int, seed: int) -> Needed | InOrder:
    """The plan of a memory from here on; changes of the memory do not change it."""
    if isinstance(memory, Choosing):
        return InOrder(memory.ids, memory.intakes())
    return Needed(options, frames, seed, copy.deepcopy(memory.state_dict()))


class Batches:
    """Gives `fit` its batches, each `num_grads` times; saves which frames are held, and reads them again.

    Args:
        stream: where frames are read.
        memory: which of them are held.
        options: of the batches and views.
        seed: of memory and views.
        device: of the views.
        workers: 1, or 0: this process reads.
        skip_unreadable: frames that cannot be decoded are left out of batches and segments; else they are an error.
    """

    def __init__(
        self,
        stream: Stream,
        memory: Memory,
        options: StoryboardOptions,
        *,
        seed: int,
        device: torch.device,
        workers: int,
        skip_unreadable: bool = False,
    ) -> None:
        self.memory, self._stream, self._options = memory, stream, options
        self.viewing = options.viewing
        self._seed, self._device, self._workers, self._skip = seed, device, workers, skip_unreadable
        self.unreadable: dict[int, str] = {}  # why frames were left out, by id; those that had been held
        self.number = 0  # batches that were drawn
        self.drawn, self._current = Drawn(np.empty(0, np.int64), np.empty(0, np.int64)), 0
        self._frames: dict[int, Frame] = {}  # those that are held
        self.seconds: defaultdict[str, float] = defaultdict(float)  # of stages of a step, since `spent` was asked

    def __call__(self, first: int) -> Iterator[Views]:
        """Batches from number `first` on, repeated ones counted."""
        self._frames.clear()
        plan = plan_of(self.memory, self._options, len(self._stream), self._seed)
        self._reader = Reader(self._stream, plan, workers=self._workers, skip_unreadable=self._skip)
        arriving = self._reader(self.number)
        self._take(next(arriving))
        repeats = self._options.num_grads
        if first % repeats:
            yield from self._repeated(repeats - first % repeats)
        for read in arriving:
            change = self.memory.advance()
            self._take(read)
            left = change.left
            if isinstance(self.memory, Choosing):  # may forget at once what has just arrived
                left = np.union1d(left, np.setdiff1d(read.ids, self.memory.ids))
            for id in left.tolist():
                self._frames.pop(id, None)
            self._draw()
            self.number += 1
            yield from self._repeated(repeats)

    def readable(self, ids: IntArray) -> npt.NDArray[np.bool_]:
        """Which frames [n] are not known to be unreadable."""
        lost = np.fromiter(self.unreadable, np.int64, len(self.unreadable))
        return ~np.isin(ids, lost)

    def frames(self, ids: IntArray) -> list[Frame]:
        """Frames that are held [n], or others, which are read again."""
        missing = np.unique([id for id in ids.tolist() if id not in self._frames]).astype(np.int64)
        found = dict(zip(missing.tolist(), self._stream.frames(missing), strict=True)) if len(missing) else {}
        return [found[id] if id in found else self._frames[id] for id in ids.tolist()]

    def spent(self) -> dict[str, float]:
        """Seconds by stage since this was last asked, which it forgets: `seconds`, and those of the reader."""
        found = {**self._reader.spent(), **self.seconds}
        self.seconds.clear()
        return found

    def state_dict(self) -> State:
        """Ids, not pixels."""
        ids, labels = (torch.from_numpy(each.copy()) for each in (self.drawn.ids, self.drawn.labels))
        counts = {"number": self.number, "current": self._current, "unreadable": dict(self.unreadable)}
        return {"memory": self.memory.state_dict(), "ids": ids, "labels": labels, **counts}

    def load_state_dict(self, state_dict: State) -> None:
        self.memory.load_state_dict(state_dict["memory"])
        self.number, self._current = state_dict["number"], state_dict["current"]
        self.unreadable = dict(state_dict["unreadable"])
        self.drawn = Drawn(state_dict["ids"].numpy().copy(), state_dict["labels"].numpy().copy())

    def _draw(self) -> None:
        """The next batch, without frames that cannot be read."""
        drawn, current = self.memory.draw(), self._options.current
        keep = self.readable(drawn.ids)
        if not keep.any():
            raise TrainingError(f"no frame of batch {self.number} can be read: {next(iter(self.unreadable.values()))}")
        self.drawn, self._current = Drawn(drawn.ids[keep], drawn.labels[keep]), int(keep[:current].sum())

    def _take(self, read: Read) -> None:
        self.unreadable.update(read.unreadable)
        self._frames.update(zip(read.ids.tolist(), read.frames, strict=True))

    def _repeated(self, times: int) -> Iterator[Views]:
        began = time.perf_counter()
        frames: Sequence[Frame] = self.frames(self.drawn.ids)
        views = self.viewing.training(frames, random_of(self._seed, self.number), self._device)
        labels = torch.from_numpy(self.drawn.labels).to(self._device)
        self.seconds["views"] += time.perf_counter() - began
        for _ in range(times):
            yield Views(views, labels, self._current)
