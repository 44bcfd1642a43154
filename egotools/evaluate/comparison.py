"""Which rows are compared with which, by votes and in retrieval. Axes: N queries, M rows of the gallery."""

from dataclasses import dataclass

import numpy as np

from egotools.errors import TableError
from egotools.evaluate.classification import class_remark, numbered
from egotools.evaluate.leakage import called, voting_remarks
from egotools.evaluate.splits import Partition, alike_groups, groups, in_whole_files, sides, unused
from egotools.tables.table import Mask, Table
from egotools.types import FloatArray, IntArray


@dataclass(frozen=True)
class Words:
    """What remarks and errors call a comparison."""

    does: str  # rows of the gallery to a query
    could: str  # rows of the gallery, of an error
    peer: str  # what a query without a row of its class lacks


VOTE = Words("vote on", "could vote", "a peer that votes")


@dataclass(frozen=True, eq=False)
class Compared:
    """The labeled rows that are compared: the queries with the gallery, never with rows of their own group."""

    table: Table
    classes: tuple[str, ...]  # K, of all rows
    labels: IntArray  # of all rows
    groups: IntArray  # of all rows
    queries: Mask  # N of them
    gallery: Mask  # M of them; the same rows where there are no splits
    protocol: str
    remarks: tuple[str, ...]
    words: Words
    group: str | None

    @property
    def are_apart(self) -> bool:
        """Whether queries and gallery are different rows, by splits."""
        return self.queries is not self.gallery

    def own(self) -> tuple[IntArray, IntArray]:
        """The groups of the queries [N] and of the gallery [M]."""
        return self.groups[self.queries], self.groups[self.gallery]

    def values(self) -> tuple[FloatArray, FloatArray]:
        """The features of the queries [N, D] and of the gallery [M, D]; one array where they are the same rows."""
        if not self.are_apart:
            return self.table.values, self.table.values
        return self.table.values[self.queries], self.table.values[self.gallery]

    def check(self, similarity: FloatArray) -> None:
        """Refuses queries that found nobody, of similarities [N, k].

        Raises:
            TableError: names the first.
        """
        lost = np.isneginf(similarity[:, 0])
        if lost.any():
            id = str(self.table.only(self.queries).ids[lost.argmax()])
            raise TableError(f"clip {id!r}: all rows that {self.words.could} are of its own {self.group!r}")

    def candidates(self) -> tuple[IntArray, IntArray]:
        """For each query [N] the gallery's rows of other groups, and how many of them are of its class."""
        labels, gallery = self.labels[self.queries], self.labels[self.gallery]
        mine, theirs = self.own()
        count = 1 + int(max(mine.max(), theirs.max()))
        in_group = np.bincount(theirs, minlength=count)
        of_class = np.bincount(gallery, minlength=len(self.classes))
        cells, cell = np.unique(np.concatenate([gallery * count + theirs, labels * count + mine]), return_inverse=True)
        in_both = np.bincount(cell[: len(gallery)], minlength=len(cells))[cell[len(gallery) :]]
        return len(gallery) - in_group[mine], of_class[labels] - in_both

    def unreachable(self) -> list[str]:
        """A remark on classes with queries that no row of another group in the gallery shares: these are errors."""
        alone = self.candidates()[1] == 0
        if not alone.any():
            return []
        names = [self.classes[number] for number in np.unique(self.labels[self.queries][alone])]
        what = f"cannot be found, {int(alone.sum())} rows without {self.words.peer} count as errors"
        return [class_remark(names, what)]


def compared(table: Table, label: str, partition: Partition, words: Words) -> Compared:
    """With splits the evaluated rows are compared with the training rows; without any, all rows with each other.

    Raises:
        TableError: an unknown label or split, one class only, or rows that are all of one group.
    """
    table, partition = in_whole_files(table.labeled(label), label, partition)
    remarks = [*table.remarks, *alike_groups(table, partition.group)]
    splits = sides(table, partition, label=label, is_pairwise=True)
    if splits is not None:
        remarks += [*splits.remarks, *unused(table, splits.train | splits.test)]
        table = table.only(splits.train | splits.test)
        splits = sides(table, partition, label=label, is_pairwise=True)
    elif partition.group is None:
        remarks += voting_remarks(table, label, does=words.does)
    everyone = np.ones(len(table), bool)
    classes, labels = numbered(table.labels[label])
    group_of = groups(table, partition.group)
    if group_of.min() == group_of.max():
        nobody = f"nobody is left to {words.does.partition(' ')[0]}"
        raise TableError(f"all {len(table)} rows are of one {called(partition.group)}: {nobody}")
    return Compared(
        table,
        classes,
        labels,
        group_of,
        everyone if splits is None else splits.test,
        everyone if splits is None else splits.train,
        f"leave one {called(partition.group)} out" if splits is None else splits.protocol,
        tuple(remarks),
        words,
        partition.group,
    )
