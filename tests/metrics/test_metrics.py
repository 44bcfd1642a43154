from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, precision_score

from egotools.metrics import classification as metrics

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@given(PAIRS)
def test_metrics_equal_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    counts = metrics.confusion(labels, predicted, 5)
    assert counts.tolist() == confusion_matrix(labels, predicted, labels=range(5)).tolist()
    assert metrics.accuracy_score(labels, predicted) == pytest.approx(accuracy_score(labels, predicted))
    assert metrics.mean_class_accuracy_score(counts) == pytest.approx(balanced_accuracy_score(labels, predicted))
    expected = precision_score(labels, predicted, labels=range(5), average=None, zero_division=np.nan)
    np.testing.assert_allclose(metrics.precision_scores(counts), expected)


def test_a_class_without_rows_has_no_recall_and_does_not_count() -> None:
    counts = metrics.confusion(np.array([0, 0, 2]), np.array([0, 1, 2]), 3)
    assert metrics.recall_scores(counts)[[0, 2]].tolist() == [0.5, 1.0]
    assert np.isnan(metrics.recall_scores(counts)[1])
    assert metrics.mean_class_accuracy_score(counts) == 0.75


def test_baselines_know_the_train_labels_only() -> None:
    train, test = np.array([0, 0, 0, 1]), np.array([1, 1, 0, 2])
    assert metrics.majority_score(train, test) == 0.25
    assert metrics.chance_score(train, test) == pytest.approx((0.25 + 0.25 + 0.75 + 0) / 4)


def test_no_rows_have_no_accuracy() -> None:
    nothing = np.array([], dtype=np.int64)
    with pytest.raises(ValueError, match="no rows"):
        metrics.accuracy_score(nothing, nothing)
    with pytest.raises(ValueError, match="no rows"):
        metrics.mean_class_accuracy_score(np.zeros((2, 2), np.int64))
    with pytest.raises(ValueError, match="belong together"):
        metrics.confusion(np.array([1]), np.array([1, 2]), 3)
