"""The old cache stands until the new one is whole: interruptions, the swap, readers, two at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from planted import (
    add,
    changed,
    contents,
    damage,
    drawn,
    edit,
    plant,
    want,
)
from rebuilt import ONE, Contents, assert_settled, forget, interrupt, kept, only, remake, remake_all

from egotools.errors import StoreError
from egotools.extraction.engine import extract
from egotools.extraction.recipes import recipe_of
from egotools.extractors.color import Color
from egotools.manifests.table import read_manifest
from egotools.progress import no_progress
from egotools.rebuild import swap
from egotools.rebuild.planning import RebuildOptions, targets
from egotools.rebuild.rebuilding import HowToRebuild, rebuild
from egotools.stores import open_store
from egotools.stores.store import part_of
from egotools.stores.summary import find_caches
from egotools.stores.verify import Verification
from egotools.stores.writer_lock import WriterLock
from egotools.types import Clip

SUFFIXES = [".lmdb", ".h5"]


# --- interrupted


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_rebuild_goes_on_where_it_was(
    manifest: Path, tmp_path: Path, truth: Contents, passes: list[dict[str, int]], suffix: str
) -> None:
    cache = plant(want(tmp_path / f"color{suffix}", "color"), manifest)
    forget(manifest)
    before = cache.read_bytes()
    interrupt(cache)
    assert (cache.read_bytes() == before, list(find_caches([tmp_path]))) == (True, [cache])
    outcome = remake(cache)
    assert (outcome.computed, passes) == (3, [{cache.name: 1}])
    assert contents(cache) == truth
    assert_settled(cache)


def test_an_interrupted_rebuild_begins_anew_when_the_recipe_changed_again(
    manifest: Path, color: Path, passes: list[dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Color, "version", 2)
    interrupt(color)
    monkeypatch.setattr(Color, "version", 3)
    assert remake(color).state == "fresh"
    assert passes == [{"color.lmdb": 3}]
    assert open_store(color).recipe.identity["version"] == 3
    assert_settled(color)


def test_of_an_interrupted_rebuild_only_what_still_holds_is_kept(
    manifest: Path, color: Path, truth: Contents, passes: list[dict[str, int]]
) -> None:
    forget(manifest)
    interrupt(color)
    there = list(open_store(swap.workplace(color)))
    assert len(there) == 2
    edit(manifest, there[0], **{there[1]: {"start": 0.4}})
    add(manifest, Clip("d", manifest.with_name("a.mp4")))
    assert remake(color).state == "fresh"
    assert passes == [{"color.lmdb": 3}]
    ids = {"a", "b", "c", "d"} - {there[0]}
    assert set(open_store(color)) == ids
    assert open_store(color)[there[1]].times[0, 0] >= 0.4 - 1e-6
    assert contents(color)["d"] == truth["a"]
    assert_settled(color)


def test_what_is_damaged_of_an_interrupted_rebuild_is_computed_again(
    manifest: Path, color: Path, truth: Contents, passes: list[dict[str, int]]
) -> None:
    forget(manifest)
    interrupt(color)
    place = swap.workplace(color)
    store = open_store(place)
    rows = store[next(iter(store))]
    del store
    damage(place, rows)
    assert remake(color).state == "fresh"
    assert (passes, contents(color)) == ([{"color.lmdb": 2}], truth)


def test_an_interrupted_try_at_failures_does_not_stop_a_rebuild_without_one(manifest: Path, tmp_path: Path) -> None:
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, failed="abc")
    interrupt(cache, retry_failed=True)
    (first, *_) = open_store(swap.workplace(cache))
    add(manifest, Clip("d", tmp_path / "a.mp4"))
    assert (remake(cache).state, list(open_store(cache))) == ("fresh", ["d"])
    assert (remake(cache, retry_failed=True).state, first in open_store(cache)) == ("fresh", True)
    assert_settled(cache)


def test_a_new_cache_that_is_not_as_it_should_be_never_takes_the_olds_place(
    manifest: Path, color: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(manifest, "a")
    before = color.stat().st_ino, color.read_bytes()

    def finding(path: Path, *, progress: Callable[[int, int], None] = lambda *_: None) -> Verification:
        return Verification(path, 3, 3, bad={"a": "checksum differs"})

    monkeypatch.setattr(swap, "verify", finding)
    outcome = remake(color)
    assert outcome.state == "stale"
    assert "the new cache is not as expected (clip 'a': checksum differs)" in outcome.problem
    assert (color.stat().st_ino, color.read_bytes()) == before
    monkeypatch.undo()
    assert remake(color).state == "fresh"
    assert_settled(color)


# --- the swap


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_old_cache_is_kept_on_request_where_nothing_looks_unasked(
    manifest: Path, tmp_path: Path, truth: Contents, suffix: str
) -> None:
    cache = plant(want(tmp_path / f"caches/color{suffix}", "color"), manifest)
    forget(manifest)
    outcome = remake(cache, keep_old=True)
    assert outcome.kept is not None
    assert outcome.kept.parent == tmp_path / "caches/.old"
    assert outcome.kept.suffix == suffix
    assert contents(outcome.kept) == kept("a", "b", "c")
    assert contents(cache) == truth
    assert targets([tmp_path / "caches"]) == [cache]
    forget(manifest, "a")
    again = remake(cache, keep_old=True)  # perhaps within the same second
    assert again.kept is not None
    assert contents(outcome.kept) == kept("a", "b", "c")
    assert contents(again.kept) == truth


READ = """
import sys
from pathlib import Path
from egotools.stores import open_store
store = open_store(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.readline()
print(float(sum(store[id].values.sum() for id in store)), len(store))
"""


@pytest.fixture
def reader() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts another process that has a cache open, and reads it on a line of input."""
    started = []

    def start(cache: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", READ, str(cache)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_who_has_the_old_cache_open_goes_on_reading_it(
    manifest: Path, tmp_path: Path, truth: Contents, reader: Callable[[Path], subprocess.Popen[str]], suffix: str
) -> None:
    cache = plant(want(tmp_path / f"color{suffix}", "color"), manifest)
    store, other = open_store(cache), reader(cache)
    forget(manifest)
    edit(manifest, "c")
    assert remake(cache).state == "fresh"
    assert {id: store[id].values.tobytes() for id in store} == {id: rows for id, (rows, _) in kept(*"abc").items()}
    said, _ = other.communicate("go\n", timeout=30)
    expected = sum(float(drawn(id, 30).values.sum()) for id in "abc")
    assert float(said.split()[0]) == pytest.approx(expected, rel=1e-5)
    assert said.split()[1] == "3"
    assert contents(cache) == only(truth, "a", "b")


def test_a_link_stays_a_link_to_what_is_made_again(manifest: Path, color: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.lmdb"
    link.symlink_to(color)
    forget(manifest, "a")
    assert remake(*targets([link])).computed == 1
    assert (link.is_symlink(), link.resolve()) == (True, color.resolve())
    assert contents(link)["a"] != kept("a")["a"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(("link", ".link"))) == ["link.lmdb"]


def test_an_older_part_that_a_killed_rebuild_could_not_remove_any_more_goes(manifest: Path, tmp_path: Path) -> None:
    cache = plant(want(tmp_path / "color.h5", "color"), manifest)
    older = plant(want(tmp_path / "older.h5", "color", bins=4), manifest, seal=False)
    part_of(older).rename(part_of(cache))
    outcome = remake(cache)
    assert (outcome.state, outcome.computed, contents(cache)) == ("fresh", 0, kept("a", "b", "c"))
    assert list(tmp_path.glob("color.h5.part*")) == []
    assert_settled(cache)


# --- two at once


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cache_that_another_process_writes_is_refused_and_the_others_are_made(
    manifest: Path, tmp_path: Path, color: Path, suffix: str
) -> None:
    cache = plant(want(tmp_path / f"busy{suffix}", "color"), manifest)
    forget(manifest, "a")
    lock = WriterLock(part_of(cache) if suffix == ".h5" else cache)
    try:
        refused, made = remake_all(cache, color)
    finally:
        lock.release()
    assert (refused.state, made.state) == ("unknown", "fresh")
    assert "is being written by another process" in refused.problem
    assert not swap.folder_of(cache).exists()
    assert remake(cache).state == "fresh"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_while_a_cache_is_made_again_nobody_else_writes_it(manifest: Path, tmp_path: Path, suffix: str) -> None:
    wanted = want(tmp_path / f"color{suffix}", "color")
    plant(wanted, manifest)
    forget(manifest, "a")
    outcomes = []

    def meanwhile(stage: str, done: float, total: int, rows: int | None = None) -> None:
        if stage == "extracting" and not outcomes:
            outcomes.extend(rebuild([wanted.cache], RebuildOptions(), HowToRebuild(ONE), progress=no_progress))
            with pytest.raises(StoreError, match="is being written by another process"):
                extract(read_manifest(manifest), [wanted], resources=ONE)

    made = rebuild([wanted.cache], RebuildOptions(), HowToRebuild(ONE), progress=meanwhile)
    assert (made[0].state, outcomes[0].state) == ("fresh", "unknown")
    assert "is being written by another process" in outcomes[0].problem
    assert_settled(wanted.cache)


def test_an_unknown_cache_is_left_and_named_and_the_others_are_made(
    manifest: Path, tmp_path: Path, color: Path
) -> None:
    wanted = want(tmp_path / "late.lmdb", "color")
    recipe = recipe_of(wanted, {"manifest": str(manifest)})
    late = plant(wanted, manifest, recipe=changed(recipe, sharpness=3))
    before = late.read_bytes()
    forget(manifest, "a")
    left, made = remake_all(late, color)
    assert (left.state, made.state, late.read_bytes() == before) == ("unknown", "fresh", True)
    assert "left unchanged: cannot be rebuilt: color no longer has the option 'sharpness'" in left.problem


def test_an_old_cache_that_cannot_be_kept_stays_in_its_place(manifest: Path, color: Path) -> None:
    forget(manifest)
    (color.parent / ".old").write_text("a file where the folder is to be")
    before = color.read_bytes()
    outcome = remake(color, keep_old=True)
    assert (outcome.state, "cannot be replaced" in outcome.problem) == ("stale", True)
    assert color.read_bytes() == before
    (color.parent / ".old").unlink()
    assert remake(color, keep_old=True).state == "fresh"
