"""No leakage from training to evaluation: whole videos on one side, runs evaluated on clips they were not trained on.

Axes: N rows, K classes.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from egotools.errors import TableError
from egotools.tables.by_time import FILE
from egotools.tables.table import Mask, Table, Texts, numbers_of
from egotools.training.learned_from import LearnedFrom
from egotools.types import IntArray

KEEP_APART = "; --group {} keeps them apart"
GROUP_COLUMNS = ("recording", "video")  # columns of clips that look alike, the wider first


@dataclass(frozen=True)
class Shared:
    """How many groups of a column are evaluated, and how many of these are trained on, too."""

    column: str
    both: int
    evaluated: int

    def __str__(self) -> str:
        what = f"{called(self.column)}s" if self.column in (*GROUP_COLUMNS, FILE) else f"values of {self.column!r}"
        return f"{self.both} of {self.evaluated} evaluated {what} are on both sides"


def called(column: str | None) -> str:
    """A group, as a protocol names it: by its column, or the clip."""
    return "file" if column == FILE else column or "clip"


def shared(table: Table, column: str, train: Mask, test: Mask) -> Shared:
    """Of a column's values those on both sides; rows where it says nothing are of no group."""
    values = table.column(column)
    trained, evaluated = (set(values[rows].tolist()) - {""} for rows in (train, test))
    return Shared(column, len(trained & evaluated), len(evaluated))


def shared_remarks(table: Table, label: str, train: Mask, test: Mask, *, hint: str = "") -> list[str]:
    """A remark where clips of one video (or recording) are on both sides, which flatters every feature.

    None where the video is the label, which clips are to be known by. `hint` is what to do, `{}` being the column.
    """
    found = (shared(table, column, train, test) for column in _videos(table, label))
    both = [each for each in found if each.both]
    return [f"{each}, which flatters features" + hint.format(each.column) for each in both[:1]]


def voting_remarks(table: Table, label: str, *, does: str = "vote on") -> list[str]:
    """A remark where clips of one video vote on each other (or what else each `does`) and a class is in several."""
    numbers = numbers_of(table.column(label))[1]
    for column in _videos(table, label):
        clips = Counter(value for value, _ in {*zip(table.column(column).tolist(), table.ids.tolist(), strict=True)})
        if (
            any(count > 1 for value, count in clips.items() if value)
            and not lonely(numbers, table.column(column)).all()
        ):
            return [f"clips of one {column} {does} each other, which flatters features{KEEP_APART.format(column)}"]
    return []


def _videos(table: Table, label: str) -> list[str]:
    """The columns of clips that look alike; none where one of them is the label."""
    columns = [column for column in GROUP_COLUMNS if column in table.labels]
    return [] if label in columns else columns


def default_group(table: Table, labels: IntArray) -> str | None:
    """The column whose groups are held out whole: `recording`, else `video`, if a class is in several of them.

    Windows of one video look alike: on both sides of a hold-out they would flatter every feature. A class that is in
    one video only cannot be evaluated so, and is no reason to divide the videos of the others.
    """
    for column in GROUP_COLUMNS:
        if column in table.labels and not lonely(labels, table.column(column)).all():
            return column
    return None


def lonely(labels: IntArray, values: Texts) -> Mask:
    """Which classes [K] are in one group only, by the groups' names [N]; a row without a group is one of its own."""
    numbers = numbers_of(values)[1]
    own = len(values) + np.arange(len(values))
    return lonely_classes(labels, np.where(np.asarray(values == "", bool), own, numbers))


def lonely_classes(labels: IntArray, groups: IntArray) -> Mask:
    """Which classes [K] are in one group only, of rows' classes and groups [N]."""
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    alone: Mask = np.bincount(pairs[0], minlength=int(labels.max()) + 1) < 2
    return alone


def unlearned(
    table: Table,
    learned: LearnedFrom | None,
    rows: Mask,
    *,
    group: str | None = None,
    all_rows: bool = False,
) -> tuple[Mask, list[str]]:
    """Of the rows [N] to evaluate those that a run was not trained on, and a remark on the others.

    Args:
        table: what the rows are of.
        learned: what the run was trained on; None: it does not say.
        rows: which to evaluate.
        group: a column whose groups are left out whole if the run was trained on a row of them.
        all_rows: whether to evaluate all of them anyway.

    Raises:
        TableError: it was trained on all of them.
    """
    if learned is None:
        return rows, ["the run, of an earlier version, does not say which clips it was trained on: some may be these"]
    known = learned.has(table)
    if group is not None:
        values = table.column(group)
        groups = set(values[known].tolist()) - {""}
        known = known | np.fromiter((value in groups for value in values.tolist()), bool, len(table))
    count, whose = int((known & rows).sum()), "the run was trained on them"
    if column := group or learned.group:
        whose += f", or on others of their {called(column)}"
    if not count:
        return rows, []
    if all_rows:
        return rows, [f"{count} of {int(rows.sum())} evaluated rows are no test: {whose}"]
    if count == rows.sum():
        raise TableError(f"none of {count} rows can be evaluated: {whose}; --all-rows evaluates them anyway")
    return rows & ~known, [f"{count} of {int(rows.sum())} rows left out: {whose} (--all-rows evaluates them, too)"]
