"""The memories of a stream: its last frames, a sample of all that has passed, both, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from egotools.config import check_positive
from egotools.errors import TrainingError
from egotools.methods.storyboard.held import NONE, Change, Drawn, Filling, Held, LabelsOf, Memory, State
from egotools.methods.storyboard.minred import CPU, Balanced, MinRed
from egotools.types import IntArray

SPARE = 128  # keys at hand that are to go next
Kind = Literal["two-tier", "fifo", "reservoir", "minred", "balanced", "none", "iid"]


@dataclass(frozen=True)
class Sizes:
    """Frames: of a step, of the memories, and of a batch.

    Raises:
        ValueError: names the flag that is out of range.
    """

    step_batch_size: int = 64  # frames of the stream per batch
    curr_batch_size: int = 64  # of a batch, from the short-term memory; all of it without a memory
    replay_batch_size: int = 448  # of a batch, from the long-term memory; all of it from a single memory
    short_buffer_size: int = 5000
    long_buffer_size: int = 45000
    subsample: int = 1  # every r-th frame enters the short-term memory, or the window where there is no memory
    frames_per_step: Literal["step", "batch"] = "step"  # what MinRed and balanced take; the reference: the batch size

    def __post_init__(self) -> None:
        check_positive(self, "step_batch_size", "curr_batch_size", "replay_batch_size", "subsample")
        check_positive(self, "short_buffer_size", "long_buffer_size")


class Fifo(Filling):
    """The last frames of the stream, every r-th one.

    Where `step` is no multiple of `subsample`, it takes ceil(step / subsample) frames at that stride, as published, so
    that it runs through the stream faster than by `step`.

    Args:
        size: frames that it holds at most.
        fill: frames of the stream, those that are passed over included, before the first batch.
        subsample: r.
        (others): as of `Held`.
    """

    def __init__(
        self,
        frames: int,
        step: int,
        size: int,
        batch: int,
        default: LabelsOf,
        random: Random,
        *,
        fill: int,
        subsample: int = 1,
    ) -> None:
        super().__init__(frames, step, batch, default, random, size=size, fill=fill, subsample=subsample)
        self.size, self._fill, self._stride = size, fill, subsample

    def _take(self) -> IntArray:
        taken = np.arange(self._head, min(self._head + self.step, self.frames), self._stride)
        self._head += self._stride * len(taken)
        self._add(taken)
        return self._drop(np.arange(len(self.ids) - self.size))

    def _is_filling(self) -> bool:
        return self._head < self._fill


class Reservoir(Filling):
    """A sample of all frames that have passed: each has a random key, and those of the largest keys are held.

    Of equal keys the one that came with a later step wins, within a step the earlier frame.

    Args:
        size: frames that it holds at most.
        fill: frames that it holds before the first batch.
        generator: of the keys: float32 from [0, 1), one call a step.
        (others): as of `Held`.
    """

    def __init__(
        self,
        frames: int,
        step: int,
        size: int,
        batch: int,
        default: LabelsOf,
        random: Random,
        generator: torch.Generator,
        *,
        fill: int,
    ) -> None:
        super().__init__(frames, step, batch, default, random, size=size, fill=fill)
        self.size, self._fill, self._generator = size, fill, generator
        self._entries["keys"] = np.empty(0, np.float32)
        self._lowest = 0.0  # of the keys, once it is full
        self._low = -1.0  # a key such that few are lower, to look for the lowest among them

    @property
    def keys(self) -> npt.NDArray[np.float32]:
        """[held] the key of each frame of `ids`."""
        return self._entries["keys"]

    def state_dict(self) -> State:
        return {**super().state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state_dict: State) -> None:
        super().load_state_dict(state_dict)
        self._generator.set_state(state_dict["generator"])
        self._find_lowest()

    def _take(self) -> IntArray:
        count = min(self.step, self.frames - self._head)
        keys = torch.rand(count, generator=self._generator).numpy()
        entering = np.flatnonzero(keys >= self._lowest)
        ids = self._head + entering
        self._head += count
        if not len(entering):
            return NONE
        dropped = self._replace(self._least(ids, keys[entering]), ids, keys=keys[entering])
        self._find_lowest()
        return dropped

    def _least(self, ids: IntArray, entering: npt.NDArray[np.float32]) -> IntArray:
        """Which rows go when these are added: of equal keys the earliest step's, and in it the latest frame."""
        held, keys = len(self.ids), np.concatenate([self.keys, entering])
        count = len(keys) - self.size
        if count <= 0:
            return NONE
        low = np.flatnonzero(keys <= self._low)
        if len(low) < count:
            last = min(count + SPARE, len(keys)) - 1
            self._low = float(np.partition(keys, last)[last])
            low = np.flatnonzero(keys <= self._low)
        frames = np.concatenate([self.ids[low[low < held]], ids[low[low >= held] - held]])
        return low[np.lexsort((-low, frames // self.step, keys[low]))[:count]]

    def _find_lowest(self) -> None:
        self._lowest = float(self.keys.min()) if len(self.keys) == self.size else 0.0

    def _is_filling(self) -> bool:
        return len(self.ids) < self._fill


class TwoTier:
    """A short-term memory and a long-term one over the same stream: the former's part of a batch comes first.

    Both must draw from the same `random`.
    """

    def __init__(self, short: Fifo, long: Reservoir) -> None:
        self.short, self.long = short, long

    @property
    def steps(self) -> int:
        return self.long.steps

    @property
    def ids(self) -> IntArray:
        return np.union1d(self.short.ids, self.long.ids)

    def advance(self) -> Change:
        before = self.short.ids, self.long.ids
        short, long = self.short.advance(), self.long.advance()
        arrived, left = np.union1d(short.arrived, long.arrived), np.union1d(short.left, long.left)
        return Change(_without(arrived, *before), _without(left, self.short.ids, self.long.ids))

    def draw(self) -> Drawn:
        short, long = self.short.draw(), self.long.draw()
        return Drawn(np.concatenate([short.ids, long.ids]), np.concatenate([short.labels, long.labels]))

    def state_dict(self) -> State:
        return {"short": self.short.state_dict(), "long": self.long.state_dict()}

    def load_state_dict(self, state_dict: State) -> None:
        self.short.load_state_dict(state_dict["short"])
        self.long.load_state_dict(state_dict["long"])


class Sequential(Held):
    """No memory: batch t has the frames [t * step, t * step + batch), every r-th one; windows overlap if batch > step.

    Those at the end of the stream are shorter. Options as of `Fifo`.
    """

    def __init__(self, frames: int, step: int, batch: int, default: LabelsOf, *, subsample: int = 1) -> None:
        super().__init__(frames, step, batch, default, Random(0), subsample=subsample)
        self._stride = subsample
        self._window = NONE

    def advance(self) -> Change:
        self._begin()
        before, self._window = self.ids, self._next()
        self._entries = {"ids": (now := np.unique(self._window)), "labels": self._default(now)}
        return Change(_without(now, before), _without(before, now))

    def draw(self) -> Drawn:
        return Drawn(self._window, self._default(self._window))

    def state_dict(self) -> State:
        return {**super().state_dict(), "batch": torch.from_numpy(self._window.copy())}

    def load_state_dict(self, state_dict: State) -> None:
        super().load_state_dict(state_dict)
        self._window = state_dict["batch"].numpy().copy()

    def _next(self) -> IntArray:
        first = (self._done - 1) * self.step
        return np.arange(first, min(first + self.batch, self.frames), self._stride)


class Iid(Sequential):
    """Batches of frames from anywhere in the stream, which need not arrive in order; none twice in a batch.

    Args:
        random: draws; consumed by `advance`, so it must not be shared.
        (others): as of `Held`.
    """

    def __init__(self, frames: int, step: int, batch: int, default: LabelsOf, random: Random) -> None:
        super().__init__(frames, step, batch, default)
        self._random = random

    def _next(self) -> IntArray:
        return np.array(self._random.sample(range(self.frames), self.batch), np.int64)


def memory_of(
    kind: Kind,
    frames: int,
    sizes: Sizes,
    default: LabelsOf,
    *,
    random: Random,
    generator: torch.Generator,
    device: torch.device = CPU,
) -> Memory:
    """An empty memory of a stream.

    Args:
        kind: `two-tier`, its parts alone (`fifo`, `reservoir`), `minred`, `balanced`, `none` (batches in the stream's
            order), or `iid`. The two tiers are filled until as many frames have passed as the long-term memory holds;
            `fifo` until as many have passed as it holds, whatever its subsampling; the others until they are full.
        frames: of the stream.
        sizes: of steps, memories and batches. `fifo` has `short_buffer_size`, other single memories
            `long_buffer_size`; both draw `replay_batch_size`. Without a memory a batch has `curr_batch_size`.
        default: labels of frames as they arrive.
        random: draws. `iid` needs one of its own.
        generator: of keys, on the CPU; needs to be its own.
        device: where MinRed keeps features.

    Raises:
        TrainingError: the stream has too few frames for a batch, or ends before the memory is full.
        ValueError: a kind that does not exist.
    """
    step, current, replay = sizes.step_batch_size, sizes.curr_batch_size, sizes.replay_batch_size
    short, long = sizes.short_buffer_size, sizes.long_buffer_size
    taken = replay if sizes.frames_per_step == "batch" else step
    stride = sizes.subsample
    builders: dict[str, Callable[[], Memory]] = {
        "two-tier": lambda: TwoTier(
            Fifo(frames, step, short, current, default, random, fill=long, subsample=stride),
            Reservoir(frames, step, long, replay, default, random, generator, fill=long),
        ),
        "fifo": lambda: Fifo(frames, step, short, replay, default, random, fill=short, subsample=stride),
        "reservoir": lambda: Reservoir(frames, step, long, replay, default, random, generator, fill=long),
        "minred": lambda: MinRed(frames, step, long, replay, default, random, taken=taken, device=device),
        "balanced": lambda: Balanced(frames, step, long, replay, default, random, taken=taken),
        "none": lambda: Sequential(frames, step, current, default, subsample=stride),
        "iid": lambda: Iid(frames, step, current, default, random),
    }
    if kind not in builders:
        raise ValueError(f"--memory must be one of {', '.join(get_args(Kind))}, not {kind}")
    _check_stream(kind, frames, sizes)
    return builders[kind]()


def _check_stream(kind: str, frames: int, sizes: Sizes) -> None:
    """Raises TrainingError where the stream is too short."""
    need = {
        **dict.fromkeys(("two-tier", "reservoir", "minred", "balanced"), "long_buffer_size"),
        "fifo": "short_buffer_size",
        "none": "step_batch_size",
        "iid": "curr_batch_size",
    }
    for name in ("step_batch_size", need[kind]):
        if frames < (least := getattr(sizes, name)):
            flag = f"--{name.replace('_', '-')}"
            raise TrainingError(f"the stream has {frames} frames, fewer than {flag} {least}; lower it")


def _without(values: IntArray, *others: IntArray) -> IntArray:
    """Those of ascending values that are in none of the other ascending arrays."""
    for other in others:
        if len(other):
            places = np.minimum(np.searchsorted(other, values), len(other) - 1)
            values = values[other[places] != values]
    return values
