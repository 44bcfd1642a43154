"""Stale caches made again: what is computed, what is kept, and that the old one stands until the new one is whole."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_video
from planted import add, changed, contents, damage, drawn, edit, plant, touch, want, write_own

from egotools.engine.pipeline import Pipeline
from egotools.engine.reading import Piece
from egotools.engine.recipes import recipe_of
from egotools.engine.request import Extraction, Resources, Wanted
from egotools.errors import StoreError
from egotools.extract import extract
from egotools.extractors.lowlevel import Color
from egotools.manifests import read_manifest, write_manifest
from egotools.rebuild import exchange, making
from egotools.rebuild.making import Outcome, Way, rebuild
from egotools.rebuild.planning import Order, Planner, targets, unseen
from egotools.stores import open_store
from egotools.stores.store import part_of
from egotools.stores.summary import find_caches
from egotools.stores.verify import Verification, verify
from egotools.stores.writer_lock import WriterLock
from egotools.types import Clip

ONE = Resources(device="cpu", workers=1)
SUFFIXES = [".lmdb", ".h5"]
Contents = dict[str, tuple[bytes, bytes]]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in "abc":
        write_video(folder / f"{name}.mp4", 8, size=(32, 32), first=ord(name))
    return folder


@pytest.fixture(scope="module")
def truth(originals: Path) -> Contents:
    """What an extraction gives."""
    wanted = want(originals / "truth.lmdb", "color")
    extract([Clip(name, originals / f"{name}.mp4") for name in "abc"], [wanted], resources=ONE)
    return contents(wanted.cache)


@pytest.fixture
def manifest(originals: Path, tmp_path: Path) -> Path:
    """Clips `a`, `b` and `c`, each a video of its own beside the manifest."""
    for name in "abc":
        shutil.copy2(originals / f"{name}.mp4", tmp_path)
    write_manifest(tmp_path / "m.csv", [Clip(name, tmp_path / f"{name}.mp4") for name in "abc"])
    return tmp_path / "m.csv"


@pytest.fixture
def color(manifest: Path, tmp_path: Path) -> Path:
    return plant(want(tmp_path / "caches/color.lmdb", "color"), manifest)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """Of every extraction that a rebuild begins and ends: how many clips it computed for each cache."""
    seen: list[dict[str, int]] = []

    def watched(clips: Sequence[Clip], wanted: Sequence[Wanted], **given: Any) -> Extraction:
        result = extract(clips, wanted, **given)
        seen.append({cache.parent.name.removesuffix(".rebuild")[1:]: done for cache, done in result.done.items()})
        return result

    monkeypatch.setattr(making, "extract", watched)
    return seen


def remake(*caches: Path, engine: Any = Pipeline, keep_old: bool = False, drop: bool = False, **order: Any) -> Outcome:
    """Makes caches again; the outcome of the first."""
    return remake_all(*caches, engine=engine, keep_old=keep_old, drop=drop, **order)[0]


def remake_all(*caches: Path, engine: Any = Pipeline, keep_old: bool = False, drop: bool = False, **order: Any) -> Any:
    return rebuild(caches, Order(**order), Way(ONE, engine, keep_old, drop), progress=unseen)


def planted(*ids: str, dtype: str = "float32") -> Contents:
    rows = {id: drawn(id, 30, dtype) for id in ids}
    return {id: (each.values.tobytes(), each.times.tobytes()) for id, each in rows.items()}


def only(found: Contents, *ids: str) -> Contents:
    return {id: found[id] for id in ids}


def assert_settled(cache: Path) -> None:
    """Fresh, whole, and nothing of the making is left."""
    assert Planner(Order()).assess(cache).state == "fresh"
    assert verify(cache).is_sound
    left = {path.name for path in cache.parent.iterdir() if path.name.startswith(f".{cache.name}")}
    left |= {path.name for path in cache.parent.glob("*.writer")}
    assert left == set()


class Interrupted(Pipeline):
    """Ctrl-C after two clips."""

    def pieces(self, tasks: Any, is_wanted: Any) -> Any:
        given = 0
        for message in super().pieces(tasks, is_wanted):
            if isinstance(message, Piece):
                if given == 2:
                    raise KeyboardInterrupt
                given += 1
            yield message


def interrupt(*caches: Path, **order: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        remake(*caches, engine=Interrupted, **order)


def forget(manifest: Path, *names: str) -> None:
    """Makes the clips of a cache stale."""
    for name in names or "abc":
        touch(manifest.with_name(f"{name}.mp4"))


def spoil(manifest: Path, name: str) -> None:
    manifest.with_name(f"{name}.mp4").write_text("not a video any more")


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
    assert contents(cache) == {**planted("a", "c"), **only(truth, "b")}
    assert_settled(cache)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_added_clips_come_in_and_dropped_ones_go(manifest: Path, tmp_path: Path, truth: Contents, suffix: str) -> None:
    cache = plant(want(tmp_path / f"color{suffix}", "color"), manifest)
    edit(manifest, "c")
    add(manifest, Clip("d", tmp_path / "a.mp4"))
    outcome = remake(cache)
    assert (outcome.computed, outcome.carried) == (1, 2)
    assert contents(cache) == {**planted("a", "b"), "d": truth["a"]}
    assert_settled(cache)


def test_clips_are_dropped_without_a_pass(manifest: Path, color: Path, passes: list[dict[str, int]]) -> None:
    edit(manifest, "b")
    assert (remake(color).state, passes, contents(color)) == ("fresh", [], planted("a", "c"))
    assert_settled(color)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_rows_are_computed_again(manifest: Path, tmp_path: Path, truth: Contents, suffix: str) -> None:
    cache = plant(want(tmp_path / f"color{suffix}", "color"), manifest)
    damage(cache, drawn("b", 30))
    assert remake(cache, checksums=False).state == "fresh"  # nobody looked
    assert remake(cache).computed == 1
    assert contents(cache) == {**planted("a", "c"), **only(truth, "b")}


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
    exchange.folder_of(color).mkdir()  # as if killed right after a swap
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
    assert contents(wanted.cache) == {**truth, **planted(*("ab" if is_sealed else "b"))}
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
    assert contents(exact) == {**planted("a"), **only(truth, "b", "c")}
    rows = np.frombuffer(truth["b"][0], np.float32)
    assert contents(half)["b"][0] == rows.astype(np.float16).tobytes()
    assert contents(half)["a"] == planted("a", dtype="float16")["a"]
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
    monkeypatch.setattr(making, "CACHES_PER_PASS", 2)
    assert [each.state for each in remake_all(*caches)] == ["fresh"] * 5
    assert [set(each) for each in passes] == [{"0.lmdb", "1.lmdb"}, {"2.lmdb", "3.lmdb"}, {"4.lmdb"}]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_plans_of_many_caches_take_no_address_space(manifest: Path, tmp_path: Path, color: Path) -> None:
    caches = [plant(want(tmp_path / f"plan{number}.lmdb", "color"), manifest) for number in range(3)]
    planner = Planner(Order())
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
    assert "left as it was" in left.problem
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


def test_a_clip_that_cannot_be_made_again_keeps_the_old_cache(
    manifest: Path, color: Path, truth: Contents, passes: list[dict[str, int]]
) -> None:
    spoil(manifest, "b")
    forget(manifest, "c")
    before = color.stat().st_ino, color.read_bytes()
    outcome = remake(color)
    assert (outcome.state, set(outcome.failed)) == ("stale", {"b"})
    assert "1 of its clips cannot be made again, such as 'b'" in outcome.problem
    assert "--drop-failed" in outcome.problem
    assert (color.stat().st_ino, color.read_bytes()) == before
    outcome = remake(color, drop=True)
    assert (outcome.state, set(outcome.failed), outcome.carried) == ("incomplete", {"b"}, 1)
    assert passes == [{"color.lmdb": 1}, {"color.lmdb": 0}]  # what was computed had waited
    assert contents(color) == {**planted("a"), **only(truth, "c")}
    assert [clip.id for clip in read_manifest(Path(f"{color}.failed.csv"))] == ["b"]
    assert remake(color).state == "fresh"  # and the failure is unchanged
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
    there = list(open_store(exchange.workplace(color)))
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
    place = exchange.workplace(color)
    store = open_store(place)
    rows = store[next(iter(store))]
    del store
    damage(place, rows)
    assert remake(color).state == "fresh"
    assert (passes, contents(color)) == ([{"color.lmdb": 2}], truth)


def test_an_interrupted_try_at_failures_does_not_stop_a_rebuild_without_one(manifest: Path, tmp_path: Path) -> None:
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, failed="abc")
    interrupt(cache, retry_failed=True)
    (first, *_) = open_store(exchange.workplace(cache))
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

    monkeypatch.setattr(exchange, "verify", finding)
    outcome = remake(color)
    assert outcome.state == "stale"
    assert "the new cache is not as it should be (clip 'a': checksum differs)" in outcome.problem
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
    assert contents(outcome.kept) == planted("a", "b", "c")
    assert contents(cache) == truth
    assert targets([tmp_path / "caches"]) == [cache]
    forget(manifest, "a")
    again = remake(cache, keep_old=True)  # perhaps within the same second
    assert again.kept is not None
    assert contents(outcome.kept) == planted("a", "b", "c")
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
    assert {id: store[id].values.tobytes() for id in store} == {id: rows for id, (rows, _) in planted(*"abc").items()}
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
    assert contents(link)["a"] != planted("a")["a"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(("link", ".link"))) == ["link.lmdb"]


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
    assert not exchange.folder_of(cache).exists()
    assert remake(cache).state == "fresh"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_while_a_cache_is_made_again_nobody_else_writes_it(manifest: Path, tmp_path: Path, suffix: str) -> None:
    wanted = want(tmp_path / f"color{suffix}", "color")
    plant(wanted, manifest)
    forget(manifest, "a")
    outcomes = []

    def meanwhile(stage: str, done: float, total: int) -> None:
        if stage == "extracting" and not outcomes:
            outcomes.extend(rebuild([wanted.cache], Order(), Way(ONE), progress=unseen))
            with pytest.raises(StoreError, match="is being written by another process"):
                extract(read_manifest(manifest), [wanted], resources=ONE)

    made = rebuild([wanted.cache], Order(), Way(ONE), progress=meanwhile)
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
    assert "left as it was: cannot be made again: color no longer has the option 'sharpness'" in left.problem
