"""Recorded cases of Memory Storyboard's sampling and labeling, and what a stream needs to run through them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from fill import DATA, normal

from egotools.methods.storyboard.held import Drawn, Memory
from egotools.methods.storyboard.labels import Storyboard, by_length
from egotools.methods.storyboard.memories import Sizes, TwoTier, memory_of
from egotools.methods.storyboard.merging import Merging
from egotools.types import Frame, IntArray

Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]


def recorded(case: str) -> tuple[dict[str, Any], Arrays]:
    """The options of a case, and what the reference gave."""
    path = DATA / "storyboard" / case
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        return json.loads(path.with_suffix(".json").read_text())["constructor"], dict(arrays)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generators(seed: int = 0) -> dict[str, Any]:
    """Both sources of randomness, as arguments of `memory_of`."""
    return {"random": Random(seed), "generator": generator(seed)}


def batches(memory: Memory, after: Callable[[Drawn], object] = lambda drawn: None) -> Iterator[Drawn]:
    """All batches to the end of the stream; `after` is called after each."""
    for _ in range(memory.steps):
        memory.advance()
        drawn = memory.draw()
        after(drawn)
        yield drawn


def padded(rows: Sequence[IntArray]) -> IntArray:
    """As recorded: shorter batches end with -1."""
    found = np.full((len(rows), max(map(len, rows))), -1)
    for row, values in zip(found, rows, strict=True):
        row[: len(values)] = values
    return found


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """A state as a checkpoint gives it back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    found: dict[str, Any] = torch.load(file, weights_only=True)
    return found


class Engine:
    """A recorded training, in which a table of features has the place of the network, and an id that of an image."""

    def __init__(self, case: dict[str, Any], *, segment_from: int = 0, merge_from: int | None = None) -> None:
        self.features = embeddings(case)
        self.randomness = Random(case["seed"])
        keys = generator(case["seed"])
        for _ in range(2):  # the reference's two loaders draw one number each when they start
            torch.empty((), dtype=torch.int64).random_(generator=keys)
        sizes = Sizes(*(case[name] for name in ("step", "bs", "br", "short", "long", "sub")))
        labels = by_length(case["class_length"])
        memory = memory_of("two-tier", case["N"], sizes, labels, random=self.randomness, generator=keys)
        assert isinstance(memory, TwoTier)
        self.memory, self.storyboard = memory, Storyboard(memory, labels, segment_from=segment_from)
        self.merging: Merging | None = None
        if merge_from is not None:
            threshold = case["merge_threshold"]
            self.merging = Merging(memory.long, self.randomness, merge_from=merge_from, threshold=threshold)
        self.steps = 0
        self.events: list[list[int]] = []
        self.thresholds: list[tuple[float, ...]] = []
        self.merges: list[tuple[int, ...]] = []
        self.images_read: list[int] = []

    def step(self) -> Drawn:
        """One batch, and what follows it."""
        self.memory.advance()
        drawn = self.memory.draw()
        self.steps += 1
        if not self.storyboard.due():
            return drawn
        window = self.storyboard.update(lambda count: greedy(self.features[self.memory.short.ids], count))
        self.events.append([self.steps, len(window.starts), window.first, window.last, *window.starts.tolist()])
        if self.merging is not None and (found := self.merging.update(window, self.images, self.embed)):
            self.thresholds.append((self.steps, found.classes, found.level, found.threshold))
            self.merges += [(self.steps, *pair) for pair in found.merges]
        return drawn

    def images(self, ids: IntArray) -> Frame:
        self.images_read += ids.tolist()
        return np.stack([ids // 256, ids % 256], axis=1).astype(np.uint8)

    def embed(self, images: Frame) -> Floats:
        return self.features[images.astype(int) @ [256, 1]]

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        parts = {"memory": self.memory, "storyboard": self.storyboard, "merging": self.merging}
        return {name: part for name, part in parts.items() if part is not None}


def embeddings(case: dict[str, Any]) -> Floats:
    """[N, D] of a recorded training."""
    segments = np.searchsorted(case["bounds"], np.arange(case["N"]), side="right") % case["recur"]
    centers, noise = normal("input/centers", (case["recur"], case["d"])), normal("input/emb", (case["N"], case["d"]))
    found: Floats = case["amp"] * centers[segments] + case["noise"] * noise
    return found


def greedy(features: Floats, segments: int) -> IntArray:
    """Change points by the definition: sums of the blocks of a similarity matrix, divided by their lengths."""
    unit = features.astype(np.float64) / np.linalg.norm(features, axis=1, keepdims=True)
    sums = np.pad(unit @ unit.T, ((1, 0), (1, 0))).cumsum(0).cumsum(1)

    def score(start: int, end: int) -> float:
        return float(sums[end, end] - 2 * sums[start, end] + sums[start, start]) / (end - start)

    edges = [0, len(unit)]
    for _ in range(segments - 1):
        places = [place for place in range(1, len(unit) - 1) if place not in edges]
        inside = np.searchsorted(edges, places)
        gains = [
            score(edges[i - 1], place) + score(place, edges[i]) - score(edges[i - 1], edges[i])
            for i, place in zip(inside, places, strict=True)
        ]
        edges = sorted([*edges, places[int(np.argmax(gains))]])
    return np.array(edges[1:-1], np.int64)
