"""Retrieval against the recorded protocol and a naive computation."""

from __future__ import annotations

import numpy as np
import pytest
from fill import DATA, normal

from egotools.errors import TableError
from egotools.evaluate.retrieval import Retrieval, centered, retrieval
from egotools.evaluate.splits import Partition
from egotools.tables.table import Table


def table_of(values: np.ndarray, labels: list[str], split: list[str], **columns: list[str]) -> Table:
    ids = np.array([f"c{number}" for number in range(len(values))], dtype=object)
    texts = {name: np.array(column, dtype=object) for name, column in {"label": labels, **columns}.items()}
    return Table(ids, values.astype(np.float32), np.zeros((len(values), 2)), texts, np.array(split, dtype=object))


def recorded() -> Table:
    """What the reference's function was given, as the golden's note says."""
    centers = 0.6 * normal("input/class_center", (10, 32))
    test, train = np.arange(60) % 10, np.arange(150) * 3 % 10
    values = [
        normal("input/test_feature", (60, 32)) + centers[test] + 1,
        normal("input/train_feature", (150, 32)) + centers[train] + 1,
    ]
    labels = [f"class {number}" for number in (*test, *train)]
    return table_of(np.concatenate(values), labels, ["test"] * 60 + ["train"] * 150)


def recalls(table: Table, config: Retrieval, **partition: str) -> dict[int, float]:
    found = retrieval(table, "label", config, partition=Partition(**partition))
    return {entry["k"]: entry["recall"] for entry in found.figures["by_k"]}


def test_the_recorded_neighbors_and_recalls() -> None:
    golden = dict(np.load(DATA / "memdpc/retrieval.npz"))
    found = retrieval(recorded(), "label", Retrieval(k=(5, 1, 10, 20, 50)))
    assert {f"R@{entry['k']}": entry["recall"] for entry in found.figures["by_k"]} == pytest.approx(
        {name: float(value) for name, value in golden.items() if name != "nearest"}
    )
    five = retrieval(recorded(), "label", Retrieval(k=(5,))).predictions
    ids = [eval_ids(text) for text in five.details["neighbors"]]
    assert ids == (golden["nearest"] + 60).tolist()
    assert found.figures["accuracy"] == pytest.approx(float(golden["R@1"]))  # the class of the nearest
    assert found.figures["protocol"] == "trained on train, evaluated on test"


def eval_ids(text: str) -> list[int]:
    return [int(id.strip('" []')[1:]) for id in text.split(",")]


def test_without_splits_every_clip_asks_all_others_and_groups_can_be_kept_apart(rng: np.random.Generator) -> None:
    values, labels = rng.normal(size=(40, 6)), [f"l{number % 4}" for number in range(40)]
    videos = [f"v{number // 8}" for number in range(40)]
    table = table_of(values, labels, [""] * 40, video=videos)
    unit = centered(values.astype(np.float32)).astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for group, names in ((None, [*map(str, range(40))]), ("video", videos)):
        partition = {} if group is None else {"group": group}
        expected = dict.fromkeys((1, 3, 7), 0.0)
        for query in range(40):
            others = [row for row in range(40) if names[row] != names[query]]
            order = sorted(others, key=lambda row: -float(unit[row] @ unit[query]))
            for k in expected:
                expected[k] += any(labels[row] == labels[query] for row in order[:k]) / 40
        assert recalls(table, Retrieval(k=(1, 3, 7)), **partition) == pytest.approx(expected)
    assert "clips of one video retrieve each other" in retrieval(table, "label", Retrieval()).remarks[0]


def test_sets_are_centered_apart_unless_asked_not_to() -> None:
    values = np.array([[1, 50], [0, 51], [9, 1], [9, 3]])  # far from each other, alike about their own means
    table = table_of(values, ["a", "b", "a", "b"], ["test", "test", "train", "train"])
    assert recalls(table, Retrieval(k=(1,))) == {1: 1.0}
    assert recalls(table, Retrieval(k=(1,), center=False)) == {1: 0.5}


def test_chance_is_that_of_a_gallery_in_random_order(rng: np.random.Generator) -> None:
    labels = ["a"] * 3 + ["b"] * 7 + ["a", "b"]
    table = table_of(rng.normal(size=(12, 3)), labels, ["train"] * 10 + ["test"] * 2)
    chances = [entry["chance"] for entry in retrieval(table, "label", Retrieval(k=(1, 4, 8))).figures["by_k"]]
    none_of_a = 7 / 10 * 6 / 9 * 5 / 8 * 4 / 7
    assert chances == pytest.approx([0.5, (1 - none_of_a + 1) / 2, 1])


def test_depth_beyond_the_gallery_and_a_class_that_is_not_there_are_remarked(rng: np.random.Generator) -> None:
    table = table_of(rng.normal(size=(5, 3)), ["a", "a", "b", "a", "c"], ["train"] * 3 + ["test"] * 2)
    found = retrieval(table, "label", Retrieval(k=(1, 50)))
    assert found.figures["by_k"][-1]["recall"] == 0.5
    assert any("3 rows, fewer than --k 50" in remark for remark in found.remarks)
    assert any("1 rows without a row of their class to retrieve" in remark for remark in found.remarks)
    assert list(found.predictions.details["rank"])[1] == ""


def test_what_leaves_nothing_to_retrieve_is_refused(rng: np.random.Generator) -> None:
    table = table_of(rng.normal(size=(4, 3)), list("abab"), [""] * 4, video=["v"] * 4)
    with pytest.raises(TableError, match="all 4 rows are of one video: nobody is left to retrieve"):
        retrieval(table, "label", Retrieval(), partition=Partition(group="video"))
    with pytest.raises(ValueError, match="--k must be 1 or more"):
        Retrieval(k=(0,))
