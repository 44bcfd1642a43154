"""Stale caches made again: what is computed, what is kept, and what of a clip that cannot be had."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from planted import (
    add,
    contents,
    damage,
    drawn,
    edit,
    plant,
    touch,
    want,
    write_own,
)
from rebuilt import Contents, assert_settled, forget, kept, only, remake, remake_all, spoil

from egotools.extraction.recipes import recipe_of
from egotools.extractors.color import Color
from egotools.manifests.table import read_manifest
from egotools.provenance import manifest_origin
from egotools.rebuild import rebuilding, swap
from egotools.rebuild.planning import Planner, RebuildOptions
from egotools.stores import open_store
from egotools.types import Clip, Shard

SUFFIXES = [".lmdb", ".h5"]


# --- what is computed and what is kept


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_what_is_stale_is_computed_and_the_rest_is_kept_bit_for_bit(
    manifest: Path, tmp_path: Path, truth: Contents, passes: list[dict[str, int]], suffix: str
) -> None:
    cache = plant(want(tmp_path / f"color{suffix}", "color"), manifest)
    touch(tmp_path / "b.mp4")
    outcome = remake(cache)
    assert (outcome.state, outcome.computed, outcome.carried, outcome.remarks) == ("fresh", 1, 2, [])
    assert passes == [{cache.name: 1}]
    assert contents(cache) == {**kept("a", "c"), **only(truth, "b")}
    assert_settled(cache)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_added_clips_come_in_and_dropped_ones_go(manifest: Path, tmp_path: Path, truth: Contents, suffix: str) -> None:
    cache = plant(want(tmp_path / f"color{suffix}", "color"), manifest)
    edit(manifest, "c")
    add(manifest, Clip("d", tmp_path / "a.mp4"))
    outcome = remake(cache)
    assert (outcome.computed, outcome.carried) == (1, 2)
    assert contents(cache) == {**kept("a", "b"), "d": truth["a"]}
    assert_settled(cache)


def test_clips_are_dropped_without_a_pass(manifest: Path, color: Path, passes: list[dict[str, int]]) -> None:
    edit(manifest, "b")
    assert (remake(color).state, passes, contents(color)) == ("fresh", [], kept("a", "c"))
    assert_settled(color)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_rows_are_computed_again(manifest: Path, tmp_path: Path, truth: Contents, suffix: str) -> None:
    cache = plant(want(tmp_path / f"color{suffix}", "color"), manifest)
    damage(cache, drawn("b", 30))
    assert remake(cache, checksums=False).state == "fresh"  # nobody looked
    assert remake(cache).computed == 1
    assert contents(cache) == {**kept("a", "c"), **only(truth, "b")}


def test_damaged_rows_that_nobody_looked_for_are_never_copied_on(manifest: Path, color: Path) -> None:
    damage(color, drawn("b", 30))
    before = color.read_bytes()
    touch(manifest.with_name("a.mp4"))
    outcome = remake(color, checksums=False)
    assert (outcome.state, color.read_bytes() == before) == ("stale", True)
    assert "damaged: clip 'b' is not what was written" in outcome.problem
    assert (remake(color).state, remake(color).computed) == ("fresh", 0)


def test_newer_code_makes_a_cache_as_an_extraction_would(
    manifest: Path, color: Path, truth: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Color, "version", 2)
    assert remake(color).computed == 3
    assert contents(color) == truth
    assert open_store(color).recipe.identity["version"] == 2
    assert_settled(color)


def test_a_fresh_cache_is_not_touched(manifest: Path, color: Path, passes: list[dict[str, int]]) -> None:
    before = color.stat().st_ino, color.read_bytes()
    swap.folder_of(color).mkdir()  # as if killed right after a swap
    outcome = remake(color)
    assert (outcome.state, outcome.computed, outcome.carried, passes) == ("fresh", 0, 3, [])
    assert (color.stat().st_ino, color.read_bytes()) == before
    assert_settled(color)


def test_a_cache_stays_limited_to_the_first_clips(manifest: Path, tmp_path: Path) -> None:
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, limit=2)
    forget(manifest)
    assert (remake(cache).computed, list(open_store(cache))) == (2, ["a", "b"])
    assert open_store(cache).recipe.origin["limit"] == 2
    assert_settled(cache)


def test_the_cache_of_a_shard_stays_one(manifest: Path, tmp_path: Path) -> None:
    wanted = want(tmp_path / "color.lmdb", "color")
    recipe = recipe_of(wanted, manifest_origin(manifest, shard=Shard(1, 2)))  # a, c; and b is in the other
    cache = plant(wanted, manifest, "a", recipe=recipe)
    assert (remake(cache).computed, list(open_store(cache))) == (1, ["a", "c"])
    assert open_store(cache).recipe.origin["shard"] == "1/2"
    assert_settled(cache)


def test_another_manifest_is_the_caches_own_from_then_on(manifest: Path, color: Path) -> None:
    other = manifest.rename(manifest.with_name("other.csv"))
    assert "m.csv is gone" in remake(color).problem
    forget(manifest, "a")
    assert remake(color, manifest=other).state == "fresh"
    assert open_store(color).recipe.origin["manifest"] == str(other)
    assert_settled(color)


@pytest.mark.parametrize("is_sealed", [True, False])
def test_what_an_interrupted_pass_left_is_taken_in(
    manifest: Path, tmp_path: Path, truth: Contents, is_sealed: bool
) -> None:
    wanted = want(tmp_path / "color.h5", "color")
    if is_sealed:
        plant(wanted, manifest, "a")
    plant(wanted, manifest, "b", seal=False)
    outcome = remake(wanted.cache)
    assert (outcome.computed, outcome.carried) == ((1, 2) if is_sealed else (2, 1))
    assert contents(wanted.cache) == {**truth, **kept(*("ab" if is_sealed else "b"))}
    assert list(tmp_path.glob("color.h5.part*")) == []
    assert_settled(wanted.cache)


# --- one pass for many


def test_caches_of_a_manifest_share_a_pass_whatever_their_format_and_numbers(
    manifest: Path, tmp_path: Path, truth: Contents, passes: list[dict[str, int]]
) -> None:
    exact = plant(want(tmp_path / "exact.lmdb", "color"), manifest)
    half = plant(want(tmp_path / "half.h5", "color", dtype="float16"), manifest)
    dense = plant(want(tmp_path / "dense.h5", "color", fps=5.0), manifest, "a")
    forget(manifest, "b", "c")
    assert [each.state for each in remake_all(exact, half, dense)] == ["fresh"] * 3
    assert passes == [{"exact.lmdb": 2, "half.h5": 2, "dense.h5": 2}]
    assert contents(exact) == {**kept("a"), **only(truth, "b", "c")}
    rows = np.frombuffer(truth["b"][0], np.float32)
    assert contents(half)["b"][0] == rows.astype(np.float16).tobytes()
    assert contents(half)["a"] == kept("a", dtype="float16")["a"]
    for cache in (exact, half, dense):
        assert_settled(cache)


def test_caches_of_other_clips_have_passes_of_their_own(
    manifest: Path, tmp_path: Path, passes: list[dict[str, int]]
) -> None:
    one = plant(want(tmp_path / "one.lmdb", "color"), manifest)
    two = plant(want(tmp_path / "two.lmdb", "color"), manifest, limit=1)
    forget(manifest, "a")
    assert [each.state for each in remake_all(one, two)] == ["fresh"] * 2
    assert passes == [{"one.lmdb": 1}, {"two.lmdb": 1}]


def test_a_pass_is_for_so_many_caches_only(
    manifest: Path, tmp_path: Path, passes: list[dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    caches = [plant(want(tmp_path / f"{number}.lmdb", "color"), manifest) for number in range(5)]
    forget(manifest, "a")
    monkeypatch.setattr(rebuilding, "CACHES_PER_PASS", 2)
    assert [each.state for each in remake_all(*caches)] == ["fresh"] * 5
    assert [set(each) for each in passes] == [{"0.lmdb", "1.lmdb"}, {"2.lmdb", "3.lmdb"}, {"4.lmdb"}]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_plans_of_many_caches_take_no_address_space(manifest: Path, tmp_path: Path, color: Path) -> None:
    caches = [plant(want(tmp_path / f"plan{number}.lmdb", "color"), manifest) for number in range(3)]
    planner = Planner(RebuildOptions())
    plans = [planner.plan(cache) for cache in caches]
    open_store(color)  # whoever opens a cache closes those that nobody looks into
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    assert len(plans) == 3
    assert mapped.isdisjoint(map(str, caches))


def test_weights_that_do_not_fit_stop_no_other_cache(manifest: Path, tmp_path: Path, color: Path) -> None:
    np.savez(tmp_path / "w.npz", x=np.zeros(1))
    name = "torchvision:squeezenet1_1"
    net = plant(want(tmp_path / "net.lmdb", name, weights=str(tmp_path / "w.npz")), manifest)
    before = net.read_bytes()
    forget(manifest, "a")
    left, made = remake_all(net, color)
    assert (left.state, made.state) == ("stale", "fresh")
    assert "left unchanged" in left.problem
    assert "does not fit the network" in left.problem
    assert net.read_bytes() == before
    assert_settled(color)


def test_code_of_the_users_own_runs_only_when_it_is_trusted(manifest: Path, tmp_path: Path, color: Path) -> None:
    own, computed = write_own(tmp_path), tmp_path / "computed"
    cache = plant(want(tmp_path / "own.lmdb", f"{own}:Own"), manifest)
    before = cache.read_bytes()
    forget(manifest, "b")
    left, made = remake_all(cache, color)
    assert (left.state, made.state, cache.read_bytes() == before) == ("stale", "fresh", True)
    assert f"--trust {own}" in left.problem
    assert not computed.exists()
    trusted = frozenset([str(own)])
    assert remake(cache, trusted=trusted).computed == 1
    assert computed.read_text() == "b\n"  # one reading, of what was stale
    write_own(tmp_path, factor=4.0)
    assert remake(cache, trusted=trusted).computed == 3
    assert sorted(computed.read_text().split()) == ["a", "b", "b", "c"]


# --- clips that cannot be had


def test_a_clip_whose_new_file_cannot_be_read_goes_and_is_recorded_and_the_others_go_on(
    manifest: Path, color: Path, truth: Contents
) -> None:
    spoil(manifest, "b")
    forget(manifest, "c")
    outcome = remake(color)
    assert (outcome.state, set(outcome.failed), outcome.computed, outcome.carried) == ("incomplete", {"b"}, 1, 1)
    assert contents(color) == {**kept("a"), **only(truth, "c")}
    assert [clip.id for clip in read_manifest(Path(f"{color}.failed.csv"))] == ["b"]
    assert remake(color).state == "fresh"  # and the failure is unchanged
    assert_settled(color)


def test_clips_that_a_new_recipe_cannot_make_keep_the_old_cache_until_they_may_be_dropped(
    manifest: Path, color: Path, truth: Contents, passes: list[dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(manifest, "b")
    monkeypatch.setattr(Color, "version", 2)
    before = color.stat().st_ino, color.read_bytes()
    outcome = remake(color)
    assert (outcome.state, set(outcome.failed)) == ("stale", {"b"})
    assert "1 of its clips cannot be rebuilt, such as 'b'" in outcome.problem
    assert "--drop-failed" in outcome.problem
    assert (color.stat().st_ino, color.read_bytes()) == before
    outcome = remake(color, drop=True)
    assert (outcome.state, set(outcome.failed), outcome.computed) == ("incomplete", {"b"}, 2)
    assert passes == [{"color.lmdb": 2}, {"color.lmdb": 0}]  # what was computed had waited
    assert contents(color) == only(truth, "a", "c")
    assert_settled(color)


def test_a_new_clip_that_cannot_be_read_is_recorded_and_the_cache_not_written(manifest: Path, color: Path) -> None:
    before = color.stat().st_ino
    add(manifest, Clip("gone", manifest.with_name("gone.mp4")))
    outcome = remake(color)
    assert (outcome.state, set(outcome.failed), color.stat().st_ino) == ("incomplete", {"gone"}, before)
    assert "gone.mp4" in outcome.remarks[0]
    assert remake(color).state == "fresh"
    shutil.copy(manifest.with_name("a.mp4"), manifest.with_name("gone.mp4"))
    assert (remake(color).computed, "gone" in open_store(color)) == (1, True)
    assert not Path(f"{color}.failed.csv").exists()


def test_the_list_of_failures_is_brought_up_to_date(manifest: Path, tmp_path: Path) -> None:
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, failed={"b", "c"})
    add(manifest, Clip("d", tmp_path / "no.mp4"))
    forget(manifest, "b")
    outcome = remake(cache)
    assert (outcome.computed, set(outcome.failed), list(open_store(cache))) == (1, {"d"}, ["a", "b"])
    failed = {clip.id: clip.labels["error"] for clip in read_manifest(Path(f"{cache}.failed.csv"))}
    assert failed.keys() == {"c", "d"}
    assert failed["c"] == "broken"
    edit(manifest, "c")
    remake(cache, retry_failed=True)
    assert [clip.id for clip in read_manifest(Path(f"{cache}.failed.csv"))] == ["d"]


def test_a_cache_without_a_clip_takes_the_new_recipe(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        spoil(manifest, name)
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, failed="abc")
    monkeypatch.setattr(Color, "version", 2)
    assert (remake(cache).state, len(open_store(cache))) == ("incomplete", 0)
    assert remake(cache).state == "fresh"
