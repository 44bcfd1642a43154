"""Caches that were derived from caches: they follow what they were made from, after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from planted import assert_unknown, assess, contents, damage, drawn, edit
from rebuilt import assert_settled, forget, remake, remake_all, spoil

from egotools.derive.deriving import Derived, derive
from egotools.derive.pool import Pool
from egotools.errors import StoreError
from egotools.extractors.color import Color
from egotools.rebuild.planning import RebuildOptions, check_names, targets
from egotools.rebuild.quick_status import QuickStatus
from egotools.stores import open_store
from egotools.stores.store import part_of
from egotools.stores.writer_lock import WriterLock

SUFFIXES = [".lmdb", ".h5"]


def pool(out: Path, *inputs: Path, statistic: str = "mean") -> Path:
    derive(Derived(out, "pool", Pool((statistic,)), {input.stem: input for input in inputs}))
    return out


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_derived_cache_is_made_again_after_its_input(
    manifest: Path, color: Path, tmp_path: Path, passes: list[dict[str, int]], suffix: str
) -> None:
    pooled = pool(color.with_name(f"a{suffix}"), color)  # sorted before its input
    assert targets([color.parent]) == [color, pooled]
    assert assess(pooled).state == "fresh"
    forget(manifest, "b")
    assert f"its input {color} is stale" in assess(pooled).reasons
    first, second = remake_all(*targets([color.parent]))
    assert (first.state, first.computed) == ("fresh", 1)
    assert (second.state, second.computed, second.carried) == ("fresh", 3, 0)
    assert passes == [{"color.lmdb": 1}]
    assert contents(pooled) == contents(pool(tmp_path / "anew.lmdb", color))
    for cache in (color, pooled):
        assert_settled(cache)


def test_a_derived_cache_of_an_input_that_is_not_fresh_is_left_and_named(manifest: Path, color: Path) -> None:
    pooled = pool(color.with_name("pooled.lmdb"), color)
    before = pooled.read_bytes()
    forget(manifest, "b")
    outcome = remake(pooled)
    assert (outcome.state, pooled.read_bytes() == before) == ("stale", True)
    assert f"left unchanged: its input {color} is stale" in outcome.problem
    assert [each.state for each in remake_all(color, pooled)] == ["fresh", "fresh"]


def test_an_input_that_cannot_be_made_again_keeps_what_was_derived_from_it(
    manifest: Path, color: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled = pool(color.with_name("pooled.lmdb"), color)
    before = pooled.read_bytes()
    spoil(manifest, "b")
    monkeypatch.setattr(Color, "version", 2)
    assert [each.state for each in remake_all(color, pooled)] == ["stale", "stale"]
    assert pooled.read_bytes() == before


def test_an_input_that_lacks_a_clip_from_now_on_is_followed(manifest: Path, color: Path) -> None:
    pooled = pool(color.with_name("pooled.lmdb"), color)
    spoil(manifest, "b")
    assert [each.state for each in remake_all(color, pooled)] == ["incomplete", "fresh"]
    assert list(open_store(pooled)) == ["a", "c"]


def test_an_input_that_was_made_again_before_makes_its_derived_cache_stale(manifest: Path, color: Path) -> None:
    pooled = pool(color.with_name("pooled.lmdb"), color)
    forget(manifest, "b")
    assert remake(color).state == "fresh"
    assert assess(pooled).reasons == ("its input color has changed",)
    assert remake(pooled).computed == 3
    assert_settled(pooled)


def test_a_clip_that_was_dropped_goes_from_derived_caches_too(manifest: Path, color: Path) -> None:
    pooled = pool(color.with_name("pooled.lmdb"), color)
    edit(manifest, "b")
    assert [each.state for each in remake_all(color, pooled)] == ["fresh", "fresh"]
    assert list(open_store(pooled)) == ["a", "c"]


def test_an_input_that_is_gone_is_named(color: Path) -> None:
    pooled = pool(color.with_name("pooled.lmdb"), color)
    color.unlink()
    assert_unknown(assess(pooled), f"its input {color} is gone; restore it, or delete this cache too")
    assert_unknown(remake(pooled).before, "is gone")


def test_derived_caches_of_derived_caches_follow_in_turn(manifest: Path, color: Path) -> None:
    one = pool(color.with_name("b.h5"), color)
    two = pool(color.with_name("a.lmdb"), one, statistic="max")
    found = targets([color.parent])
    assert found == [color, one, two]
    forget(manifest)
    assert [each.state for each in remake_all(*found)] == ["fresh"] * 3
    assert_settled(two)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_rows_of_a_derived_cache_are_made_again(color: Path, suffix: str) -> None:
    pooled = pool(color.with_name(f"pooled{suffix}"), color)
    before = contents(pooled)
    damage(pooled, open_store(pooled)["b"])
    assert assess(pooled, checksums=False).state == "fresh"
    assert assess(pooled).reasons == ("clip 'b': checksum differs: not the bytes that were written",)
    outcome = remake(pooled, keep_old=True)
    assert (outcome.state, contents(pooled)) == ("fresh", before)
    assert outcome.kept is not None
    assert len(open_store(outcome.kept)) == 3


def test_a_damaged_input_damages_nothing_that_is_derived_from_it(color: Path) -> None:
    pooled = pool(color.with_name("pooled.lmdb"), color)
    before = contents(pooled)
    damage(color, drawn("b", 30))
    assert remake(pooled).state == "stale"
    assert contents(pooled) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_derived_cache_that_is_being_written_is_refused(manifest: Path, color: Path, suffix: str) -> None:
    pooled = pool(color.with_name(f"pooled{suffix}"), color)
    forget(manifest, "a")
    lock = WriterLock(part_of(pooled) if suffix == ".h5" else pooled)
    try:
        made, refused = remake_all(color, pooled)
    finally:
        lock.release()
    assert (made.state, refused.state) == ("fresh", "unknown")
    assert "is being written by another process" in refused.problem


def test_a_newer_derivation_is_left_alone(color: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Pool, "version", 3)
        pooled = pool(color.with_name("pooled.lmdb"), color)
    assert_unknown(assess(pooled), "was made by version 3 of 'pool', this egotools has 1; update egotools")
    monkeypatch.setattr(Pool, "version", 4)
    assert assess(pooled).reasons == ("version was 3, is now 4",)


def test_a_glance_says_the_same(manifest: Path, color: Path) -> None:
    pooled = pool(color.with_name("pooled.lmdb"), color)
    assert QuickStatus()(pooled).state == "fresh"
    forget(manifest, "a")
    assert QuickStatus()(pooled).reasons == assess(pooled).reasons


def test_recipes_that_name_each_other_are_no_riddle(color: Path) -> None:
    one = pool(color.with_name("one.lmdb"), color)
    two = pool(color.with_name("two.lmdb"), one)
    os.replace(two, one)  # which names itself now
    assert targets([one]) == [one]
    assert assess(one).state != "fresh"
    assert QuickStatus()(one).state != "fresh"
    assert remake(one).state != "fresh"


def test_new_weights_are_for_what_has_weights(manifest: Path, color: Path, tmp_path: Path) -> None:
    pooled = pool(tmp_path / "pooled/mean.lmdb", color)
    namesake = pool(tmp_path / "pooled/color.lmdb", color)
    with pytest.raises(StoreError, match="no cache 'mean' for its --weights; choose from color"):
        check_names([color, pooled, namesake], RebuildOptions({"mean": "random:1"}))
    check_names([color, pooled, namesake], RebuildOptions({"color": "random:1"}))
    assert assess(namesake, weights={"color": "random:1"}).state != "unknown"
