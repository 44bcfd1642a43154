"""What clips are labeled with, where classes are learned from videos: columns of the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from egotools.errors import EgotoolsError, TrainingError
from egotools.evaluate.classification import class_remark
from egotools.methods.from_video import of_splits
from egotools.methods.usable import NAMED, Usable
from egotools.texts import counted, named, tidy
from egotools.types import Clip


@dataclass(frozen=True, eq=False)
class Learnable:
    """Clips that have every label, those that are only validated on one of a class that is learned."""

    clips: list[Clip]
    classes: Mapping[str, list[str]]  # by label, in alphabetical order: those of the clips to learn from
    remarks: list[str]

    def remarks_on(self, train: Usable) -> list[str]:
        """The remarks, and classes of which no clip is left to learn from."""
        found = list(self.remarks)
        for label, classes in self.classes.items():
            empty = {*classes} - {label_of(each.clip, label) for each in train.found}
            of = f" of {label!r}" if len(self.classes) > 1 else ""
            found += [class_remark(sorted(empty), f"without a clip{of} that could be learned from")] if empty else []
        return found


def learnable(clips: Sequence[Clip], labels: Sequence[str], where: str) -> Learnable:
    """The clips of a manifest that can be learned from and validated on, and the classes.

    Raises:
        TrainingError: no such column, or fewer than two classes.
    """
    there, remarks = list(clips), []
    for label in labels:
        before, there = there, labeled(there, label, where)
        remarks += _left_out(before, there, f"with an empty {label!r} left out")
    learned, held, _ = of_splits(there)
    classes = {label: _classes(learned, label, where) for label in labels}
    known = {label: {*names} for label, names in classes.items()}
    strange = {clip.id for clip in held if any(label_of(clip, label) not in known[label] for label in labels)}
    kept = [clip for clip in there if clip.id not in strange]
    remarks += _left_out(there, kept, "of the split val left out, of classes that are not learned")
    return Learnable(kept, classes, remarks)


def labeled(clips: Sequence[Clip], label: str, where: str, error: type[EgotoolsError] = TrainingError) -> list[Clip]:
    """The clips whose label in a column is not empty.

    Raises:
        EgotoolsError: the manifest has no such column, or no clip a label there; `error` is its kind.
    """
    if not any(label in clip.labels for clip in clips):
        columns = ", ".join(sorted({name for clip in clips for name in clip.labels})) or "none"
        raise error(f"{where}: no column {label!r}; its label columns are: {columns}")
    found = [clip for clip in clips if label_of(clip, label)]
    if not found:
        raise error(f"{where}: no clip has a label in the column {label!r}")
    return found


def label_of(clip: Clip, label: str) -> str:
    """A clip's label in a column, tidy; empty without."""
    return tidy(clip.labels.get(label, ""))


def numbers_of(clips: Usable, classes: Sequence[str], label: str) -> npt.NDArray[np.int64]:
    """The number of each clip's class, [clips]."""
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[label_of(each.clip, label)] for each in clips.found], np.int64)


def _classes(learned: Sequence[Clip], label: str, where: str) -> list[str]:
    classes = sorted({label_of(clip, label) for clip in learned})
    if len(classes) < 2:
        has = f"is {classes[0]!r} for" if classes else "has no label of"
        raise TrainingError(f"{where}: the column {label!r} {has} all clips to learn from: nothing to tell apart")
    return classes


def _left_out(before: Sequence[Clip], after: Sequence[Clip], why: str) -> list[str]:
    kept = {clip.id for clip in after}
    ids = [clip.id for clip in before if clip.id not in kept]
    return [f"{counted(len(ids), 'clip')} {why}: {named(ids, NAMED)}"] if ids else []
