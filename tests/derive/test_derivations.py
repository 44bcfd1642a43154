"""Derivations other than pooling, and derived caches reproduced from their recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from cache_rows import make_rows
from derived_caches import CLIPS, make_cache, pooled

from egotools.config import option
from egotools.derive import lookup as derivations
from egotools.derive.deriving import Derived, derive
from egotools.derive.pool import Pool
from egotools.derive.reproduction import reproduced
from egotools.errors import StoreError
from egotools.stores import Recipe, Store, open_store
from egotools.stores.merge import convert
from egotools.stores.store import differences
from egotools.types import Rows


@pytest.fixture
def input(tmp_path):
    return make_cache(tmp_path / "a" / "color.lmdb")


def make_derivation(monkeypatch: pytest.MonkeyPatch, kind: type) -> str:
    monkeypatch.setitem(derivations.BUILT_IN, "mine", (f"{kind.__module__}:{kind.__name__}", "For tests."))
    return "mine"


@dataclass(frozen=True)
class Centered:
    """Learns the mean of the clips that a file names, in all inputs, then joins them: for tests."""

    version: ClassVar[int] = 1
    naming: ClassVar[str] = "centered-{input}"

    training: Path = option(Path("training.txt"), "Ids of the clips to learn from.")
    scale: float = option(1.0, "Factor.")

    def rows(self, inputs: Mapping[str, Store]) -> Iterator[tuple[str, Rows]]:
        ids = self.training.read_text().split()
        first, *_ = inputs.values()
        means = {name: np.concatenate([store[id].values for id in ids]).mean(0) for name, store in inputs.items()}
        for id in first:
            parts = [(store[id].values - means[name]) * self.scale for name, store in inputs.items()]
            yield id, Rows(np.concatenate(parts, 1), first[id].times)


@dataclass(frozen=True)
class Failing:
    """Ends in the middle, or writes nonsense: for tests."""

    version: ClassVar[int] = 1
    naming: ClassVar[str] = "{input}"

    how: str = option("", "Which.")

    def rows(self, inputs: Mapping[str, Store]) -> Iterator[tuple[str, Rows]]:
        (store,) = inputs.values()
        for done, id in enumerate(store):
            if done and self.how == "interrupted":
                raise KeyboardInterrupt
            rows = store[id]
            yield id, Rows(rows.values * 1e30, rows.times[:, ::-1].copy() if self.how == "times" else rows.times)


@pytest.fixture
def centered(tmp_path, input, monkeypatch):
    name = make_derivation(monkeypatch, Centered)
    (tmp_path / "ids.txt").write_text("a\nü/c")
    other = make_cache(tmp_path / "csn.lmdb")
    monkeypatch.chdir(tmp_path)
    return Derived(tmp_path / "m/centered.h5", name, Centered(Path("ids.txt")), {"color": input, "csn": other})


def test_a_derivation_may_learn_from_several_inputs_first(centered):
    made = derive(centered)
    learned = np.concatenate([CLIPS["a"].values, CLIPS["ü/c"].values]).mean(0)
    expected = np.concatenate([CLIPS["a"].values - learned] * 2, 1)
    np.testing.assert_allclose(open_store(made.cache)["a"].values, expected, rtol=1e-6)
    assert list(open_store(made.cache).recipe.identity["inputs"]) == ["color", "csn"]


def test_a_file_among_the_options_is_known_by_its_content(tmp_path, centered):
    recipe = open_store(derive(centered).cache).recipe
    again = reproduced(centered.cache, recipe)
    assert again.derivation == Centered(tmp_path / "ids.txt")
    assert not list(differences(recipe.identity, again.recipe().identity))
    (tmp_path / "ids.txt").write_text("a")
    ((name, _, _),) = differences(recipe.identity, again.recipe().identity)
    assert name == "options.training"
    (tmp_path / "ids.txt").unlink()
    with pytest.raises(StoreError, match=r"its training .*ids\.txt is gone"):
        reproduced(centered.cache, recipe)
    with pytest.raises(StoreError, match=r"ids\.txt: cannot be read .*'training'"):
        derive(centered)


def test_an_interrupted_derivation_leaves_nothing(tmp_path, input):
    with pytest.raises(KeyboardInterrupt):
        derive(Derived(tmp_path / "p/p.lmdb", "mine", Failing("interrupted"), {"color": input}))
    assert not list((tmp_path / "p").iterdir())


def test_rows_that_make_no_sense_are_not_published(tmp_path, input):
    with pytest.raises(StoreError, match=r"p\.lmdb: the new cache is damaged .*'a': times are"):
        derive(Derived(tmp_path / "p/p.lmdb", "mine", Failing("times"), {"color": input}))
    assert not list((tmp_path / "p").iterdir())


def test_values_too_large_for_float16_are_refused(tmp_path, input):
    with pytest.raises(StoreError, match="clip 'a' has values that are too large for float16"):
        derive(Derived(tmp_path / "p.lmdb", "mine", Failing(), {"color": input}, "float16"))


# Making again


def test_a_recipe_says_all_that_it_takes_to_make_the_cache_again(tmp_path, input, monkeypatch):
    wanted = pooled(tmp_path / "p.lmdb", input, "min", "std")
    monkeypatch.chdir(tmp_path)
    relative = Derived(Path("p.lmdb"), "pool", wanted.derivation, {"color": Path("a/color.lmdb")})
    recipe = open_store(derive(relative).cache).recipe
    again = reproduced(wanted.cache, recipe)
    assert again == wanted
    assert not list(differences(recipe.identity, again.recipe().identity))


def test_an_input_written_again_with_the_same_rows_is_no_difference(tmp_path, input):
    wanted = pooled(tmp_path / "p.lmdb", input)
    before = open_store(derive(wanted).cache).recipe.identity
    input.unlink()
    make_cache(input, dict(reversed(CLIPS.items())))
    assert wanted.recipe().identity == before
    input.unlink()
    make_cache(input, {**CLIPS, "a": make_rows(5, 9)})
    assert [name for name, _, _ in differences(before, wanted.recipe().identity)] == ["inputs.color"]


def test_a_cache_that_was_converted_stays_in_its_numbers(tmp_path, input):
    derive(pooled(tmp_path / "p.lmdb", input))
    convert(tmp_path / "p.lmdb", tmp_path / "half.lmdb", dtype="float16")
    recipe = open_store(tmp_path / "half.lmdb").recipe
    again = reproduced(tmp_path / "half.lmdb", recipe)
    assert not list(differences(recipe.identity, again.recipe().identity))
    made = derive(again, out=tmp_path / "new.lmdb")
    assert open_store(made.cache).dtype == np.float16
    assert open_store(made.cache)["a"].values.tolist() == open_store(tmp_path / "half.lmdb")["a"].values.tolist()


def test_a_later_version_of_the_code_is_a_difference(tmp_path, input, monkeypatch):
    wanted = pooled(tmp_path / "p.lmdb", input)
    recipe = wanted.recipe()
    monkeypatch.setattr(Pool, "version", 2)
    assert list(differences(recipe.identity, reproduced(wanted.cache, recipe).recipe().identity)) == [("version", 1, 2)]


def test_an_option_that_a_recipe_lacks_takes_its_default(tmp_path, input):
    recipe = pooled(tmp_path / "p.lmdb", input).recipe()
    bare = Recipe({**recipe.identity, "options": {}}, recipe.origin)
    assert reproduced(tmp_path / "p.lmdb", bare).derivation == Pool()


@pytest.mark.parametrize(
    ("identity", "problem"),
    [
        ({"derivation": "pol"}, r"unknown derivation 'pol'; did you mean 'pool'\?"),
        ({"derivation": "xyz"}, "unknown derivation 'xyz'; choose from cut, pool"),
        ({"version": 2}, "was made by version 2 of 'pool', this egotools has 1; update egotools"),
        ({"options": {"window": 3}}, r"pool no longer has the option 'window' \(3\)"),
        ({"options": {"statistics": 3}}, "the option 'statistics' cannot be 3"),
        ({"options": {"statistics": ["median"]}}, "cannot be rebuilt: pool: --statistics takes"),
        ({"options": None}, "its recipe has no options"),
    ],
)
def test_a_recipe_that_cannot_be_followed_says_why(tmp_path, input, identity, problem):
    recipe = pooled(tmp_path / "p.lmdb", input).recipe()
    with pytest.raises(StoreError, match=problem):
        reproduced(tmp_path / "p.lmdb", Recipe({**recipe.identity, **identity}, recipe.origin))


def test_an_input_that_is_gone_is_named(tmp_path, input):
    recipe = pooled(tmp_path / "p.lmdb", input).recipe()
    input.unlink()
    with pytest.raises(StoreError, match=rf"p\.lmdb: its input {input} is gone; restore it"):
        reproduced(tmp_path / "p.lmdb", recipe)
    with pytest.raises(StoreError, match="its recipe names no inputs"):
        reproduced(tmp_path / "p.lmdb", Recipe(recipe.identity, {}))
