from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from egotools.errors import TableError
from egotools.evaluate import knn as module
from egotools.evaluate.knn import KNN, knn, nearest, vote
from egotools.evaluate.splits import Partition
from egotools.tables.table import Table


def make_table(
    values: Any, *, ids: list[str] | None = None, split: list[str] | None = None, **labels: list[str]
) -> Table:
    """A table of `values` [N, D]; clips are named a, b, c, ... unless said."""
    values = np.asarray(values, np.float32)
    names = ids or [chr(97 + number) for number in range(len(values))]
    columns = {name: np.array(column) for name, column in labels.items()}
    return Table(np.array(names), values, np.zeros((len(values), 2)), columns, np.array(split or [""] * len(values)))


CIRCLE = [[np.cos(angle), np.sin(angle)] for angle in np.radians([0, 10, 25, 90, 100, 115])]


def test_neighbors_equal_those_of_scikit_learn(rng: np.random.Generator) -> None:
    rows, queries = rng.normal(size=(300, 16)), rng.normal(size=(40, 16))
    found, similarity = nearest(queries, rows, 7)
    distances, expected = (
        NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute").fit(rows).kneighbors(queries)
    )
    assert found.tolist() == expected.tolist()
    np.testing.assert_allclose(similarity, 1 - distances, atol=1e-6)  # float32 sums of 16 products


@pytest.mark.parametrize("deepest", [2048, 10])
def test_a_group_never_finds_its_own_rows_however_large_it_is(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, deepest: int
) -> None:
    monkeypatch.setattr(module, "DEEPEST", deepest)  # 10: every similarity is computed and masked
    monkeypatch.setattr(module, "BLOCK", 50)
    values, groups = rng.normal(size=(120, 8)).astype(np.float32), rng.choice([0, 1, 2], 120, p=[0.8, 0.15, 0.05])
    found, similarity = nearest(values, values, 5, own=(groups, groups))
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    for query in range(120):
        others = np.flatnonzero(groups != groups[query])
        expected = others[np.argsort(-(unit[others] @ unit[query]))[:5]]
        assert found[query].tolist() == expected.tolist()
        np.testing.assert_allclose(similarity[query], unit[expected] @ unit[query], atol=1e-6)


@pytest.mark.parametrize("deepest", [2048, 2])
def test_equally_similar_rows_come_in_their_order_and_missing_ones_last(
    monkeypatch: pytest.MonkeyPatch, deepest: int
) -> None:
    monkeypatch.setattr(module, "DEEPEST", deepest)
    rows = np.float32([[1, 0], [2, 0], [0, 1], [3, 0]])
    found, similarity = nearest(rows, rows, 4, own=(np.arange(4), np.arange(4)))
    assert found.tolist() == [[1, 3, 2, -1], [0, 3, 2, -1], [0, 1, 3, -1], [0, 1, 2, -1]]
    assert similarity[0].tolist() == [1, 1, 0, -np.inf]


def test_a_row_of_zeros_is_similar_to_none() -> None:
    _, similarity = nearest(np.zeros((1, 2), np.float32), np.float32([[1, 0], [0, 1]]), 2)
    assert similarity.tolist() == [[0, 0]]


def test_the_vote_equals_its_definition(rng: np.random.Generator) -> None:
    labels, neighbors = rng.integers(0, 4, 30), rng.integers(-1, 30, (9, 6))
    similarity = np.where(neighbors < 0, -np.inf, rng.uniform(-1, 1, (9, 6)))
    predicted, scores = vote(labels, neighbors, similarity, classes=4, temperature=0.3)
    for query in range(9):
        sums = [0.0] * 4
        for row, cosine in zip(neighbors[query], similarity[query], strict=True):
            if row >= 0:
                sums[labels[row]] += np.exp(cosine / 0.3)
        assert predicted[query] == np.argmax(sums)
        assert scores[query] == pytest.approx(max(sums) / sum(sums))


def test_a_cold_temperature_listens_to_the_nearest_and_does_not_overflow() -> None:
    arguments = (np.array([0, 1, 1]), np.array([[0, 1, 2]]), np.array([[0.9, 0.8, 0.8]]))
    assert vote(*arguments, classes=2, temperature=1e-4)[0].tolist() == [0]
    assert vote(*arguments, classes=2, temperature=1.0)[0].tolist() == [1]


def test_without_a_split_every_clip_is_judged_by_the_others() -> None:
    table = make_table(CIRCLE, label=["x", "x", "x", "y", "y", "y"])
    result = knn(table, "label", KNN(k=(1,)))
    assert result.figures["accuracy"] == 1.0
    assert result.figures["protocol"] == "leave one clip out"
    assert result.figures["majority"] == result.figures["chance"] == 0.5
    assert [json.loads(ids) for ids in result.predictions.details["neighbors"]] == [
        ["b"],
        ["a"],
        ["b"],
        ["e"],
        ["d"],
        ["e"],
    ]


def test_all_windows_of_a_clip_are_left_out_together() -> None:
    table = make_table(CIRCLE, ids=["a", "a", "b", "c", "c", "c"], label=["x", "x", "x", "y", "y", "y"])
    result = knn(table, "label", KNN(k=(1,)))
    assert result.figures["classes"][1]["recall"] == 0.0  # clip c is the only one of its class
    assert result.remarks == ("1 class cannot be found, 3 rows without a peer that votes count as errors: 'y'",)


def test_groups_are_left_out_and_rows_without_one_are_their_own() -> None:
    table = make_table(CIRCLE, label=["x", "x", "x", "y", "y", "y"], person=["p", "p", "q", "r", "", ""])
    neighbors = knn(table, "label", KNN(k=(1,)), partition=Partition(group="person")).predictions.details["neighbors"]
    assert [json.loads(ids) for ids in neighbors] == [["c"], ["c"], ["b"], ["e"], ["d"], ["e"]]


def test_train_votes_on_test_and_other_splits_stay_out() -> None:
    split = ["train", "test", "", "train", "test", "val"]
    table = make_table(CIRCLE, label=["x", "x", "x", "y", "y", "y"], split=split)
    result = knn(table, "label", KNN(k=(1,)))
    assert result.predictions.rows.ids.tolist() == ["b", "e"]
    assert result.figures["accuracy"] == 1.0
    judged = knn(table, "label", KNN(k=(1,)), partition=Partition(test_split="val")).predictions.rows.ids
    assert judged.tolist() == ["f"]


def test_several_k_are_judged_from_one_search() -> None:
    table = make_table(CIRCLE, label=["x", "x", "x", "y", "y", "y"])
    result = knn(table, "label", KNN(k=(1, 5), temperature=10.0))
    assert [entry["k"] for entry in result.figures["by_k"]] == [1, 5]
    assert result.figures["accuracy"] == result.figures["by_k"][0]["accuracy"] == 1.0
    assert result.figures["by_k"][1]["accuracy"] == 0.0  # five neighbors are all others: two of one's own class


def test_more_neighbors_than_rows_are_all_rows() -> None:
    table = make_table(CIRCLE, label=["x", "x", "x", "y", "y", "y"])
    assert knn(table, "label", KNN(k=(500,))).figures == {**knn(table, "label", KNN(k=(5,))).figures, "k": 500} | {
        "by_k": [{"k": 500, "accuracy": 1.0, "mean_class_accuracy": 1.0}]
    }


def test_a_class_with_one_clip_is_named_and_counts_as_an_error() -> None:
    result = knn(make_table(CIRCLE, label=["x", "x", "x", "y", "y", "z"]), "label", KNN(k=(1,)))
    assert result.figures["accuracy"] == pytest.approx(5 / 6)
    assert "1 class cannot be found" in result.remarks[0]
    assert "'z'" in result.remarks[0]


@pytest.mark.parametrize(
    ("labels", "partition", "message"),
    [
        (["x"] * 6, Partition(), "all 6 labels are 'x'"),
        ([""] * 6, Partition(), "no clip with features has a label in the column 'label'"),
        (list("xxxyyy"), Partition(group="room"), "no column 'room'"),
        (list("xxxyyy"), Partition(group="one"), "all 6 rows are of one one"),
        (list("xxxyyy"), Partition(test_split="test"), "the split 'train'; choose from none"),
    ],
)
def test_what_cannot_be_judged_is_refused(labels: list[str], partition: Partition, message: str) -> None:
    with pytest.raises(TableError, match=message):
        knn(make_table(CIRCLE, label=labels, one=["1"] * 6), "label", KNN(), partition=partition)


def test_rows_that_only_their_own_group_could_judge_are_refused() -> None:
    table = make_table(CIRCLE, label=list("xxxyyy"), person=list("ppqppp"), split=["train"] * 2 + ["test"] * 4)
    with pytest.raises(TableError, match="clip 'd': all rows that could vote are of its own 'person'"):
        knn(table, "label", KNN(), partition=Partition(group="person"))


@pytest.mark.parametrize("options", [{"k": ()}, {"k": (0,)}, {"temperature": 0.0}, {"temperature": float("nan")}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--"):
        KNN(**options)
