from __future__ import annotations

import pytest

from egotools.texts import alike, composed, is_whole, split_name, tidy

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    "text",
    [
        "cut",
        " cut",
        "cut ",
        "cut\t",
        "cut\n",
        "\u00a0cut",
        "cut\u2003",
        "\ufeffcut",
        "cut\u200b",
        "\u200ecut\u00a0 \u200f",
    ],
)
def test_what_nobody_sees_around_a_label_is_no_part_of_it(text: str) -> None:
    assert tidy(text) == "cut"


def test_inner_spaces_of_any_kind_and_number_are_one_and_unicode_is_composed() -> None:
    assert tidy("open\u00a0\u00a0the  door") == "open the door"
    assert tidy(NFD) == tidy(NFC) == composed(NFD) == NFC
    assert tidy(" \u00a0\u200b") == ""


def test_whole_numbers_are_those_that_arrays_hold() -> None:
    assert all(map(is_whole, ["007", "9" * 18]))
    assert not any(map(is_whole, ["", "-1", "1.0", "1_0", "9" * 5000]))


def test_joiners_inside_a_word_stay() -> None:
    assert tidy("\u0645\u06cc\u200c\u062e\u0648\u0631\u0645 ") == "\u0645\u06cc\u200c\u062e\u0648\u0631\u0645"


def test_case_is_no_part_of_the_names_of_the_usual_splits_only() -> None:
    assert [split_name(text) for text in ("Train", "TEST ", "\u00a0Val", "Holdout", "")] == [
        *("train", "test", "val", "Holdout", "")
    ]


def test_labels_that_case_or_invisible_differences_tell_apart_are_named() -> None:
    assert alike({"Cut", "cut", "CUT", "peel"}, "labels") == ["3 labels differ by case only: 'CUT', 'Cut', 'cut'"]
    assert alike({"x\u00b2", "x2", "Open door", "opendoor"}, "splits") == [
        "4 splits differ by case, spaces or Unicode form only: 'Open door', 'opendoor'; 'x2', 'x\u00b2'"
    ]
    assert alike({"cut", "peel", "", "-", "_"}, "labels") == []
