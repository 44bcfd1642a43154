"""Memory grows with the rows, not with rows times classes or with the longest text."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tabled import write_cache, write_table

from egotools.evaluate.classification import Predictions, figures
from egotools.evaluate.knn import KNN, knn, vote
from egotools.evaluate.report import shown_confusions
from egotools.linear import softmax
from egotools.linear.standardize import fit_standardization
from egotools.methods.probe import classifier as applying
from egotools.methods.probe.classifier import Classifier
from egotools.metrics.classification import Hits, confusion, precision_scores, recall_scores
from egotools.tables.table import Columns, Table, read_table

MIB = 1 << 20


def peak_of(work: Callable[[], object]) -> float:
    """MiB that Python and NumPy allocate at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def table_of(labels: list[str], rng: np.random.Generator, width: int = 8) -> Table:
    rows = len(labels)
    values = rng.normal(size=(rows, width)).astype(np.float32)
    ids = np.array([f"c{row}" for row in range(rows)], dtype=object)
    columns = {"label": np.array(labels, dtype=object)}
    return Table(ids, values, np.zeros((rows, 2)), columns, np.full(rows, "", dtype=object))


def predictions_of(rng: np.random.Generator, classes: int, rows: int = 200) -> Predictions:
    labels, predicted = rng.integers(0, classes, (2, rows))
    names = tuple(f"k{number:05}" for number in range(classes))
    return Predictions(names, table_of(["x"] * rows, rng), labels, predicted, np.ones(rows))


def test_a_vote_among_many_classes_needs_no_row_of_all_classes(rng: np.random.Generator) -> None:
    labels, neighbors = rng.integers(0, 10_000, 3000), rng.integers(0, 3000, (3000, 5))
    similarity = rng.uniform(size=(3000, 5))
    assert peak_of(lambda: vote(labels, neighbors, similarity, classes=10_000, temperature=0.1)) < 10  # N x K is 229
    predicted, scores = vote(labels, neighbors, similarity, classes=10_000, temperature=0.1)
    for query in range(50):
        sums = np.zeros(10_000)
        np.add.at(sums, labels[neighbors[query]], np.exp(similarity[query] / 0.1))
        assert predicted[query] == sums.argmax()
        assert scores[query] == pytest.approx(sums.max() / sums.sum())


def test_neighbors_of_many_classes_and_groups_stay_in_memory(rng: np.random.Generator) -> None:
    table = table_of([f"k{row % 1500}" for row in range(3000)], rng)
    assert peak_of(lambda: knn(table, "label", KNN(k=(1,)))) < 15  # of classes by classes 17, of rows by classes 34


def test_figures_of_many_classes_need_no_table_of_all_confusions(rng: np.random.Generator) -> None:
    predictions = predictions_of(rng, 20_000)
    assert peak_of(lambda: figures(predictions, predictions.labels)) < 20  # K x K is 3 GiB


def test_hits_give_the_recalls_and_precisions_of_the_confusions(rng: np.random.Generator) -> None:
    labels, predicted = rng.integers(0, 7, (2, 60))
    counts, hits = confusion(labels, predicted, 9), Hits.of(labels, predicted, 9)
    np.testing.assert_array_equal(recall_scores(hits), recall_scores(counts))
    np.testing.assert_array_equal(precision_scores(hits), precision_scores(counts))


def test_a_picture_shows_judged_classes_only() -> None:
    labels, predicted = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 2, 0])
    rows = table_of(["x"] * 5, np.random.default_rng(0))
    counts, names, left = shown_confusions(Predictions(("a", "b", "c", "d"), rows, labels, predicted, np.ones(5)))
    assert (names, left) == (["a", "c"], "")
    assert counts.tolist() == [[1, 0, 1], [1, 2, 0]]  # the last column: predicted as another class
    counts, names, left = shown_confusions(
        Predictions(("a", "b", "c", "d"), rows, labels, predicted, np.ones(5)), most=1
    )
    assert (counts.tolist(), names, left) == ([[2, 1]], ["c"], " (the 1 most frequent of 2 classes)")


def test_a_softmax_in_pieces_is_the_softmax(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.from_numpy(rng.normal(size=(50, 4))).float(), torch.from_numpy(rng.integers(0, 6, 50))
    point = torch.from_numpy(rng.normal(size=(6, 5))).float()
    whole = softmax.gradient(x, y, 0.1, point), softmax.objective(x, y, 0.1, point)
    monkeypatch.setattr(softmax, "LOGITS", 6 * 7)  # seven rows at a time
    torch.testing.assert_close(softmax.gradient(x, y, 0.1, point), whole[0], rtol=1e-5, atol=1e-7)
    assert softmax.objective(x, y, 0.1, point) == pytest.approx(whole[1], rel=1e-6)


def test_a_classifier_predicts_in_pieces(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    values = rng.normal(size=(50, 4)).astype(np.float32)
    weight = torch.from_numpy(rng.normal(size=(3, 4))).float()
    fitted = Classifier(("a", "b", "c"), weight, torch.zeros(3), fit_standardization(torch.from_numpy(values)))
    numbers, scores = fitted.predict(values)
    monkeypatch.setattr(applying, "LOGITS", 4 * 7)
    some = np.arange(50) % 3 == 0
    assert fitted.predict(values, some)[0].tolist() == numbers[some].tolist()
    np.testing.assert_allclose(fitted.predict(values)[1], scores, rtol=1e-6)
    assert len(fitted.predict(values, np.zeros(50, bool))[0]) == 0


def test_one_long_text_takes_the_memory_of_one_text(tmp_path: Path, rng: np.random.Generator) -> None:
    clips = 3000
    ids = [f"c{number:05}" for number in range(clips)]
    cache = write_cache(tmp_path / "f.lmdb", ids, rng.normal(size=(clips, 4)))
    for column, wanted in (("notes", None), ("label", None), ("notes", ["label"])):
        texts = {"label": ["x", "y"] * (clips // 2), "notes": ["short"] * clips}
        texts[column][3] = "n" * 20_000  # once for each clip it would be 229 MiB
        manifest = write_table(tmp_path / f"{column}.csv", ids, texts)
        assert peak_of(lambda m=manifest, w=wanted: read_table(m, [cache], labels=w)) < 12
        assert read_table(manifest, [cache]).column(column)[3] == "n" * 20_000


def test_columns_are_written_out_when_they_are_asked_for() -> None:
    columns = Columns({"label": np.array(["x", "y"], dtype=object)}, np.array([0, 1, 1, 0]))
    assert columns["label"].tolist() == ["x", "y", "y", "x"]
    chosen = Columns(columns, np.array([1, 3]))
    assert (chosen["label"].tolist(), list(chosen), len(chosen), "label" in chosen) == (["y", "x"], ["label"], 1, True)


def test_a_cache_that_hides_another_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    ids, labels = [f"c{number}" for number in range(20)], ["x", "y"] * 10
    manifest = write_table(tmp_path / "m.csv", ids, {"label": labels})
    large = write_cache(tmp_path / "large.lmdb", ids, 1000 * rng.normal(size=(20, 4)))
    small = write_cache(tmp_path / "small.lmdb", ids, rng.normal(size=(20, 4)))
    other = write_cache(tmp_path / "other.lmdb", ids, rng.normal(size=(20, 4)))
    (remark,) = knn(read_table(manifest, [small, large]), "label", KNN(k=(1,))).remarks
    assert remark.startswith(f"{large} makes up 100.00% of the vectors")
    assert knn(read_table(manifest, [small, other]), "label", KNN(k=(1,))).remarks == ()
