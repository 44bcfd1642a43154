"""JSON values that are checked against a type before they are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest

from egotools.files.json_files import DEEPEST, check_shape, parse_json, read_json


class Entry(TypedDict, total=False):
    name: str
    sizes: list[int]


class Index(TypedDict):
    version: Literal[1, 2]
    entries: dict[str, Entry]


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (3, int),
        (3, float),  # JSON has one kind of number
        (3.5, float),
        (None, None),
        (None, str | None),
        ("x", int | str),
        ([], list[int]),
        ([1, 2], list[int]),
        ({"a": {"b": "c"}}, dict[str, dict[str, str]]),
        ({"version": 2, "entries": {"a": {}}, "other": object}, Index),  # more entries are fine
        ("fast", Literal["fast", "slow"]),
        ({"a": [1, "two", None]}, Any),
        ([1, [2, "x"]], list[Any] | None),
    ],
)
def test_values_that_match_their_type_pass(value: Any, shape: Any) -> None:
    check_shape(value, shape)


@pytest.mark.parametrize(
    ("value", "shape", "message"),
    [
        ("3", int, "it is '3', not a whole number"),
        (3.0, int, "it is 3.0, not a whole number"),
        (True, int, "it is True, not a whole number"),  # in Python True is an int
        (True, float, "it is True, not a number"),
        (1, bool, "it is 1, not true or false"),
        (1 << 63, int, f"it is {1 << 63}, not a whole number"),
        ("a\0b", str, r"it is 'a\x00b', not text"),
        (None, str, "it is None, not text"),
        ({}, list[int], "it is {}, not a list"),
        ([], dict[str, int], "it is [], not an object"),
        ("x" * 99, int, f"it is {repr('x' * 99)[:40]}..., not a whole number"),
        (True, Literal[1, 2], "it is True, not 1 or 2"),
        ({"version": 1}, Index, "the entry 'entries' is missing"),
        ({"version": 3, "entries": {}}, Index, "'version' is 3, not 1 or 2"),
        ({"version": 1, "entries": {"a": {"name": 3}}}, Index, "'entries.a.name' is 3, not text"),
        (
            {"version": 1, "entries": {"a": {"sizes": [1, 2, None]}}},
            Index,
            "'entries.a.sizes.2' is None, not a whole number",
        ),
        ({"a": "x"}, dict[str, list[int]] | None, "'a' is 'x', not a list"),  # of a union: what is wrong inside
        ("x", int | None, "it is 'x', not a whole number"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_place(value: Any, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r"^") as caught:
        check_shape(value, shape)
    assert str(caught.value) == message


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_may_be_nested_up_to_a_limit(opening: str, closing: str) -> None:
    def nested(levels: int) -> str:
        return opening * levels + "1" + closing * levels

    value = parse_json(nested(DEEPEST - 1))
    for _ in range(DEEPEST - 1):
        (value,) = value if isinstance(value, list) else value.values()
    assert value == 1
    with pytest.raises(ValueError, match=f"nested deeper than {DEEPEST} levels"):
        parse_json(nested(DEEPEST))


def test_a_json_file_is_checked_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text('{"version": 1, "entries": {"a": {"name": "x"}}}')
    assert read_json(path, Index) == {"version": 1, "entries": {"a": {"name": "x"}}}
    path.write_text('{"version": "1", "entries": {}}')
    assert read_json(path) == {"version": "1", "entries": {}}
    with pytest.raises(ValueError, match="'version' is '1', not 1 or 2"):
        read_json(path, Index)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "other.json", Index)
