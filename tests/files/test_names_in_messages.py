"""Texts that people typed, shortened ids, and lists of names in messages."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from egotools.texts import composed, named, shortened, similar_names, split_name, tidy, uncomposed

NFC, NFD = "caf\u00e9", "cafe\u0301"


@settings(deadline=None, max_examples=30)
@given(st.text())
def test_tidying_twice_changes_nothing_and_ignores_the_unicode_form(text: str) -> None:
    once = tidy(text)
    assert tidy(once) == once
    assert tidy(f"\u00a0 {text}\t\u200b") == once
    assert once == " ".join(once.split())


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=20))
def test_composed_texts_do_not_depend_on_the_form_they_were_typed_in(text: str) -> None:
    assert composed(unicodedata.normalize("NFD", text)) == unicodedata.normalize("NFC", text)


def test_texts_that_are_not_composed_are_listed_by_their_composed_form() -> None:
    assert uncomposed([NFD, "plain", "stra\u00dfe"]) == {NFC: NFD}
    assert uncomposed([NFD, NFC, "plain"]) == {}  # both forms exist: neither stands for the other


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=60), st.integers(17, 40))
def test_a_shortened_text_fits_and_keeps_its_beginning(text: str, most: int) -> None:
    found = shortened(text, most)
    assert len(found.encode()) <= most
    if len(text.encode()) <= most:
        assert found == text
    else:
        begin, _, digest = found.rpartition("~")
        assert text.startswith(begin)
        assert len(begin.encode()) > most - 17 - 4  # at most one character of four bytes was dropped
        assert len(digest) == 16


def test_shortened_texts_differ_if_only_their_ends_do() -> None:
    texts = ["x" * 50 + str(number) for number in range(20)]
    assert len({shortened(text, 30) for text in texts}) == 20
    assert shortened(texts[0], 30) == shortened(texts[0], 30)


def test_the_names_of_usual_splits_ignore_case_and_others_do_not() -> None:
    assert split_name(" VAL\u200b") == "val"
    assert split_name("Train set") == "Train set"


def test_the_first_names_are_listed_and_the_others_counted() -> None:
    names = ["a", "b", "c", "d"]
    assert named(names, 2) == "a, b and 2 more"
    assert named(names, 4) == "a, b, c, d"
    assert named(names, 3, between="; ") == "a; b; c and 1 more"
    assert named([], 3) == ""


def test_names_that_contain_what_was_typed_come_before_names_that_look_like_it() -> None:
    names = ["torchvision:resnet50", "timm:resnet50d", "resnet-50", "hog", "color", "colour_hist"]
    assert similar_names("ResNet50", names) == ["resnet-50", "timm:resnet50d", "torchvision:resnet50"]
    assert similar_names("ResNet50", names, most=1) == ["resnet-50"]
    assert similar_names("colro", names) == ["color"]  # none contains it
    assert similar_names("--", names) == []  # no letters: contained in every name, which would say nothing
    assert similar_names("zzz", iter(names)) == []
