"""The linear support vector machine: scikit-learn's, on groups that are kept whole."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from egotools.errors import TableError
from egotools.evaluate.svm import SVM, svm
from egotools.tables.table import Table


def make_table(rng: np.random.Generator, *, classes: int = 3, split: bool = True, clips: int = 60) -> Table:
    """Two clips a video; the first two thirds train."""
    labels = np.arange(clips) // 2 % classes
    values = 5 + np.eye(classes, 8)[labels] + 0.5 * rng.normal(size=(clips, 8))
    ids = np.array([f"c{number:03}" for number in range(clips)], dtype=object)
    columns = {
        "label": np.array([f"l{number}" for number in labels], dtype=object),
        "video": np.array([f"v{number // 2}" for number in range(clips)], dtype=object),
    }
    splits = np.where(np.arange(clips) < clips * 2 // 3, "train", "test").astype(object) if split else [""] * clips
    return Table(ids, values.astype(np.float32), np.zeros((clips, 2)), columns, np.array(splits, dtype=object))


@pytest.mark.parametrize("classes", [2, 3])
def test_choice_and_predictions_are_those_of_scikit_learn(rng: np.random.Generator, classes: int) -> None:
    table, grid = make_table(rng, classes=classes), (0.001, 0.1, 10.0)
    found = svm(table, "label", SVM(c=grid, folds=4, seeds=1), seed=7)
    train = np.asarray(table.split == "train", bool)
    draw = int(np.random.default_rng([7, 0]).integers(2**31))
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LinearSVC(dual="auto", max_iter=10_000, random_state=0)),
        {"linearsvc__C": list(grid)},
        cv=StratifiedGroupKFold(4, shuffle=True, random_state=draw),
    )
    x, y = table.values.astype(np.float64), table.labels["label"]
    search.fit(x[train], y[train], groups=np.array(table.labels["video"][train].tolist()))
    (seed,) = found.figures["by_seed"]
    assert seed["c"] == search.best_params_["linearsvc__C"]
    predicted = np.array(found.predictions.classes)[found.predictions.predicted]
    assert predicted.tolist() == search.predict(x[~train]).tolist()
    assert ((found.predictions.scores > 0) & (found.predictions.scores < 1)).all()
    assert len(seed["cross_validation"]) == 3


def test_without_splits_whole_videos_are_held_out_for_several_seeds(rng: np.random.Generator) -> None:
    found = svm(make_table(rng, split=False), "label", SVM(seeds=2))
    assert found.figures["protocol"] == "25% held out, video kept whole"
    assert (found.figures["seeds"], found.figures["accuracy"] > 0.5) == (2, True)
    videos, seeds = found.predictions.rows.labels["video"], np.array(found.predictions.details["seed"])
    assert all(
        count == 2 for seed in "01" for count in np.unique(videos[seeds == seed].astype(str), return_counts=True)[1]
    )


def test_rows_of_one_group_only_leave_the_middle_c(rng: np.random.Generator) -> None:
    table = make_table(rng, clips=6, classes=2)  # a video a class in train: every fold leaves one class only
    found = svm(table, "label", SVM(c=(1.0, 0.1, 0.01)))
    assert {entry["c"] for entry in found.figures["by_seed"]} == {0.1}


def test_what_cannot_be_is_refused(rng: np.random.Generator) -> None:
    for words, says in (({"c": (0.0,)}, "--c must be"), ({"folds": 1}, "--folds must be"), ({"seeds": 0}, "--seeds")):
        with pytest.raises(ValueError, match=says):
            SVM(**words)  # type: ignore[arg-type]
    with pytest.raises(TableError, match="all 60 labels are"):
        svm(make_table(rng, classes=1), "label", SVM())
