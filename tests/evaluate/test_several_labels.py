"""Figures of several labels: against the reference's, and against definitions that are written out."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import fill
import numpy as np
import pytest

from egotools.errors import TableError
from egotools.evaluate import several_labels
from egotools.evaluate.several_labels import SeveralLabels
from egotools.metrics.classification import ranks
from egotools.tables.table import Table, table_of_clips
from egotools.types import Clip

CLASSES = {"verb": ("0", "1", "2"), "noun": ("7", "8")}


def table(**columns: list[str]) -> Table:
    count = len(next(iter(columns.values())))
    labels = [{name: values[row] for name, values in columns.items()} for row in range(count)]
    return table_of_clips([Clip(f"c{row}", Path(), labels=each) for row, each in enumerate(labels)])


def test_shares_in_the_first_one_and_five_are_the_references() -> None:
    recorded = np.load(fill.DATA / "replai" / "topk_errors.npz")
    about = json.loads((fill.DATA / "replai" / "topk_errors.json").read_text())
    count, classes = about["inputs"][0]["shape"]
    labels = np.floor(np.abs(fill.normal("input/label", (count,))) * np.float32(1e4)).astype(np.int64) % classes
    logits = fill.normal("input/logits", (count, classes))
    logits[np.arange(count), labels] += 2
    found = ranks(logits, labels)
    assert 100 * (found < 1).mean() == pytest.approx(recorded["acc1"]) == 100 - recorded["top1_err"]
    assert 100 * (found < 5).mean() == pytest.approx(recorded["acc5"]) == 100 - recorded["top5_err"]


def test_equal_scores_come_in_the_order_of_their_classes_so_that_a_constant_is_no_success() -> None:
    assert ranks(np.zeros((4, 3)), np.array([0, 1, 2, 2])).tolist() == [0, 1, 2, 2]


def test_scores_that_are_no_numbers_are_refused_and_not_always_right() -> None:
    with pytest.raises(ValueError, match="no numbers"):
        ranks(np.full((1, 3), np.nan), np.array([0]))
    shares = {"verb": np.array([[0.5, 0.3, 0.2], [np.nan] * 3]), "noun": np.array([[0.6, 0.4]] * 2)}
    with pytest.raises(TableError, match=r"the probabilities of 'verb' are no numbers for 1 clip: c1;"):
        SeveralLabels.of(table(verb=["0", "1"], noun=["7", "8"]), CLASSES, shares)


def test_an_action_is_right_where_verb_and_noun_are_and_ranked_by_the_product(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs, nouns = rng.dirichlet(np.ones(9), 50), rng.dirichlet(np.ones(8), 50)
    own = rng.integers(0, 9, 50), rng.integers(0, 8, 50)
    names = {"verb": [*"abcdefghi"], "noun": [*"stuvwxyz"]}
    texts = {label: [names[label][at] for at in each] for label, each in zip(names, own, strict=True)}
    monkeypatch.setattr(several_labels, "PAIRS", 7 * 72)  # several pieces
    found = SeveralLabels.of(table(**texts), names, {"verb": verbs, "noun": nouns})
    for row in range(50):
        mine = verbs[row, own[0][row]] * nouns[row, own[1][row]]
        beaten = sum(v * n > mine for v, n in itertools.product(verbs[row], nouns[row]))
        assert found.ranks["action"][row] == beaten
    figures = found.figures()["figures"]
    both = (verbs.argmax(1) == own[0]) & (nouns.argmax(1) == own[1])
    assert figures["action"]["accuracy"] == pytest.approx(both.mean())
    monkeypatch.setattr(several_labels, "MOST", 71)
    short = SeveralLabels.of(table(**texts), names, {"verb": verbs, "noun": nouns}).figures()["figures"]["action"]
    assert (short["accuracy"], short["top5"]) == (figures["action"]["accuracy"], None)


def test_a_label_may_be_called_action_itself() -> None:
    texts = {"action": ["0", "1"], "noun": ["7", "8"]}
    shares = {"action": np.array([[0.9, 0.1]] * 2), "noun": np.array([[0.9, 0.1], [0.2, 0.8]])}
    figures = SeveralLabels.of(table(**texts), {"action": ["0", "1"], "noun": ["7", "8"]}, shares).figures()["figures"]
    assert {name: each["accuracy"] for name, each in figures.items()} == {"action": 0.5, "noun": 1, "together": 0.5}


def test_classes_weigh_the_same_strange_ones_are_errors_and_subsets_have_their_rows() -> None:
    columns = {
        "verb": ["0", "0", "0", "1", "5"],
        "noun": ["7", "8", "7", "7", "8"],
        "subset_tail": ["1", "0", "0", "1", ""],
        "subset_unseen": ["0"] * 5,
    }
    verbs = np.array([[0.5, 0.3, 0.2]] * 4 + [[0.1, 0.2, 0.7]])
    nouns = np.array([[0.6, 0.4]] * 5)
    found = SeveralLabels.of(table(**columns), CLASSES, {"verb": verbs, "noun": nouns})
    figures = found.figures()
    assert found.unknown == {"verb": ["5"]}
    assert len(found.remarks) == 1
    odd = table(**{**columns, "subset_tail": ["1.0", "0", "1", "True", ""]})
    said = SeveralLabels.of(odd, CLASSES, {"verb": verbs, "noun": nouns}).remarks[1]
    assert said == "subset_tail says '1.0', 'True', which is not 1: not in it"
    assert figures["rows"] == 5
    verb = figures["figures"]["verb"]
    assert (verb["accuracy"], verb["top5"]) == (0.6, 0.8)  # the strange class is not even among five of three
    assert verb["mean_class_accuracy"] == pytest.approx((1 + 0 + 0) / 3)
    assert figures["figures"]["noun"]["mean_class_accuracy"] == 0.5
    assert figures["figures"]["action"]["accuracy"] == 0.4
    tail, unseen = figures["subsets"]["tail"], figures["subsets"]["unseen"]
    assert (tail["rows"], tail["figures"]["verb"]["accuracy"]) == (2, 0.5)
    assert (unseen["rows"], unseen["figures"]["verb"]["accuracy"]) == (0, None)
    lines = found.to_csv().splitlines()
    assert lines[0] == "id,start,end,verb,predicted_verb,score_verb,noun,predicted_noun,score_noun"
    assert lines[-1] == "c4,0.0,0.0,5,2,0.7,8,7,0.6"
