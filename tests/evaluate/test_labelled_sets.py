"""Memory Storyboard's evaluation on labeled sets: the reference's figures, and values that test has not chosen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import sklearn
from click.testing import CliRunner
from egotools.cli.main import root as egotools
from fill import DATA, normal
from tabled import write_cache, write_table

from egotools.errors import TableError
from egotools.evaluate.knn import KNN, knn
from egotools.evaluate.labelled_sets import (
    ALPHAS,
    KS,
    Rows,
    labelled_set_figures,
    machine_choices,
    neighbor_choices,
    ordered,
)
from egotools.evaluate.svm import SVM, svm
from egotools.tables.table import Table

LABELS = 7 * np.arange(600) % 10
SPLIT = np.array(["train"] * 400 + ["test"] * 200, dtype=object)


def recorded(case: str) -> dict[str, npt.NDArray[np.float64]]:
    with np.load(DATA / f"storyboard/{case}.npz") as archive:
        return dict(archive)


def features() -> npt.NDArray[np.float32]:
    """As the description of the recorded cases makes them."""
    centers = normal("input/centers", (10, 32))
    return np.maximum(0, np.float32(0.5) * centers[LABELS] + normal("input/features", (600, 32)))


def rows(held: npt.NDArray[np.bool_] | None = None) -> Rows:
    values = features()
    nobody = np.zeros(400, bool) if held is None else held
    return Rows(values[:400], LABELS[:400], values[400:], LABELS[400:], nobody)


def test_votes_are_the_references_for_every_k() -> None:
    found, known = neighbor_choices(rows(), KS), recorded("eval_knn")
    assert found.values == tuple(known["ks"])
    np.testing.assert_allclose(found.accuracy, known["accuracy_exact_float64"], atol=2 / 200)
    assert found.values[found.oracle] == known["best_k"]
    for k, name in ((1, "pred_k1"), (10, "pred_k10")):
        assert (found.predicted[KS.index(k)] != known[name]).sum() <= 2


def test_machines_are_the_references_for_every_alpha() -> None:
    known = recorded("eval_svm")
    best = []
    for seed in (0, 1):
        found = machine_choices(rows(), ALPHAS, seed)
        best.append(found.accuracy[found.oracle])
        if sklearn.__version__ == "1.9.1":
            np.testing.assert_allclose(found.accuracy, known["accuracy_seeds"][seed], atol=1 / 200)
    assert abs(np.mean(best) - known["best_per_seed"].mean()) <= max(0.01, 3 * known["best_per_seed"].std())


def test_equal_votes_go_to_the_smaller_class_and_equal_accuracies_to_the_smaller_k() -> None:
    train = np.array([[0.0], [1.0], [10.0], [11.0]])
    found = neighbor_choices(
        Rows(train, np.array([3, 2, 1, 1]), np.array([[0.1], [10.0]]), np.array([2, 1]), np.zeros(4, bool)),
        (4, 3, 2, 1),
    )
    assert found.values == (1, 2, 3, 4)
    assert found.predicted.tolist() == [[3, 1], [2, 1], [1, 1], [1, 1]]
    assert found.accuracy.tolist() == [0.5, 1.0, 0.5, 0.5]
    assert (found.oracle, found.chosen) == (1, 2)  # nothing held out: the middle one
    assert neighbor_choices(rows(), (1, 500)).values == (1,)
    with pytest.raises(TableError, match="400 training rows are fewer than --k 500"):
        neighbor_choices(rows(), (500,))


def test_k_is_chosen_on_held_out_rows_that_nobody_learned_from() -> None:
    """Of held-out rows whose labels say nothing, a copy among the rows to learn from would make k = 1 the best."""
    values = np.random.default_rng(0).normal(size=(60, 3))
    labels = np.r_[np.zeros(40), np.ones(20)].astype(np.int64)
    found = neighbor_choices(Rows(values, labels, values, labels, np.arange(60) % 2 == 0), (1, 25))
    assert (found.accuracy[0], found.validation[0] < 1) == (1.0, True)
    assert found.validation[1] == pytest.approx(2 / 3)  # 25 of 30 neighbors: the larger class
    assert (found.values[found.oracle], found.values[found.chosen]) == (1, 25)


def test_figures_of_a_set_have_oracle_and_validation_under_their_own_names() -> None:
    found = labelled_set_figures(features(), LABELS.astype(str), SPLIT, alphas=(1e-3, 1e-2))
    assert found["knn_oracle"] == pytest.approx(float(recorded("eval_knn")["best_accuracy"]), abs=2 / 200)
    assert found["knn_validation"] <= found["knn_oracle"]
    assert found["svm_validation_alpha"] in (1e-3, 1e-2)
    assert found["svm_validation"] <= found["svm_oracle"]
    assert labelled_set_figures(features(), LABELS.astype(str), SPLIT, alphas=(), seed=0) == {
        name: value for name, value in found.items() if name.startswith("knn")
    }
    json.dumps(found)


def test_numbers_of_classes_are_ordered_as_numbers() -> None:
    assert ordered(["10", "9", "1"]) == ["1", "9", "10"]
    assert ordered(["b", "10", "9"]) == ["10", "9", "b"]
    even = np.array([[-1.0], [1.0], [0.0]])  # a tie between 9 and 10
    found = labelled_set_figures(even, ["10", "9", "9"], ["train", "train", "val"], ks=(2,), alphas=())
    assert found["knn_oracle"] == 1.0


def test_what_cannot_be_evaluated_is_refused() -> None:
    with pytest.raises(TableError, match="no row of the labeled set has the split test or val"):
        labelled_set_figures(features(), LABELS.astype(str), ["train"] * 600)
    broken = features()
    broken[3, 4] = np.nan
    with pytest.raises(TableError, match="1 rows of features are not finite"):
        labelled_set_figures(broken, LABELS.astype(str), SPLIT)
    bare = Table(SPLIT.copy(), features(), np.zeros((600, 2)), {"label": LABELS.astype(str).astype(object)}, SPLIT[:0])
    unsplit = Table(
        bare.ids + np.arange(600).astype(str), bare.values, bare.times, bare.labels, np.full(600, "", object)
    )
    with pytest.raises(TableError, match="--vote euclidean needs the splits"):
        knn(unsplit, "label", KNN(vote="euclidean"))


def test_the_commands_report_the_same_figures(tmp_path: Path) -> None:
    values = features()
    ids = [f"c{number:03d}" for number in range(600)]
    write_table(tmp_path / "m.csv", ids, {"label": LABELS.tolist()}, SPLIT.tolist())
    write_cache(tmp_path / "c.lmdb", ids, values)
    flags = ["--preset", "storyboard", "--features", tmp_path / "c.lmdb", "--manifest", tmp_path / "m.csv"]
    expected = labelled_set_figures(values, LABELS.astype(str), SPLIT, alphas=(1e-3, 1e-2))
    for method, more in (("knn", []), ("svm", ["--alpha", "0.01,0.001"])):
        line = ["eval", method, *flags, "--label", "label", *more, "--json"]
        done = CliRunner().invoke(egotools, [*map(str, line)])
        assert done.exit_code == 0, (done.output, done.exception)
        content = json.loads(done.stdout)
        for name in ("oracle", "validation"):
            assert content[name] == expected[f"{method}_{name}"]
        assert content["accuracy"] == content["validation"]
    shown = CliRunner().invoke(egotools, [*map(str, line[:-1])])
    assert "oracle" in shown.stdout
    assert "validation" in shown.stdout


def test_machines_of_several_seeds_are_averaged() -> None:
    table = Table(
        np.array([f"c{number:03d}" for number in range(600)], dtype=object),
        features(),
        np.zeros((600, 2)),
        {"label": LABELS.astype(str).astype(object)},
        SPLIT,
    )
    found = svm(table, "label", SVM(solver="sgd", alpha=(1e-2, 1e-3), seeds=2)).figures
    assert found["validation"] == pytest.approx(found["accuracy"])
    assert found["oracle"] == pytest.approx(np.mean([entry["oracle"] for entry in found["by_seed"]]))
    assert [entry["alpha"] for entry in found["by_alpha"]] == [1e-3, 1e-2]
