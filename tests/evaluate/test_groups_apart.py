"""Splits, groups and hold-outs by hand: who is on which side, and what is said of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from tabled import write_cache, write_table

from egotools.errors import TableError
from egotools.evaluate import exact, report
from egotools.evaluate.classification import Predictions, Result, by_class, class_remark, figures, numbered
from egotools.evaluate.leakage import default_group, lonely, lonely_classes, shared, shared_remarks, unlearned
from egotools.evaluate.splits import Partition, alike_groups, groups, hold_out, is_in, sides, unused
from egotools.tables.table import Table
from egotools.training.learned_from import LearnedFrom

PAIRS = some.lists(some.tuples(some.integers(0, 3), some.integers(0, 4)), min_size=1, max_size=20)


def table(splits="", **labels):
    """A table of clips a, b, c, ...; a split is a letter of its own: t(rain), v(al), T(est)."""
    count = len(next(iter(labels.values())))
    names = {"t": "train", "v": "val", "T": "test", " ": ""}
    split = [names[letter] for letter in splits or " " * count]
    columns = {name: np.array([*values], object) for name, values in labels.items()}
    ids = np.array([chr(97 + at) for at in range(count)], object)
    return Table(ids, np.zeros((count, 1), np.float32), np.zeros((count, 2)), columns, np.array(split, object))


def mask(text):
    return np.array([letter == "1" for letter in text])


def test_the_usual_splits_are_taken_test_before_val():
    both = sides(table("ttvT", label="xyxy"), Partition(), label="label")
    assert (both.train_name, both.test_name) == ("train", "test")
    assert (both.train.tolist(), both.test.tolist()) == (mask("1100").tolist(), mask("0001").tolist())
    assert sides(table("ttvv", label="xyxy"), Partition(), label="label").test_name == "val"
    assert sides(table("ttvT", label="xyxy"), Partition(test_split="Val "), label="label").test_name == "val"
    assert sides(table(label="xyxy"), Partition(), label="label") is None


@pytest.mark.parametrize(
    ("partition", "said"),
    [
        (Partition(train_split="mine"), "'mine'.*choose from train, val"),
        (Partition(test_split="test"), "'test'.*choose from train, val"),
    ],
)
def test_a_split_without_rows_is_named_beside_those_with_some(partition, said):
    with pytest.raises(TableError, match=said):
        sides(table("tv", label="xy"), partition, label="label")
    with pytest.raises(TableError, match="choose from none"):
        sides(table(label="xy"), Partition(train_split="a", test_split="b"), label="label")


def test_one_split_cannot_be_both_sides():
    with pytest.raises(ValueError, match="'mine'"):
        Partition(train_split="mine", test_split="mine")


def test_training_rows_of_an_evaluated_group_are_left_out_and_a_row_without_one_stays():
    whole = table("ttttTT", label="xyxyxy", video=["v", "w", "", "u", "v", ""])
    apart = sides(whole, Partition(group="video"), label="label")
    assert apart.train.tolist() == mask("011100").tolist()
    assert apart.left_out.tolist() == mask("100000").tolist()
    assert not (apart.train & apart.test).any()
    assert len(apart.remarks) == 1
    assert "1 of 1" in apart.remarks[0]
    pairwise = sides(whole, Partition(group="video"), label="label", is_pairwise=True)
    assert pairwise.train.tolist() == mask("111100").tolist()
    with pytest.raises(TableError, match="1 class would be left"):
        sides(table("ttT", label="xyx", video="vwv"), Partition(group="video"), label="label")


def test_shared_videos_are_counted_without_rows_that_name_none():
    whole = table("ttttTTT", label="xyxyxyx", video=["v", "v", "w", "", "v", "u", ""])
    found = shared(whole, "video", is_in(whole, "train"), is_in(whole, "TEST"))
    assert (found.both, found.evaluated) == (1, 2)
    (remark,) = shared_remarks(whole, "label", is_in(whole, "train"), is_in(whole, "test"), hint="; try {}")
    assert remark.startswith("1 of 2 ")
    assert remark.endswith("; try video")
    assert shared_remarks(whole, "video", is_in(whole, "train"), is_in(whole, "test")) == []
    assert str(shared(table(person="aab"), "person", mask("100"), mask("011"))).startswith("1 of 2 ")


def test_unused_rows_are_counted_by_split():
    found = unused(table("ttvvT ", label="xyxyxy"), mask("110010"))
    assert len(found) == 2
    assert found[0].startswith("1 row without a split is ")
    assert found[1].startswith("2 rows of the split 'val' are ")
    assert unused(table("tT", label="xy"), mask("11")) == []


def test_groups_are_those_of_the_column_and_rows_without_one_are_their_clips():
    whole = table(label="xyxy", video=["v", "", "v", ""])
    numbers = groups(whole, "video").tolist()
    assert numbers[0] == numbers[2]
    assert len({*numbers}) == 3
    assert len({*groups(whole, None).tolist()}) == 4
    mean = table(video=["a", "b", ""])  # no group is taken for a clip of its name
    assert len({*groups(mean, "video").tolist()}) == 3


def test_groups_that_differ_in_case_and_rows_without_one_are_remarked_on():
    assert alike_groups(table(person=["Ann", "ann", ""]), None) == []
    case, empty = alike_groups(table(person=["Ann", "ann", ""]), "person")
    assert empty.startswith("1 of 3 rows have no 'person'")
    assert "'Ann', 'ann'" in case


@given(PAIRS)
def test_a_class_is_lonely_when_all_its_rows_are_of_one_group(pairs):
    labels, own = (np.array(numbers) for numbers in zip(*pairs, strict=True))
    found = lonely_classes(labels, own)
    for number in range(labels.max() + 1):
        assert found[number] == (len({group for label, group in pairs if label == number}) < 2)
    names = np.array([str(group) for group in own], object)
    assert lonely(labels, names).tolist() == found.tolist()
    alone = lonely(labels, np.array([""] * len(labels), object))  # a row without a group is one of its own
    assert alone.tolist() == (np.bincount(labels) < 2).tolist()


def test_recordings_are_held_out_before_videos_and_only_where_a_class_is_in_several():
    labels = np.array([0, 0, 1, 1])
    assert default_group(table(video="vwvw", recording="rsrs"), labels) == "recording"
    assert default_group(table(video="vwvw", recording="rrss"), labels) == "video"
    assert default_group(table(video="vvww"), labels) is None
    assert default_group(table(person="vwvw"), labels) is None


@given(pairs=PAIRS, share=some.sampled_from([0.1, 0.25, 0.5, 0.9]), seed=some.integers(0, 9))
def test_a_hold_out_keeps_groups_whole_and_every_class_to_train_on(pairs, share, seed):
    labels, own = (np.array(numbers) for numbers in zip(*pairs, strict=True))
    held = hold_out(labels, own, share=share, generator=np.random.default_rng(seed))
    assert not {*own[held]} & {*own[~held]}
    assert {*labels[~held]} == {*labels}
    again = hold_out(labels, own, share=share, generator=np.random.default_rng(seed))
    assert held.tolist() == again.tolist()


def test_about_the_share_is_held_out_of_every_class():
    labels, own = np.repeat([0, 1], 50), np.arange(100)
    held = hold_out(labels, own, share=0.2, generator=np.random.default_rng(0))
    assert np.bincount(labels[held]).tolist() == [10, 10]


def test_a_run_is_evaluated_on_what_it_was_not_trained_on():
    whole = table(label="xyxy", video=["v", "v", "w", ""])
    trained = LearnedFrom(("a",))
    assert unlearned(whole, trained, mask("0011"))[0].tolist() == mask("0011").tolist()
    rows, (remark,) = unlearned(whole, trained, mask("1111"))
    assert (rows.tolist(), remark.startswith("1 of 4 ")) == (mask("0111").tolist(), True)
    rows, (remark,) = unlearned(whole, trained, mask("1111"), group="video")
    assert (rows.tolist(), remark.startswith("2 of 4 ")) == (mask("0011").tolist(), True)
    rows, (remark,) = unlearned(whole, trained, mask("1111"), group="video", all_rows=True)
    assert (rows.all(), remark.startswith("2 of 4 ")) == (True, True)
    with pytest.raises(TableError, match=r"none of 2 rows.*--all-rows"):
        unlearned(whole, trained, mask("1100"), group="video")
    rows, remarks = unlearned(whole, None, mask("1100"))
    assert (rows.tolist(), len(remarks)) == (mask("1100").tolist(), 1)


def predictions(labels, predicted, classes=("x", "y", "z"), **details):
    rows = table(label=[classes[number] for number in labels])
    scores = np.linspace(0, 1, len(labels))
    return Predictions(classes, rows, np.array(labels), np.array(predicted), scores, details)


def test_figures_stand_beside_what_guessing_reaches():
    found = figures(predictions([0, 0, 0, 1], [0, 0, 1, 1]), np.array([1, 1, 1, 2, 0]))
    assert (found["accuracy"], found["mean_class_accuracy"]) == (0.75, pytest.approx((2 / 3 + 1) / 2))
    assert (found["majority"], found["rows"], found["train_rows"]) == (0.25, 4, 5)
    assert found["chance"] == pytest.approx((3 * 1 / 5 + 3 / 5) / 4)
    assert found["classes"] == by_class(predictions([0, 0, 0, 1], [0, 0, 1, 1]), np.array([1, 1, 1, 2, 0]))
    x, y, z = found["classes"]
    assert x == {"class": "x", "train_rows": 1, "rows": 3, "recall": pytest.approx(2 / 3), "precision": 1.0}
    assert y == {"class": "y", "train_rows": 3, "rows": 1, "recall": 1.0, "precision": 0.5}
    assert z == {"class": "z", "train_rows": 1, "rows": 0, "recall": None, "precision": None}


def test_predictions_are_rows_of_a_csv_with_quotes_where_they_must_be():
    found = predictions([0, 1], [1, 1], ("a,b", 'say "c"'), neighbors=["[1]", "[]"]).to_csv().splitlines()
    assert found[0] == "id,start,end,label,predicted,score,neighbors"
    assert found[1] == 'a,0.0,0.0,"a,b","say ""c""",0,[1]'
    assert found[2] == 'b,0.0,0.0,"say ""c""","say ""c""",1,[]'


def test_classes_are_numbered_by_the_alphabet_and_one_is_not_enough():
    classes, numbers = numbered(["b", "a", "b", "B"])
    assert (classes, numbers.tolist()) == (("B", "a", "b"), [2, 1, 2, 0])
    with pytest.raises(TableError, match="all 3 labels are 'a'"):
        numbered(["a"] * 3)


def test_a_remark_names_the_first_classes():
    assert class_remark(["x"], "is odd") == "1 class is odd: 'x'"
    assert class_remark([*"abcdefg"], "are odd").startswith("7 classes are odd: 'a', 'b', 'c', 'd', 'e' and 2 more")


def test_a_picture_shows_the_most_frequent_classes_and_one_column_for_the_others():
    found = predictions([0, 0, 1, 2, 2, 2], [0, 1, 2, 2, 0, 1])
    counts, names, left = report.shown_confusions(found, most=2)
    assert names == ["x", "z"]
    assert counts.tolist() == [[1, 0, 1], [1, 1, 1]]  # the last column: called y
    assert "2" in left
    assert "3" in left
    counts, names, left = report.shown_confusions(predictions([0, 1], [0, 1]))
    assert (counts.tolist(), names, left) == ([[1, 0], [0, 1]], ["x", "y"], "")


def test_a_saved_result_is_a_report_predictions_and_a_picture(tmp_path):
    manifest = write_table(tmp_path / "m.csv", "ab", {})
    cache = write_cache(tmp_path / "x.lmdb", "ab", np.ones((2, 1)))
    result = Result({"protocol": "p", "accuracy": float("nan")}, predictions([0, 1], [0, 0]), ("odd",))
    content = report.report("eval knn", {"label": "verb"}, result, manifest=manifest, features=[cache])
    assert (content["accuracy"], content["remarks"], content["arguments"]) == (None, ["odd"], {"label": "verb"})
    report.save(tmp_path / "out", content, result)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["protocol"] == "p"
    assert (tmp_path / "out" / "predictions.csv").read_text() == result.predictions.to_csv()
    assert (tmp_path / "out" / "confusion.png").read_bytes()[1:4] == b"PNG"


@given(seed=some.integers(0, 30), count=some.integers(1, 9), height=some.sampled_from([1, 7, 1 << 22]))
def test_an_exact_search_finds_what_sorting_all_cosines_finds(seed, count, height):
    rng = np.random.default_rng(seed)
    queries, rows = rng.normal(size=(4, 3)), rng.normal(size=(8, 3))
    own = rng.integers(0, 3, 4), rng.integers(0, 3, 8)
    before, exact.BLOCK = exact.BLOCK, height
    try:
        found = exact.search(queries, rows, count, own)
        order, similarity = exact.rank(queries, rows, found)
    finally:
        exact.BLOCK = before
    for at, query in enumerate(queries):
        cosines = {
            number: row @ query / np.linalg.norm(row) / np.linalg.norm(query)
            for number, row in enumerate(rows)
            if own[1][number] != own[0][at]
        }
        best = sorted(cosines, key=lambda number: -cosines[number])[:count]
        assert order[at].tolist() == best + [-1] * (count - len(best))
        np.testing.assert_allclose(similarity[at, : len(best)], [cosines[number] for number in best], atol=1e-12)
        assert np.isneginf(similarity[at, len(best) :]).all()


def test_float32_is_doubted_where_neighbors_are_a_rounding_apart():
    step = np.float32(2e-7)
    clear, close, late = [0.9, 0.8, 0.7, 0.6], [0.9, 0.9 - step, 0.7, 0.6], [0.9, 0.8, 0.7, 0.7 - step]
    similarity = np.array([clear, close, late], np.float32)
    wrong, lacking = exact.doubtful(similarity, 2, 4)
    assert (wrong.tolist(), lacking.any()) == ([False, True, False], False)
    wrong, lacking = exact.doubtful(similarity, 3, 4)
    assert (wrong.tolist(), lacking.tolist()) == ([False, True, True], [False, False, True])


def test_rows_of_zeros_stay_zeros_and_others_get_length_one():
    found = exact.unit(np.array([[[3, 4], [0, 0]]], np.float32))
    assert found.tolist() == [[[0.6, 0.8], [0, 0]]]
