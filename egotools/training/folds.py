"""Which clips to train and to test on: splits, or folds of a JSON file. Axes: N clips."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.errors import TableError
from egotools.tables.table import Table
from egotools.texts import composed, named, split_name
from egotools.types import IntArray

NAMED = 3  # clips that a message names

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Fold:
    """Numbers of the clips to train and to test on; `name` is empty where there is only one fold."""

    name: str
    train: IntArray
    test: IntArray


@dataclass(frozen=True)
class FoldFile:
    """Lists of the ids that each fold tests on, at a key of a JSON file: `FILE:KEY`."""

    path: Path
    key: str

    @classmethod
    def parse(cls, text: str) -> "FoldFile":
        path, colon, key = text.rpartition(":")
        if not colon or not path or not key:
            raise ValueError(f"--folds is FILE.json:KEY, not {text!r}")
        return cls(Path(path), key)

    def ids(self) -> list[list[str]]:
        """The ids of each fold.

        Raises:
            TableError: no such file or key, or no lists of ids there.
        """
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TableError(f"{self.path}: not readable as JSON: {error}") from error
        if not isinstance(content, dict) or self.key not in content:
            keys = ", ".join(content) if isinstance(content, dict) else "no keys"
            raise TableError(f"{self.path} has no {self.key!r}; choose from {keys}")
        lists = content[self.key]
        if not isinstance(lists, list) or len(lists) < 2 or not all(isinstance(ids, list) for ids in lists):
            raise TableError(f"{self.path}: {self.key!r} is no list of two or more lists of ids")
        return [[composed(str(id)) for id in ids] for ids in lists]


def by_split(table: Table, scores: Scores, column: str, *, test_split: str = "val") -> Fold:
    """The clips of the splits "train" and `test_split`.

    Raises:
        TableError: a split without clips, or with one that has no score.
    """
    if split_name(test_split) == "train":
        raise TableError("the split 'train' is what is trained on: evaluate another --split")
    sides = []
    for name in ("train", test_split):
        rows = np.flatnonzero(table.split == split_name(name))
        if len(rows) < 2:
            has = ", ".join(sorted(set(table.split.tolist()) - {""})) or "none"
            raise TableError(
                f"{len(rows)} clips with features are in the split {name!r} (the manifest has {has}); give the manifest"
                " splits ('egotools manifest split'), or --folds FILE.json:KEY"
            )
        _check_scored(table, scores, rows, column, f"in the split {name!r}")
        sides.append(rows)
    return Fold("", sides[0], sides[1])


def by_folds(table: Table, scores: Scores, column: str, folds: FoldFile) -> tuple[list[Fold], list[str]]:
    """A fold for each list of ids, tested on what was trained on all others; and remarks on ids without features.

    Raises:
        TableError: a fold without clips, or clips without a score.
    """
    row_of = {id: row for row, id in enumerate(table.ids.tolist())}
    _check_scored(table, scores, np.arange(len(table)), column, "among those of the folds")
    lists = folds.ids()
    absent = [id for ids in lists for id in ids if id not in row_of]
    found = []
    for number, ids in enumerate(lists):
        test = np.unique([row_of[id] for id in ids if id in row_of]).astype(np.int64)
        if len(test) < 2:
            raise TableError(f"{folds.path}: of fold {number} of {folds.key!r} {len(test)} clips have features")
        found.append(Fold(f"fold-{number}", np.setdiff1d(np.arange(len(table)), test), test))
    remarks = [f"{_named(absent)} of {folds.key!r} not among the clips with features: left out"] if absent else []
    return found, remarks


def _check_scored(table: Table, scores: Scores, rows: IntArray, column: str, where: str) -> None:
    bare = table.ids[rows[np.isnan(scores[rows])]].tolist()
    if bare:
        raise TableError(f"{_named(bare)} {where} have no {column}: give them one, or remove them from the manifest")


def _named(ids: Sequence[Any]) -> str:
    return f"{len(ids)} {'clip' if len(ids) == 1 else 'clips'} ({named([*map(repr, ids)], NAMED)})"
