"""Which rows are for training and which for evaluation. Axes: N rows, K classes."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from egotools.config import option
from egotools.errors import TableError
from egotools.evaluate.leakage import GROUP_COLUMNS, KEEP_APART, called, shared, shared_remarks
from egotools.tables.by_time import FILE
from egotools.tables.table import Mask, Table, Texts, numbers_of
from egotools.texts import alike, split_name
from egotools.types import IntArray


@dataclass(frozen=True)
class Partition:
    """Which rows are for training, and which for evaluation."""

    group: str | None = option(None, "Manifest column (video, person) whose rows are never on both sides.")
    train_split: str | None = option(None, "Split to train on; by default train.")
    test_split: str | None = option(None, "Split to evaluate on; by default test, else val.")

    def __post_init__(self) -> None:
        if self.train_split is not None and self.train_split == self.test_split:
            raise ValueError(f"--train-split and --test-split are both {self.train_split!r}")

    def columns(self, label: str) -> tuple[str, ...]:
        """The manifest columns that an evaluation of a label needs."""
        return (label, *GROUP_COLUMNS, *([] if self.group is None else [self.group]))


AS_IN_MANIFEST = Partition()


def in_whole_files(table: Table, label: str, partition: Partition) -> tuple[Table, Partition]:
    """Rows that are labeled by time, in groups that have all rows of a file; other tables and groups as they are.

    Neighboring rows look alike, so the rows of a file are never on both sides. Without a group it is `recording`, else
    `video`, if every file has one of them, else the file itself. Rows without a group are in that of their file.

    Args:
        table: labeled.
        label: the column that is predicted.
        partition: what was asked for.

    Raises:
        TableError: the group that was asked for divides a file.
    """
    asked = partition.group
    if FILE not in table.labels or (asked is None and label in (*GROUP_COLUMNS, FILE)):
        return table, partition  # whichever clip shows which video: only clips are kept apart
    files = np.where(np.asarray(table.labels[FILE] != "", bool), table.labels[FILE], table.ids)
    there = [name for name in GROUP_COLUMNS if name in table.labels and (table.labels[name] != "").any()]
    for column in [*there, FILE] if asked is None else [asked]:
        own = table.column(column)
        whole = np.where(np.asarray(own != "", bool), own, files)
        if not (divided := _divided(files, whole)):
            break
        if asked is not None:
            raise TableError(
                f"--group {asked}: the rows of {divided} are in several groups, and so would be on both sides; name a"
                f" column with one value a video, or {FILE!r}, the file itself"
            )
    said = () if asked is not None else (f"rows of one {called(column)} are kept together (--group {column})",)
    labels = {**{name: table.labels[name] for name in table.labels}, column: whole}
    return replace(table, labels=labels, remarks=(*table.remarks, *said)), replace(partition, group=column)


def _divided(files: Texts, groups: Texts) -> str:
    """A file whose rows [N] are in several groups; empty if there is none."""
    names, numbers = numbers_of(files)
    pairs = np.unique(np.stack([numbers, numbers_of(groups)[1]]), axis=1)
    several = np.flatnonzero(np.bincount(pairs[0]) > 1)
    return names[several[0]] if len(several) else ""


@dataclass(frozen=True, eq=False)
class Sides:
    """The rows [N] for training and for evaluation, the names of their splits, and remarks."""

    train: Mask
    test: Mask
    train_name: str
    test_name: str
    left_out: Mask  # training rows whose group is evaluated
    remarks: tuple[str, ...] = ()

    @property
    def protocol(self) -> str:
        return f"trained on {self.train_name}, evaluated on {self.test_name}"


def sides(table: Table, partition: Partition, *, label: str, is_pairwise: bool = False) -> Sides | None:
    """The rows for training and for evaluation by the manifest's splits; None if it has none.

    With a group, training rows that share one with an evaluated row are left out. Without, a remark says how many
    videos are on both sides.

    Args:
        table: labeled.
        partition: what was asked for.
        label: the column that is predicted.
        is_pairwise: for what compares row with row and leaves out rows of one group by itself: none are left out here.

    Raises:
        TableError: a split without rows, or fewer than two classes left to train on.
    """
    there = sorted(set(table.split.tolist()) - {""})
    if not there and partition.train_split is None and partition.test_split is None:
        return None
    train = split_name(partition.train_split or "train")
    test = split_name(partition.test_split or ("test" if "test" in there or "val" not in there else "val"))
    for name in (train, test):
        if name not in there:
            has = ", ".join(there) or "none"
            raise TableError(f"no labeled clip with features has the split {name!r}; choose from {has}")
    found = Sides(is_in(table, train), is_in(table, test), train, test, np.zeros(len(table), bool))
    if partition.group is None:
        remarks = shared_remarks(table, label, found.train, found.test, hint=KEEP_APART)
        return replace(found, remarks=tuple(remarks))
    both = shared(table, partition.group, found.train, found.test)
    if is_pairwise and both.both:
        return replace(found, remarks=(f"{both}: rows of one {called(partition.group)} are not compared",))
    return _apart(table, found, partition.group, label) if both.both else found


def _apart(table: Table, found: Sides, group: str, label: str) -> Sides:
    """Without the training rows that share a group with an evaluated row."""
    groups_of_rows, both = groups(table, group), shared(table, group, found.train, found.test)
    left_out = found.train & np.isin(groups_of_rows, groups_of_rows[found.test])
    train = found.train & ~left_out
    classes = len(set(table.column(label)[train].tolist()))
    if classes < 2:
        raise TableError(
            f"{both} ({found.train_name}, {found.test_name}): without their rows {classes or 'no'} "
            f"class{'' if classes == 1 else 'es'} would be left to train on; give the manifest splits that keep each"
            f" {called(group)} on one side ('egotools manifest split --by {group}')"
        )
    said = f"{both}: {int(left_out.sum())} rows of {found.train_name} left out, {int(train.sum())} trained on"
    return replace(found, train=train, left_out=left_out, remarks=(said,))


def to_evaluate(table: Table, test_split: str | None, *, all_rows: bool = False) -> tuple[str, Mask]:
    """Which split a fitted model is evaluated on, and its rows [N]: `test`, else `val`; all if there is neither.

    With `all_rows` all, unless a split is told. The name is empty where it is all rows.

    Raises:
        TableError: the split has no rows.
    """
    name = test_split or next((each for each in ("test", "val") if not all_rows and is_in(table, each).any()), "")
    rows = is_in(table, name) if name else np.ones(len(table), bool)
    if not rows.any():
        raise TableError(f"no labeled clip with features has the split {name!r}")
    return name, rows


def is_in(table: Table, split: str) -> Mask:
    """The rows [N] of a split."""
    return np.asarray(table.split == split_name(split), bool)


def unused(table: Table, used: Mask) -> list[str]:
    """Remarks on the rows of each split that are used neither for training nor for evaluation."""
    counts = Counter(table.split[~used].tolist())
    whose = {split: f"of the split {split!r}" if split else "without a split" for split in counts}
    return [
        f"{counts[split]} {'row' if counts[split] == 1 else 'rows'} {whose[split]}"
        f" {'is' if counts[split] == 1 else 'are'} neither trained on nor evaluated"
        for split in sorted(counts)
    ]


def alike_groups(table: Table, column: str | None) -> list[str]:
    """Remarks on groups that case alone tells apart, which are kept apart, too, and on rows that name no group."""
    if column is None:
        return []
    values = table.column(column).tolist()
    empty = values.count("")
    said = [f"{empty} of {len(values)} rows have no {column!r}: their clips are groups of their own"] if empty else []
    return [*alike(set(values), f"values of {column!r}"), *said]


def groups(table: Table, column: str | None) -> IntArray:
    """Numbers [N]: rows of one number are kept together. The clip, or what a column says where it says anything."""
    names: Texts = table.ids
    if column is not None:
        pairs = zip(table.column(column).tolist(), names.tolist(), strict=True)
        names = np.array([f"group {value}" if value else f"clip {id}" for value, id in pairs], dtype=object)
    return numbers_of(names)[1]


def hold_out(labels: IntArray, groups: IntArray, *, share: float, generator: np.random.Generator) -> Mask:
    """Rows [N] to hold out: whole groups, about `share` of every class, chosen at random.

    A class keeps at least one group on the training side; one that has several groups has at least one held out
    where the others allow it. Classes with fewest groups choose first.
    """
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    order = generator.permutation(pairs.shape[1])
    left = np.bincount(pairs[0], minlength=labels.max() + 1)  # groups of each class on the training side
    by_class = np.split(pairs[1, order[np.argsort(pairs[0, order], kind="stable")]], np.cumsum(left)[:-1])
    wanted = np.bincount(labels) * share
    held_rows = np.zeros(len(wanted))
    contents = _contents(labels, groups)
    held: set[int] = set()
    for class_number in np.argsort(left, kind="stable").tolist():
        for group in by_class[class_number].tolist():
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
