"""Options that are read back from recipes and configurations, as the types of their fields."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egotools.config import (
    digest,
    field_values,
    finite,
    omitted_options,
    option,
    options_of,
    plain,
    recorded_options,
    to_json,
)


class Color(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    seed: int = 3


@dataclass(frozen=True)
class Options:
    rate: float = option(0.5, "Rate.")
    count: int | None = option(None, "Count.")
    sides: tuple[int, ...] = option((1, 2), "Sides.")
    pair: tuple[str, float] = option(("a", 1.0), "A name and a number.")
    mode: Literal["fast", 1] = option("fast", "Mode.")
    kind: str = option("mean", "Kind.", choices=("mean", "max"))
    file: Path | None = option(None, "File.")
    inner: Inner = Inner()
    color: Color = Color.RED
    flag: bool = False
    computed: int = field(init=False, default=7)


@settings(deadline=None, max_examples=30)
@given(
    st.builds(
        Options,
        rate=st.floats(allow_nan=False, allow_infinity=False),
        count=st.none() | st.integers(),
        sides=st.lists(st.integers(), max_size=4).map(tuple),
        pair=st.tuples(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
        mode=st.sampled_from(["fast", 1]),
        kind=st.sampled_from(["mean", "max"]),
        file=st.none() | st.sampled_from([Path("a/b"), Path("/c")]),
        inner=st.builds(Inner, st.integers()),
        flag=st.booleans(),
    )
)
def test_options_that_are_written_as_json_are_read_back_equal(options: Options) -> None:
    written = json.loads(json.dumps({**options_of(options), "color": "red"}, default=lambda value: value.value))
    values = field_values(Options, written)
    assert "computed" not in values
    assert Options(**values) == options
    assert [type(value) for value in values["sides"]] == [int] * len(options.sides)


def test_options_that_are_not_given_keep_their_defaults_and_unknown_ones_are_ignored() -> None:
    assert field_values(Options, {"rate": 2, "unknown": 3}) == {"rate": 2}
    assert field_values(Options, {}) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": "0.5"}, "the option 'rate' cannot be '0.5'"),
        ({"rate": True}, "the option 'rate' cannot be True"),
        ({"rate": math.nan}, "the option 'rate' cannot be nan"),
        ({"rate": 10**400}, "the option 'rate' cannot be 1000"),
        ({"count": 1.0}, r"the option 'count' cannot be 1\.0"),
        ({"count": True}, "the option 'count' cannot be True"),
        ({"flag": 1}, "the option 'flag' cannot be 1"),
        ({"sides": 3}, "the option 'sides' cannot be 3"),
        ({"sides": [1, "2"]}, r"the option 'sides' cannot be \[1, '2'\]"),
        ({"pair": ["a"]}, r"the option 'pair' cannot be \['a'\]"),
        ({"pair": ["a", 1.0, 2.0]}, "the option 'pair' cannot be"),
        ({"mode": True}, "the option 'mode' cannot be True"),  # not the number 1
        ({"mode": "slow"}, "the option 'mode' cannot be 'slow'"),
        ({"kind": "median"}, "the option 'kind' is 'median', not one of mean, max"),
        ({"file": 3}, "the option 'file' cannot be 3"),
        ({"inner": 3}, "the option 'inner' cannot be 3"),
    ],
)
def test_a_value_of_another_type_names_its_option(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        field_values(Options, options)


def test_an_error_inside_an_option_names_the_inner_option() -> None:
    with pytest.raises(ValueError, match="the option 'seed' cannot be 'x'"):
        field_values(Options, {"inner": {"seed": "x"}})


@dataclass(frozen=True)
class Grown:
    """An extractor that got two options after caches of it existed."""

    rate: float = option(0.5, "Rate.")
    width: int = option(64, "Width.", absent=32)
    sides: tuple[int, ...] = option((), "Sides.", absent=())


def test_an_option_that_was_added_later_is_left_out_of_recipes_at_the_value_that_older_ones_mean() -> None:
    assert omitted_options(Grown) == {"width": 32, "sides": []}
    assert recorded_options(Grown(width=32)) == {"rate": 0.5}
    assert recorded_options(Grown()) == {"rate": 0.5, "width": 64}  # the default is not what older recipes mean
    assert recorded_options(Grown(sides=(1,))) == {"rate": 0.5, "width": 64, "sides": [1]}
    assert omitted_options(Inner) == {}


def test_values_become_json_ready_at_every_depth() -> None:
    value = {1: (Path("a/b"), np.float64(0.5)), "inner": Inner(4), "array": np.array([[1, 2]])}
    assert plain(value) == {"1": ["a/b", 0.5], "inner": {"seed": 4}, "array": [[1, 2]]}


def test_numbers_that_json_does_not_have_are_null_unless_they_are_kept() -> None:
    value = {"a": [math.nan, 1.5, -math.inf], "b": np.array([np.inf, 2.0]), "c": "nan"}
    assert finite(value) == {"a": [None, 1.5, None], "b": [None, 2.0], "c": "nan"}
    assert to_json(value, indent=None) == '{"a": [null, 1.5, null], "b": [null, 2.0], "c": "nan"}'
    kept = json.loads(to_json(value, exact=True))
    assert math.isnan(kept["a"][0])
    assert kept["a"][2] == -math.inf
    assert kept["b"] == [math.inf, 2.0]


def test_json_keeps_letters_readable() -> None:
    assert to_json({"ort": "Küche"}, indent=None) == '{"ort": "Küche"}'
    assert to_json({"a": 1}) == '{\n  "a": 1\n}'


@settings(deadline=None, max_examples=30)
@given(st.permutations(["a", "b", "c", "d"]))
def test_a_digest_ignores_the_order_of_keys_at_every_depth(order: list[str]) -> None:
    value = {key: {inner: ord(inner) for inner in order} for key in order}
    assert digest(value) == digest({key: {inner: ord(inner) for inner in "abcd"} for key in "abcd"})


def test_a_digest_depends_on_the_order_of_lists_and_on_the_types_of_values() -> None:
    values: list[Any] = [["a", "b"], ["b", "a"], "ab", 1, 1.5, "1", True, None, {"a": None}, {}]
    assert len({digest(value) for value in values}) == len(values)
    assert digest((1, Path("a"))) == digest([1, "a"])
