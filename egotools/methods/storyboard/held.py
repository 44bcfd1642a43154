"""What memories of a stream share. A frame's id is its place in the stream, from 0; frames arrive in their order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from egotools.types import IntArray

Array = npt.NDArray[Any]  # Any: int64 ids and labels, float32 keys
State = dict[str, Any]  # Any: what torch.load(weights_only=True) reads
LabelsOf = Callable[[IntArray], IntArray]  # ids of frames to their default labels
NONE: IntArray = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Change:
    """What a memory holds now and did not before, and the other way round: ids, ascending, each once."""

    arrived: IntArray
    left: IntArray


@dataclass(frozen=True, eq=False)
class Drawn:
    """A batch: [B] ids of frames, some twice if more are drawn than held, and [B] their labels at this moment."""

    ids: IntArray
    labels: IntArray


class Memory(Protocol):
    """Decides of which frames each batch of a stream consists.

    A batch is `advance`, then `draw`; there are `steps` of them. What `advance` does depends neither on what was drawn
    nor on labels, except for the kinds that forget by a network's features or by class (minred.py): so an equal memory
    can run ahead elsewhere and say which frames will be needed.
    """

    @property
    def steps(self) -> int:
        """Batches of the whole stream: floor(frames / step), though filling the memory takes a part of the stream.

        The last ones are drawn after its end, from what is held by then, as published.
        """

    @property
    def ids(self) -> IntArray:
        """The frames that are held, ascending, each once. A new array after each change."""

    def advance(self) -> Change:
        """Takes frames of the stream until a batch is due; ValueError after the last one."""

    def draw(self) -> Drawn:
        """The batch, or the memory's part of it."""

    def state_dict(self) -> State:
        """All that changes, random states included: ids, labels, keys and numbers, no pixels."""

    def load_state_dict(self, state_dict: State) -> None:
        """Goes on from there; ValueError, which names it, if the state is of a memory with another option."""


class Held:
    """Frames with labels that a memory holds, and draws from.

    Args:
        frames: of the stream.
        step: frames that the stream goes on by for a batch.
        batch: frames to draw.
        default: labels of frames as they arrive.
        random: draws, as Python's global one does in the reference; may be shared, and is consumed by `draw`.
        options: further ones that a saved state must have, too.
    """

    def __init__(
        self, frames: int, step: int, batch: int, default: LabelsOf, random: Random, **options: int | float
    ) -> None:
        self.frames, self.step, self.batch = frames, step, batch
        self._default, self._random = default, random
        self._options = {"frames": frames, "step": step, "batch": batch, **options}
        self._entries: dict[str, Array] = {"ids": NONE, "labels": NONE}  # columns: a row per frame that is held
        self._head = self._done = 0  # frames that have passed; batches

    @property
    def steps(self) -> int:
        return self.frames // self.step

    @property
    def ids(self) -> IntArray:
        return self._entries["ids"]

    @property
    def labels(self) -> IntArray:
        """[held] the label of each frame of `ids`."""
        return self._entries["labels"]

    def relabel(self, where: slice | npt.NDArray[np.bool_], labels: IntArray | int) -> None:
        """Gives the frames `ids[where]` other labels."""
        self.labels[where] = labels

    def draw(self) -> Drawn:
        places = self._places()
        return Drawn(self.ids[places], self.labels[places])

    def state_dict(self) -> State:
        entries = {name: torch.from_numpy(column.copy()) for name, column in self._entries.items()}
        numbers = {"options": dict(self._options), "head": self._head, "done": self._done}
        return {**numbers, "entries": entries, "random": random_state(self._random)}

    def load_state_dict(self, state_dict: State) -> None:
        check_options(state_dict["options"], self._options)
        self._entries = {name: state_dict["entries"][name].numpy().copy() for name in self._entries}
        self._head, self._done = state_dict["head"], state_dict["done"]
        set_random_state(self._random, state_dict["random"])

    def _begin(self) -> None:
        if self._done == self.steps:
            raise ValueError(f"the stream's last batch, number {self.steps}, has been drawn")
        self._done += 1

    def _drop(self, places: IntArray) -> IntArray:
        """Drops rows, and gives their ids."""
        return self._replace(places, NONE) if len(places) else NONE

    def _add(self, ids: IntArray, **others: Array) -> None:
        """Adds rows; `others` are the further columns."""
        self._replace(NONE, ids, **others)

    def _replace(self, places: IntArray, ids: IntArray, **others: Array) -> IntArray:
        """Adds rows, and drops some of those there are then; the ids of these.

        In one pass, which copies the stretches between: faster than np.delete if few go.
        """
        held, stays = len(self.ids), np.ones(len(ids), bool)
        stays[places[places >= held] - held] = False
        places = places[places < held]
        dropped = np.concatenate([self.ids[places], ids[~stays]])
        edges = [-1, *sorted(places.tolist()), held]
        kept = [slice(before + 1, after) for before, after in pairwise(edges) if after > before + 1]
        new = {"ids": ids, "labels": self._default(ids), **others}
        self._entries = {
            name: np.concatenate([*(column[rows] for rows in kept), new.get(name, column[:0])[stays]])
            for name, column in self._entries.items()
        }
        return dropped

    def _places(self) -> IntArray:
        """Which rows to draw: without repetition if there are enough, all in their order if there are just enough."""
        held = len(self.ids)
        if self.batch == held:
            return np.arange(held)
        draw = self._random.sample if self.batch < held else self._random.choices
        return np.array(draw(range(held), k=self.batch), np.int64)


class Filling(Held, ABC):
    """A memory that is filled before its first batch. Arguments as of `Held`."""

    def advance(self) -> Change:
        self._begin()
        first, dropped = self._head, [NONE]
        while self._head < self.frames:
            before = self._head
            dropped.append(self._take())
            if self._head == before or not self._is_filling():
                break
        left = np.concatenate(dropped)
        return Change(self.ids[np.searchsorted(self.ids, first) :], np.sort(left[left < first]))

    @abstractmethod
    def _take(self) -> IntArray:
        """Takes the next frames of the stream; the ids of those that are no longer held."""

    @abstractmethod
    def _is_filling(self) -> bool:
        """Whether there is no batch yet."""


def check_options(saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Compares options (Any: numbers) of a saved state with a memory's own.

    Raises:
        ValueError: names the first that differs.
    """
    for name, value in own.items():
        if saved.get(name) != value:
            raise ValueError(f"it is of a memory with {name} {saved.get(name)}, not {value}")


def random_state(random: Random) -> State:
    """The state of Python's generator."""
    version, words, gauss = random.getstate()
    return {"version": version, "words": torch.tensor(words), "gauss": gauss}


def set_random_state(random: Random, state: State) -> None:
    """Puts back what `random_state` gave."""
    random.setstate((state["version"], tuple(state["words"].tolist()), state["gauss"]))
