"""Options: what they become in recipes and run configurations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from egotools.config import digest, file_digest, option, options_of, to_json


@dataclass(frozen=True)
class Inner:
    seed: int = 3


@dataclass(frozen=True)
class Options:
    rate: float = option(0.5, "A rate.")
    sides: tuple[int, ...] = option((1, 2), "Sides.")
    file: Path | None = option(None, "A file.")
    inner: Inner = Inner()


def test_options_are_json_in_the_order_of_the_fields():
    found = options_of(Options(file=Path("a/b")))
    assert list(found.items()) == [("rate", 0.5), ("sides", [1, 2]), ("file", "a/b"), ("inner", {"seed": 3})]
    assert json.loads(to_json(found)) == found


def test_a_class_or_a_plain_object_has_no_options():
    for value in (Options, 3, {"a": 1}):
        with pytest.raises(TypeError, match="is not a dataclass instance"):
            options_of(value)


def test_numbers_of_numpy_become_plain_ones():
    assert json.loads(to_json({"a": np.float32(0.5), "b": np.arange(2), 3: np.bool_(True)})) == {
        "a": 0.5,
        "b": [0, 1],
        "3": True,
    }


def test_a_digest_depends_on_values_and_not_on_their_order():
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": (2, 3), "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest("ü")) == 16


def test_a_files_digest_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * (3 << 20))
    (tmp_path / "b").write_bytes(b"x" * (3 << 20) + b"y")
    assert file_digest(tmp_path / "a") != file_digest(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"x" * (3 << 20))
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b")


def test_a_default_that_could_change_is_refused():
    with pytest.raises(TypeError, match="must not be mutable"):
        option([], "A list.")


def test_surrogates_of_names_that_are_no_utf8_stay_escaped() -> None:
    value = {"manifest": "caf\udce9/m.csv", "label": "caf\u00e9"}
    text = to_json(value)
    assert "caf\\udce9/m.csv" in text
    assert json.loads(text.encode()) == value
    assert digest(value) != digest({**value, "manifest": "cafe/m.csv"})
