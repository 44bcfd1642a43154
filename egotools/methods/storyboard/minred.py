"""Memories that choose what to forget: the most redundant frames by a network's features, or those of large classes."""

from __future__ import annotations

from abc import abstractmethod
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from egotools.errors import TrainingError
from egotools.methods.storyboard.held import Filling, LabelsOf, State
from egotools.types import IntArray

CPU = torch.device("cpu")
ROWS = 512  # of similarities that are computed at a time


class Choosing(Filling):
    """Holds frames until it is full, and then forgets as many as it takes.

    Args:
        size: frames that it holds at most.
        taken: frames that it takes at a time; `step` counts the steps only.
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
        taken: int,
        **options: float,
    ) -> None:
        super().__init__(frames, step, batch, default, random, size=size, taken=taken, **options)
        self.size, self.taken = size, taken

    def intakes(self) -> list[tuple[int, int]]:
        """The first frame, and the end, of what each step to come takes; many at once until it is full."""
        found, head, held = [], self._head, len(self.ids)
        for _ in range(self._done, self.steps):
            times = max(-(-(self.size - held) // self.taken), 1)
            end = min(head + times * self.taken, self.frames)
            found.append((head, end))
            held, head = min(held + end - head, self.size), end
        return found

    def _take(self) -> IntArray:
        taken = np.arange(self._head, min(self._head + self.taken, self.frames))
        self._head += len(taken)
        self._arrive(taken)
        return self._forget(max(len(self.ids) - self.size, 0))

    def _is_filling(self) -> bool:
        return len(self.ids) < self.size

    def _arrive(self, ids: IntArray) -> None:
        self._add(ids)

    @abstractmethod
    def _forget(self, count: int) -> IntArray:
        """Drops so many frames; their ids."""


class Balanced(Choosing):
    """Forgets one frame after the other, each at random among those of the class, by default label, with the most.

    Of equally large classes that which came first in the stream.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # Any: as Choosing's
        super().__init__(*arguments, **options)
        self._classes: list[int] = []  # in the order in which they came

    def state_dict(self) -> State:
        return {**super().state_dict(), "classes": list(self._classes)}

    def load_state_dict(self, state_dict: State) -> None:
        super().load_state_dict(state_dict)
        self._classes = list(state_dict["classes"])

    def _arrive(self, ids: IntArray) -> None:
        super()._arrive(ids)
        self._classes = list(dict.fromkeys([*self._classes, *self._default(ids).tolist()]))

    def _forget(self, count: int) -> IntArray:
        if not count:
            return self.ids[:0]
        numbers = {label: number for number, label in enumerate(self._classes)}
        places = np.array([numbers[label] for label in self._default(self.ids).tolist()])
        counts, gone = np.bincount(places, minlength=len(numbers)), []
        for _ in range(count):
            members = np.flatnonzero(places == counts.argmax())
            gone.append(self._random.choice(members.tolist()))
            counts[places[gone[-1]]] -= 1
            places[gone[-1]] = -1
        return self._drop(np.array(gone))


class MinRed(Choosing):
    """Minimum redundancy: forgets frames whose features are the most similar to another's.

    As long as a batch has shown the features of fewer than twice as many frames as are to go, the earliest go.

    Args:
        gamma: share of a frame's features that stays when it is seen again.
        device: where features are kept and compared.
        (others): as of `Choosing`.

    Source:
        Purushwalkam et al., "The Challenges of Continuous Self-Supervised Learning", arXiv 2203.12710, section 4.2.
    """

    def __init__(
        self,
        *arguments: Any,  # as Choosing's
        gamma: float = 0.5,
        device: torch.device = CPU,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options, gamma=gamma)
        self._gamma, slots = gamma, self.size + self.taken
        self._entries["slots"] = np.empty(0, np.int64)  # rows of the neighbors
        self._order = np.full(slots, -1)  # ids by slot; -1: free
        self._neighbors = Neighbors(slots, device)

    def seen(self, ids: IntArray, features: Tensor) -> None:
        """Tells it what the network said of a batch, before the next one is drawn.

        Args:
            ids: [B], as drawn.
            features: [B, D] of the backbone, both views' added; any norm, finite.

        Raises:
            ValueError: a frame that is not held.
            TrainingError: features that are not finite.
        """
        rows = np.searchsorted(self.ids, ids)
        if (rows == len(self.ids)).any() or (self.ids[rows] != ids).any():
            raise ValueError("features were given of frames that are not held")
        if not features.isfinite().all():
            raise TrainingError("the network's features are not finite: lower --learning-rate")
        slots, units = self._entries["slots"][rows], normalize(features.detach().float(), dim=1)
        left = np.arange(len(slots))
        while len(left):  # the first sighting of each frame, then the second of those that were drawn twice
            now = left[np.unique(slots[left], return_index=True)[1]]
            self._neighbors.update(slots[now], units[torch.from_numpy(now).to(units.device)], self._gamma)
            left = np.setdiff1d(left, now)

    @property
    def is_seen(self) -> Any:
        """[held] bool: the frames of which features are known."""
        return self._neighbors.is_known(self._entries["slots"])

    def state_dict(self) -> State:
        """As of all memories, with the features, [held, D]: not a copy where they are on the CPU."""
        return {**super().state_dict(), "neighbors": self._neighbors.state_dict()}

    def load_state_dict(self, state_dict: State) -> None:
        super().load_state_dict(state_dict)
        self._order[:] = -1
        self._order[self._entries["slots"]] = self.ids
        self._neighbors.load_state_dict(state_dict["neighbors"])

    def _arrive(self, ids: IntArray) -> None:
        slots = np.flatnonzero(self._order < 0)[: len(ids)]
        self._order[slots] = ids
        self._add(ids, slots=slots)

    def _forget(self, count: int) -> IntArray:
        if not count:
            return self.ids[:0]
        slots = self._entries["slots"]
        if self.is_seen.sum() < 2 * count:
            gone = slots[:count]
            self._neighbors.forget(gone)
        else:
            gone = self._neighbors.drop(count, self._order)
        self._order[gone] = -1
        return self._drop(np.flatnonzero(np.isin(slots, gone)))


class Neighbors:
    """Unit features in slots, and for each the slot of the most similar other one.

    Similarities, (x.y + 1) / 2 in float32, are computed for features that changed, and for those whose neighbor left
    and which matter: until then the old similarity is an upper bound. So dropping n of B costs O((changed + n) B D)
    instead of O(B^2 D + n B^2), and the memory of B similarities each.
    """

    def __init__(self, slots: int, device: torch.device) -> None:
        self._device = device
        no = torch.zeros(slots, dtype=torch.bool, device=device)
        self._features = torch.zeros(slots, 0, device=device)
        self._known, self._changed = no, no.clone()  # changed: not yet compared with the others
        self._nearest = torch.full((slots,), -1, device=device)
        self._best = torch.full((slots,), -torch.inf, device=device)  # similarity to the nearest, or an upper bound
        self._is_exact = no.clone()

    def is_known(self, slots: IntArray) -> Any:
        """[slots] bool."""
        return self._known.cpu().numpy()[slots]

    def update(self, slots: IntArray, units: Tensor, gamma: float) -> None:
        """Stores unit features [n, D] in slots, each once, or mixes them with what is there: gamma of it stays."""
        if not self._features.shape[1]:
            self._features = self._features.new_zeros(len(self._known), units.shape[1])
        at, units = torch.from_numpy(slots).to(self._device), units.to(self._device)
        mixed = normalize(gamma * self._features[at] + (1 - gamma) * units, dim=1)
        self._features[at] = torch.where(self._known[at][:, None], mixed, units)
        self._known[at] = self._changed[at] = True

    def forget(self, slots: IntArray) -> None:
        """Empties slots."""
        at = torch.from_numpy(slots).to(self._device)
        self._known[at] = self._changed[at] = self._is_exact[at] = False
        self._best[at] = -torch.inf
        self._is_exact &= ~torch.isin(self._nearest, at)

    def drop(self, count: int, order: IntArray) -> IntArray:
        """Empties slots one by one, always the one whose neighbor is nearest.

        Args:
            count: how many, at most half of the known ones.
            order: [slots] of equally near ones the lowest goes first.
        """
        place = torch.full_like(self._nearest, -1)  # rows of similarities that are at hand, by slot
        at_hand, rows = self._compare_changed()
        place[at_hand] = torch.arange(len(rows), device=self._device)
        rank = torch.from_numpy(order).to(self._device)
        gone: list[int] = []
        while len(gone) < count:
            ties = torch.nonzero(self._best == self._best.max())[:, 0]
            slot = ties[rank[ties].argmin()]
            if self._is_exact[slot]:
                gone.append(int(slot))
                self._known[slot] = self._is_exact[slot] = False
                self._best[slot] = -torch.inf
                self._is_exact &= self._nearest != slot
                continue
            if place[slot] < 0:  # with it those that are likely to be asked for
                likely = self._best.topk(count - len(gone)).indices
                likely = torch.cat([slot[None], likely[(likely != slot) & (place[likely] < 0)]])
                place[likely] = torch.arange(len(rows), len(rows) + len(likely), device=self._device)
                rows = torch.cat([rows, self._similarities(likely)])
            self._correct(slot, rows[place[slot]])
        return np.array(gone)

    def state_dict(self) -> State:
        return {name: value.cpu() for name, value in self._tensors().items()}

    def load_state_dict(self, state_dict: State) -> None:
        for name in self._tensors():
            setattr(self, f"_{name}", state_dict[name].to(self._device))

    def _tensors(self) -> dict[str, Tensor]:
        names = ("features", "known", "changed", "nearest", "best", "is_exact")
        return {name: getattr(self, f"_{name}") for name in names}

    def _similarities(self, slots: Tensor) -> Tensor:
        """[n, slots]; below all others to itself and to empty slots."""
        found = self._features[slots] @ self._features.T
        found.add_(1).div_(2).masked_fill_(~self._known, -torch.inf)
        found[torch.arange(len(slots), device=slots.device), slots] = -torch.inf
        return found

    def _compare_changed(self) -> tuple[Tensor, Tensor]:
        """Finds the neighbors of features that changed, and whether these are others' neighbors now.

        Returns:
            Some of their slots [n], and the similarities of these [n, slots].
        """
        self._is_exact &= ~self._changed[self._nearest]  # they may have moved away
        changed = torch.nonzero(self._changed)[:, 0]
        self._best[changed] = -torch.inf
        slots, rows = changed[:0], self._best.new_empty(0, len(self._best))
        for slots in torch.split(changed, ROWS):
            rows = self._similarities(slots)
            self._raise(slots, *rows.max(dim=1))
            best, row = rows.max(dim=0)
            self._raise(torch.arange(len(row), device=row.device), best, slots[row])
        self._is_exact[changed] = True
        self._changed[changed] = False
        return slots, rows

    def _raise(self, slots: Tensor, best: Tensor, nearest: Tensor) -> None:
        """Takes neighbors that are at least as near as the known ones; both ends then have the same similarity."""
        is_near = (best >= self._best[slots]) & (best > -torch.inf)
        slots = slots[is_near]
        self._best[slots], self._nearest[slots], self._is_exact[slots] = best[is_near], nearest[is_near], True

    def _correct(self, slot: Tensor, row: Tensor) -> None:
        """Finds the neighbor of one slot, of whose similarities [slots] some may be to slots that are empty by now."""
        best, nearest = row.masked_fill(~self._known, -torch.inf).max(dim=0)
        if (
            self._nearest[nearest] == slot and self._is_exact[nearest]
        ):  # of a pair both have the same, however a product was rounded
            best = torch.maximum(best, self._best[nearest])
            self._best[nearest] = best
        self._best[slot], self._nearest[slot], self._is_exact[slot] = best, nearest, True
