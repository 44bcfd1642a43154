"""Which clips a run on cached features learns from, and which it is evaluated on. Axes: C clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egotools.evaluate.leakage import shared_remarks, unlearned
from egotools.evaluate.splits import to_evaluate
from egotools.tables.table import Mask, table_of_clips
from egotools.training.learned_from import LearnedFrom
from egotools.types import Clip

TRAIN, VAL, TEST = "train", "val", "test"


def to_learn_from(splits: Sequence[str]) -> tuple[Mask, Mask, list[str]]:
    """The clips [C] to train on and to validate on, and remarks.

    It is the split train, or all clips that are not of val or test, validated on val. A manifest of val or test alone
    is a small one, to try things out: all of its clips are trained on, and nothing is validated.
    """
    names = np.array(splits, object)
    others, val = np.asarray((names != VAL) & (names != TEST), bool), np.asarray(names == VAL, bool)
    if TRAIN not in splits and not others.any():
        told = f"no clip has the split {TRAIN!r}: trained on all of {VAL} and {TEST}, and nothing is validated"
        return np.ones(len(names), bool), np.zeros(len(names), bool), [told]
    none = f"no clip has the split {TRAIN!r}: trained on every clip that is not of {VAL} or {TEST}"
    remarks = [] if TRAIN in splits else [none]
    if not val.any():
        remarks.append(f"no clip has the split {VAL!r}: nothing is validated, and the last epoch is kept")
    return np.asarray(names == TRAIN, bool) if TRAIN in splits else others, val, remarks


def to_test_on(
    clips: Sequence[Clip],
    learned: LearnedFrom | None,
    test_split: str | None,
    *,
    all_rows: bool = False,
    chose_on_val: bool = False,
) -> tuple[str, Mask, list[str]]:
    """On which split a run is evaluated, its clips [C], and remarks.

    Those that the run was trained on are left out. A run that was trained on all of them is evaluated on them all the
    same, and the remark says what that is worth.

    Args:
        clips: [C], with tidy splits.
        learned: what the run was trained on; None: it does not say.
        test_split: which is evaluated; None: test, else val, else all.
        all_rows: whether clips that it was trained on are evaluated, too.
        chose_on_val: whether the run's epoch was chosen by the split val.

    Raises:
        TableError: the split has no clips.
    """
    table = table_of_clips(clips)
    name, rows = to_evaluate(table, test_split, all_rows=all_rows)
    knows_all = learned is not None and bool(learned.has(table)[rows].all())
    kept, remarks = unlearned(table, learned, rows, all_rows=all_rows or knows_all)
    if learned is not None and not knows_all:
        remarks = [*remarks, *shared_remarks(table, "", learned.has(table), kept)]
    if name == VAL and not test_split:
        remarks = [*remarks, "no clip to evaluate has the split test: val is evaluated"]
    if name == VAL and chose_on_val:
        remarks = [*remarks, "the best epoch was chosen on val, which flatters it there"]
    return name, kept, remarks
