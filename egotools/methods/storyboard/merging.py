"""Merges classes of the long-term memory that look alike, so that a place that is seen again has one label."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from egotools.errors import TrainingError
from egotools.methods.storyboard.held import State
from egotools.methods.storyboard.labels import Window
from egotools.methods.storyboard.memories import Reservoir
from egotools.types import Frame, IntArray

SAMPLES = 32  # images of a prototype at most: 1.2 MB a class at 112 x 112 pixels
TOGETHER = 1024  # images that are embedded at a time, about

# Ids [n] to frames as for segmentation, before normalization: uint8 [n, ...], or fewer where some cannot be read.
ImagesOf = Callable[[IntArray], Frame]
Embed = Callable[[Frame], npt.NDArray[Any]]  # [n, ...] uint8 to [n, D] features of the backbone, float


@dataclass(eq=False)
class Prototype:
    """What is known of a class: images as they were when frames of it were last held."""

    ids: IntArray  # [n], at most `SAMPLES`
    images: Frame | None  # [n, ...] uint8; None: to be read again


@dataclass(frozen=True, eq=False)
class Merged:
    """What an update did."""

    classes: int  # with a prototype
    level: float  # of the quantile
    threshold: float  # cosine similarity above which classes were merged
    merges: list[tuple[int, int]]  # class, and the class whose label it has now; in their order


class Merging:
    """After each window, gives its classes that are over the label of the most similar older class, if similar enough.

    Classes are compared by the mean features of up to 32 images each, which are kept and embedded anew each time, since
    the network has changed: uint8, side x side x 3 x 32 bytes a class, for as many classes as the stream has. Ids
    alone are in the saved state: after it was loaded, `images` is asked for frames that are no longer held.

    Args:
        long: the memory whose labels change.
        random: draws the images; shared with the memory.
        merge_from: the class up to which nothing is merged.
        threshold: share of the pairs of classes that are similar enough, in [0, 0.5).
    """

    def __init__(self, long: Reservoir, random: Random, *, merge_from: int, threshold: float) -> None:
        if not 0 <= threshold < 0.5:
            raise ValueError(f"--merge-threshold must be in [0, 0.5), not {threshold}")
        self._long, self._random = long, random
        self._merge_from, self._share = merge_from, threshold
        self.merged = 0  # classes below it have had their turn
        self.mapping: dict[int, int] = {}  # merged classes to those whose label they have, which are never merged
        self.prototypes: dict[int, Prototype] = {}

    def update(self, window: Window, images: ImagesOf, embed: Embed) -> Merged | None:
        """Merges the classes of a window that has just been segmented; None if it is too early.

        A window of one segment has no class that is over. There nothing is done, and no image drawn; the reference,
        which then segments after every step, draws new ones.

        Args:
            window: the result of `Storyboard.update`.
            images: of frames that are held, or of any after a state was loaded.
            embed: by the network as it is now.

        Raises:
            TrainingError: features that are not finite.
        """
        found = None
        if window.last > self._merge_from and len(window.starts) > 1:
            self._draw(images)
            found = self._merge(window, self._means(images, embed)) if self.prototypes else None
        self.merged = window.last
        return found

    def state_dict(self) -> State:
        """What changes beside the memories; ids of prototypes, not their images."""
        ids = {label: torch.from_numpy(each.ids.copy()) for label, each in self.prototypes.items()}
        return {"merged": self.merged, "mapping": dict(self.mapping), "prototypes": ids}

    def load_state_dict(self, state_dict: State) -> None:
        self.merged, self.mapping = state_dict["merged"], dict(state_dict["mapping"])
        found = state_dict["prototypes"].items()
        self.prototypes = {label: Prototype(ids.numpy().copy(), None) for label, ids in found}

    def _draw(self, images: ImagesOf) -> None:
        """Renews the prototypes of the classes that are held, in the order of their first frames."""
        labels, firsts = np.unique(self._long.labels, return_index=True)
        for label in labels[np.argsort(firsts)].tolist():
            ids = self._long.ids[self._long.labels == label]
            if len(ids) > SAMPLES:
                ids = np.array(self._random.sample(ids.tolist(), SAMPLES), np.int64)
            if len(found := images(ids)):
                self.prototypes[label] = Prototype(ids, found)

    def _means(self, images: ImagesOf, embed: Embed) -> npt.NDArray[np.float64]:
        """[P, D] unit vectors: mean features by class, ascending."""
        means = []
        for labels in self._groups():
            parts = [self._images_of(label, images) for label in labels]
            features = np.asarray(embed(np.concatenate(parts)), np.float64)
            places = np.cumsum([0, *map(len, parts)])[:-1]
            means.append(np.add.reduceat(features, places) / np.array([*map(len, parts)])[:, None])
        found = np.concatenate(means)
        wrong = np.flatnonzero(~np.isfinite(found).all(1))
        if len(wrong):
            label = sorted(self.prototypes)[wrong[0]]
            raise TrainingError(f"the network's features of class {label} are not finite: lower --learning-rate")
        unit: npt.NDArray[np.float64] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return unit

    def _groups(self) -> Iterator[list[int]]:
        """Classes, ascending, as many at a time as have about `TOGETHER` images."""
        group: list[int] = []
        for label in sorted(self.prototypes):
            if sum(len(self.prototypes[each].ids) for each in [*group, label]) > TOGETHER:
                yield group
                group = []
            group.append(label)
        yield group

    def _images_of(self, label: int, images: ImagesOf) -> Frame:
        prototype = self.prototypes[label]
        if prototype.images is None:
            prototype.images = images(prototype.ids)
        return prototype.images

    def _merge(self, window: Window, means: npt.NDArray[np.float64]) -> Merged:
        classes = sorted(self.prototypes)
        rows = {label: row for row, label in enumerate(classes)}
        similarity = means @ means.T
        level = max(1 - 1 / len(classes) - self._share, 0.0)  # 1 / P: each class's similarity to itself
        threshold = float(np.quantile(similarity, level))
        merges = []
        for label in range(max(self.merged, window.first, 1), window.last):
            row = rows.get(label, 0)
            if not row:  # no prototype, or nothing is older
                continue
            older = int(similarity[row, :row].argmax())
            if similarity[row, older] > threshold:
                target = self.mapping.get(classes[older], classes[older])
                self.mapping[label] = target
                self._relabel(window, label, target)
                merges.append((label, target))
        return Merged(len(classes), level, threshold, merges)

    def _relabel(self, window: Window, label: int, target: int) -> None:
        """Where the class was found, whatever label its frames have had; the reference counts from `merged` here."""
        start, end = window.starts[label - window.first : label - window.first + 2]
        self._long.relabel((self._long.ids >= start) & (self._long.ids < end), target)
