"""Which clips a run was trained on: it is evaluated on others. Axes: N rows."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from egotools.config import options_of, to_json
from egotools.errors import RunError
from egotools.tables.table import Mask, Table
from egotools.training.runs import Run

FILE = "learned.json"


class _Shape(TypedDict):
    ids: list[str]
    group: str | None
    groups: list[str]


@dataclass(frozen=True)
class LearnedFrom:
    """The clips, and, if whole groups were kept on one side, the manifest's column and which groups."""

    ids: tuple[str, ...]
    group: str | None = None
    groups: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Table, rows: Mask, group: str | None = None) -> "LearnedFrom":
        """The rows of a mask [N], grouped by a column or not."""
        named = [] if group is None else table.column(group)[rows].tolist()
        return cls(tuple(dict.fromkeys(table.ids[rows].tolist())), group, tuple(sorted({*named} - {""})))

    def has(self, table: Table) -> Mask:
        """Which rows [N] are of these clips or, where the manifest has the column, of these groups."""
        ids, groups = frozenset(self.ids), frozenset(self.groups)
        found = np.fromiter((id in ids for id in table.ids.tolist()), bool, len(table))
        if self.group is not None and self.group in table.labels:
            values = table.column(self.group).tolist()
            found = found | np.fromiter((value in groups for value in values), bool, len(table))
        return found


NOTHING = LearnedFrom(())


def keep(run: Run, folds: Mapping[str, LearnedFrom]) -> None:
    """Writes what each fold of a run was trained on; a run without folds has one, whose name is empty."""
    run.write(FILE, to_json({fold: options_of(learned) for fold, learned in folds.items()}, indent=None))


def read(run: Run, folds: Collection[str] = ("",)) -> dict[str, LearnedFrom] | None:
    """What each fold of a run was trained on; None where the run does not say, as those of earlier versions do not.

    Raises:
        RunError: the file cannot be read, has another shape, or is of other folds.
    """
    found = stated(run)
    if found is not None and set(found) != set(folds):
        raise RunError(f"{run.path / FILE} cannot be read: it is of the folds {sorted(found)}, not {sorted(folds)}")
    return found


def stated(run: Run) -> dict[str, LearnedFrom] | None:
    """As `read`, whatever the folds are.

    Raises:
        RunError: the file cannot be read or has another shape.
    """
    if not (run.path / FILE).exists():
        return None
    found = run.read(FILE, dict[str, _Shape])
    return {fold: LearnedFrom(tuple(each["ids"]), each["group"], tuple(each["groups"])) for fold, each in found.items()}
