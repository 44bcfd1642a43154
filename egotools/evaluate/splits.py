"""Which rows are learned from and which are judged. Axes: N rows, K classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from egotools.config import option
from egotools.errors import TableError
from egotools.tables import Mask, Table, Texts, numbers_of
from egotools.texts import alike, split_name
from egotools.types import IntArray


@dataclass(frozen=True)
class Partition:
    """Which rows may be learned from, and which are judged."""

    group: str | None = option(None, "Manifest column (video, person) whose rows are never on both sides.")
    train_split: str | None = option(None, "Split to learn from; 'train' unless said.")
    test_split: str | None = option(None, "Split to judge; 'test' unless said, else 'val'.")

    def __post_init__(self) -> None:
        if self.train_split is not None and self.train_split == self.test_split:
            raise ValueError(f"--train-split and --test-split are both {self.train_split!r}")

    def columns(self, label: str) -> tuple[str, ...]:
        """The manifest columns that judging a label takes."""
        return (label, "video", *([] if self.group is None else [self.group]))


AS_IN_MANIFEST = Partition()


@dataclass(frozen=True, eq=False)
class Sides:
    """The rows [N] to learn from and to judge, and what their splits are called."""

    train: Mask
    test: Mask
    train_name: str
    test_name: str

    @property
    def protocol(self) -> str:
        return f"learned from {self.train_name}, judged on {self.test_name}"


def sides(table: Table, partition: Partition) -> Sides | None:
    """The rows to learn from and to judge by the manifest's splits; None when it has none.

    Raises:
        TableError: a split without rows.
    """
    there = sorted(set(table.split.tolist()) - {""})
    if not there and partition.train_split is None and partition.test_split is None:
        return None
    train = split_name(partition.train_split or "train")
    test = split_name(partition.test_split or ("test" if "test" in there or "val" not in there else "val"))
    for name in (train, test):
        if name not in there:
            has = ", ".join(there) or "none"
            raise TableError(f"no labeled clip with features has the split {name!r}; there are: {has}")
    return Sides(is_in(table, train), is_in(table, test), train, test)


def is_in(table: Table, split: str) -> Mask:
    """The rows [N] of a split."""
    return np.asarray(table.split == split_name(split), bool)


def unused(table: Table, used: Mask) -> list[str]:
    """Remarks on the rows of each split that are neither learned from nor judged (nor otherwise of use)."""
    counts = Counter(table.split[~used].tolist())
    whose = {split: f"of the split {split!r}" if split else "without a split" for split in counts}
    return [
        f"{counts[split]} {'row' if counts[split] == 1 else 'rows'} {whose[split]}"
        f" {'is' if counts[split] == 1 else 'are'} neither learned from nor judged"
        for split in sorted(counts)
    ]


def alike_groups(table: Table, column: str | None) -> list[str]:
    """A remark on groups that case alone tells apart: they are kept apart, too."""
    return [] if column is None else alike(set(table.column(column).tolist()), f"values of {column!r}")


def groups(table: Table, column: str | None) -> IntArray:
    """Numbers [N]: rows of one number are kept together. The clip, or what a column says where it says anything."""
    names: Texts = table.groups
    if column is not None:
        pairs = zip(table.column(column).tolist(), names.tolist(), strict=True)
        names = np.array([f"group {value}" if value else f"clip {id}" for value, id in pairs], dtype=object)
    return numbers_of(names)[1]


def default_group(table: Table, labels: IntArray) -> str | None:
    """The column `video` where each class is in two videos at least, so that whole videos can be held out; else None.

    Windows of one video look alike: on both sides of a hold-out they would flatter every feature.
    """
    if "video" not in table.labels:
        return None
    pairs = np.unique(np.stack([labels, groups(table, "video")]), axis=1)
    return "video" if np.bincount(pairs[0]).min() > 1 else None


def hold_out(labels: IntArray, groups: IntArray, *, share: float, generator: np.random.Generator) -> Mask:
    """Rows [N] to hold out: whole groups, about `share` of every class, chosen at random.

    A class keeps at least one group on the learning side; one that has several groups has at least one held out
    where the others allow it. Classes with fewest groups choose first.
    """
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    order = generator.permutation(pairs.shape[1])
    left = np.bincount(pairs[0], minlength=labels.max() + 1)  # groups of each class on the learning side
    wanted = np.bincount(labels) * share
    held_rows = np.zeros(len(wanted))
    contents = _contents(labels, groups)
    held: set[int] = set()
    for class_number in np.argsort(left, kind="stable").tolist():
        for group in pairs[1, order][pairs[0, order] == class_number].tolist():
            classes, counts = contents[group]
            if held_rows[class_number] >= wanted[class_number]:
                break
            if group in held or (left[classes] < 2).any():
                continue
            held.add(group)
            left[classes] -= 1
            held_rows[classes] += counts
    return np.isin(groups, list(held))


def _contents(labels: IntArray, groups: IntArray) -> dict[int, tuple[IntArray, IntArray]]:
    """For each group the classes in it and how many rows of each."""
    by_group = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[by_group])) + 1
    return {int(groups[rows[0]]): np.unique(labels[rows], return_counts=True) for rows in np.split(by_group, starts)}
