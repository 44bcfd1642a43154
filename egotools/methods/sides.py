"""Which clips a run on cached features learns from, and which it is evaluated on. Axes: C clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egotools.evaluate.leakage import unlearned
from egotools.evaluate.splits import to_evaluate
from egotools.tables.table import Mask, table_of_clips
from egotools.training.learned_from import LearnedFrom
from egotools.types import Clip

TRAIN, VAL, TEST = "train", "val", "test"


def to_learn_from(splits: Sequence[str]) -> tuple[Mask, Mask, list[str]]:
    """The clips [C] to train on and to validate on, and remarks.

    It is the split train, validated on val. A manifest without the split train is a small one, to try things out: all
    of its clips are trained on, and nothing is validated.
    """
    names = np.array(splits, object)
    if TRAIN not in splits:
        told = f"no clip has the split {TRAIN!r}: trained on all, and nothing is validated"
        return np.ones(len(names), bool), np.zeros(len(names), bool), [told]
    val = np.asarray(names == VAL, bool)
    told = f"no clip has the split {VAL!r}: nothing is validated, and the last epoch is kept"
    return np.asarray(names == TRAIN, bool), val, [] if val.any() else [told]


def to_test_on(
    clips: Sequence[Clip],
    learned: LearnedFrom | None,
    split: str | None,
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
        split: which is evaluated; None: test, else val, else all.
        all_rows: whether clips that it was trained on are evaluated, too.
        chose_on_val: whether the run's epoch was chosen by the split val.

    Raises:
        TableError: the split has no clips.
    """
    table = table_of_clips(clips)
    name, rows = to_evaluate(table, split, all_rows=all_rows)
    knows_all = learned is not None and bool(learned.has(table)[rows].all())
    kept, remarks = unlearned(table, learned, rows, all_rows=all_rows or knows_all)
    if name == VAL and not split:
        remarks = [*remarks, "no clip to evaluate has the split test: val is evaluated"]
    if name == VAL and chose_on_val:
        remarks = [*remarks, "the best epoch was chosen on val, which flatters it there"]
    return name, kept, remarks
