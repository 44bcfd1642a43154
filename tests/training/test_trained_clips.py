"""What a run records of the clips it was trained on, and which rows that finds again."""

from __future__ import annotations

import numpy as np
import pytest

from egotools.errors import RunError
from egotools.stores import Recipe
from egotools.tables.table import Table
from egotools.training.learned_from import LearnedFrom, keep, read
from egotools.training.runs import Run


def table(ids, **labels):
    columns = {name: np.array(values, object) for name, values in labels.items()}
    return Table(
        np.array(ids, object), np.zeros((len(ids), 1), np.float32), np.zeros((len(ids), 2)), columns, np.array([""])
    )


WHOLE = table(["a", "a", "b", "c", "d"], video=["v2", "v2", "v1", "", "v3"])


def test_clips_come_once_in_their_order_and_groups_sorted_without_the_empty_one():
    rows = np.array([True, True, True, True, False])
    assert LearnedFrom.of(WHOLE, rows, "video") == LearnedFrom(("a", "b", "c"), "video", ("v1", "v2"))
    assert LearnedFrom.of(WHOLE, rows) == LearnedFrom(("a", "b", "c"))


def test_rows_are_found_by_clip_and_by_group_in_other_tables():
    learned = LearnedFrom(("a",), "video", ("v1",))
    other = table(["a", "x", "y", "z"], video=["v9", "v1", "", "v2"])
    assert learned.has(other).tolist() == [True, True, False, False]
    without_column = table(["a", "x"], person=["v1", "v1"])
    assert learned.has(without_column).tolist() == [True, False]
    assert LearnedFrom(("a",), None, ("v1",)).has(other).tolist() == [True, False, False, False]
    assert not LearnedFrom(()).has(other).any()


def test_a_run_gives_back_what_it_was_told(tmp_path):
    run = Run(tmp_path, Recipe({}))
    assert read(run) is None  # of an earlier version
    folds = {"fold-0": LearnedFrom(("ä", "b"), "video", ("v1",)), "fold-1": LearnedFrom(())}
    keep(run, folds)
    assert read(run, ["fold-1", "fold-0"]) == folds


def test_other_folds_and_other_shapes_are_refused(tmp_path):
    run = Run(tmp_path, Recipe({}))
    keep(run, {"": LearnedFrom(("a",))})
    with pytest.raises(RunError, match="fold-0"):
        read(run, ["fold-0"])
    for text in ('{"": {"ids": ["a"], "group": null}}', '{"": {"ids": [1], "group": null, "groups": []}}', "["):
        run.write("learned.json", text)
        with pytest.raises(RunError, match=r"learned\.json cannot be read"):
            read(run)
