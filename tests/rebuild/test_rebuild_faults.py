"""`egotools rebuild` that is killed, runs out of disk, meets readers or another rebuild: the old cache, or the new one.

The caches of `extracted` are made again for an edited manifest (a clip is new, two have other times, one is dropped)
and with other weights for the network; what must come out is what `egotools extract` makes of all that from scratch.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from faults import Killing, Starter, nobody_survives, wait_until
from whole import CACHES, ODD, SUFFIX, Held, Whole, assert_finished, held, is_same, line, look

from egotools.manifests.table import read_manifest, write_manifest
from egotools.stores import lmdb_store, open_store
from egotools.types import Clip

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="watches processes through /proc"),
]

KILLS = 4  # of each store: at least two trials


def edited(clips: list[Clip]) -> list[Clip]:
    """A clip is new, two have other times, the first and the one that is no video are gone."""
    changed = [replace(clip, end=0.6) if clip.id in ("a1", "b2") else clip for clip in clips[1:-1]]
    return [Clip("new", clips[2].path, 1.0, 2.0), *changed]


def rebuild(out: Path, manifest: Path, *words: object) -> list[object]:
    common = ["rebuild", out, "--manifest", manifest, "--trust", ODD, "--workers", 2]
    return [*common, "--weights", "squeezenet1_1=random:1", *words]


@pytest.fixture(scope="module")
def rebuilt(starter: Starter, extracted: Whole, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("rebuilt")
    manifest = folder / "m.csv"
    write_manifest(manifest, edited(read_manifest(extracted.manifest)))
    anew = line(manifest, folder / "anew", "lmdb")
    anew[anew.index("random:0")] = "random:1"
    assert starter.run(anew, folder / "said").status == 0
    expected = look(folder / "anew", "lmdb")
    folders, seconds = {}, {}
    for store in SUFFIX:
        folders[store] = folder / store
        shutil.copytree(extracted.folders[store], folders[store])
        before = time.monotonic()
        finished = starter.run(rebuild(folders[store], manifest), folder / "said")
        seconds[store] = time.monotonic() - before
        assert finished.status == 0, finished.stderr
    return Whole(manifest, folders, expected, seconds)


@pytest.mark.parametrize("store", ["lmdb", "hdf5"])
def test_what_is_rebuilt_is_what_is_extracted_from_scratch(rebuilt: Whole, store: str) -> None:
    assert_finished(rebuilt.folders[store], store, rebuilt)
    assert not list(rebuilt.folders[store].glob(".*"))


def test_sigterm_ends_a_rebuild_as_ctrl_c_does(
    starter: Starter, extracted: Whole, rebuilt: Whole, tmp_path: Path
) -> None:
    out, said = tmp_path / "out", tmp_path / "said"
    shutil.copytree(extracted.folders["lmdb"], out)
    running = starter.start(rebuild(out, rebuilt.manifest), said)
    wait_until(lambda: any(out.glob(".*.rebuild*")), "nothing is rebuilt")
    finished = running.kill(everyone=True, number=signal.SIGTERM)
    assert finished.status == 143, finished.stderr
    assert finished.stderr.splitlines()[-1] == "egotools: terminated"
    assert "Traceback" not in finished.stderr
    nobody_survives(running)
    assert all(found in (extracted.held[name], rebuilt.held[name]) for name, found in look(out, "lmdb").items())
    assert starter.run(rebuild(out, rebuilt.manifest), said).status == 0
    assert_finished(out, "lmdb", rebuilt)


def always_readable(out: Path, store: str, extracted: Whole, rebuilt: Whole) -> Callable[[], None]:
    """Opens one cache after the other, each time anew: it has the clips of the old one, or of the new one."""
    number = 0

    def look_at_one() -> None:
        nonlocal number
        number += 1
        name = CACHES[number % len(CACHES)]
        ids = set(open_store(out / f"{name}{SUFFIX[store]}"))
        assert ids in (extracted.held[name].keys(), rebuilt.held[name].keys())

    return look_at_one


@pytest.mark.parametrize("store", ["lmdb", "hdf5"])
def test_a_rebuild_that_is_killed_at_any_moment_leaves_the_old_cache_or_the_new_one_and_goes_on(
    starter: Starter, extracted: Whole, rebuilt: Whole, tmp_path: Path, store: str
) -> None:
    killing, kills = Killing(starter, np.random.default_rng(len(store)), rebuilt.seconds[store]), 0
    old_ones = look(extracted.folders[store], store)
    for trial in range(4 * KILLS):
        out = tmp_path / str(trial)
        shutil.copytree(extracted.folders[store], out)
        killing.watch = always_readable(out, store, extracted, rebuilt)
        first = out / f"backwards{SUFFIX[store]}"
        old = first.stat().st_ino
        killing.is_late = lambda first=first, old=old: first.stat().st_ino != old
        is_new = dict.fromkeys(CACHES, False)
        for finished in killing.runs(rebuild(out, rebuilt.manifest, *["--keep-old"][: trial % 2]), tmp_path / "said"):
            assert finished.status in (-signal.SIGKILL, 0), finished.stderr
            kills += finished.status == -signal.SIGKILL
            for name, clips in look(out, store).items():
                was_new, is_new[name] = is_new[name], is_same(name, clips, rebuilt.held[name])
                assert is_new[name] or (clips == old_ones[name] and not was_new), name
        assert_finished(out, store, rebuilt)
        for name in CACHES if trial % 2 else ():
            (kept,) = (out / ".old").glob(f"{name}.*{SUFFIX[store]}")
            assert held(kept) == old_ones[name]
        if kills >= KILLS:
            return
    raise AssertionError(f"only {kills} of the runs could be killed")


def full_of_old(extracted: Whole, out: Path, store: str) -> Path:
    shutil.copytree(extracted.folders[store], out)
    return out


@pytest.mark.parametrize("store", ["lmdb", "hdf5"])
def test_who_reads_a_cache_goes_on_with_the_old_one_while_a_new_one_takes_its_place(
    starter: Starter, extracted: Whole, rebuilt: Whole, tmp_path: Path, store: str
) -> None:
    out = full_of_old(extracted, tmp_path / "out", store)
    old_ones = look(out, store)
    readers = {name: open_store(out / f"{name}{SUFFIX[store]}") for name in CACHES}
    running, times = starter.start(rebuild(out, rebuilt.manifest), tmp_path / "said"), 0
    while (finished := running.poll()) is None or times < 3:
        for name, reader in readers.items():
            assert {id: Held(reader[id], reader.source(id)) for id in reader} == old_ones[name]
        times += 1
    assert finished.status == 0, finished.stderr
    assert_finished(out, store, rebuilt)
    assert all(reader.stored(id).is_intact() for reader in readers.values() for id in reader)


@pytest.mark.parametrize(("store", "second"), [("lmdb", "extract"), ("hdf5", "rebuild")])
def test_while_a_cache_is_made_again_whoever_else_would_write_it_is_refused_by_name(
    starter: Starter, extracted: Whole, tmp_path: Path, store: str, second: str
) -> None:
    slow = [f"{ODD}:Slow", "--name", "slow"]
    manifest, out = tmp_path / "m.csv", tmp_path / "out"
    clips = read_manifest(extracted.manifest)[:3]
    write_manifest(manifest, clips)
    assert starter.run(line(manifest, out, store, *slow), tmp_path / "said").status == 0
    before = held(out / f"slow{SUFFIX[store]}")
    write_manifest(manifest, [replace(clip, end=0.4) for clip in clips])

    again = ["rebuild", out, "--trust", ODD, "--batch-size", 1]  # 0.2 s for each of 12 frames
    first = starter.start(again, tmp_path / "first")
    wait_until(lambda: bool(list(out.glob(".*.rebuild/*"))) or first.poll() is not None, "no rebuild begins")
    other = [*again, "--json"] if second == "rebuild" else line(manifest, out, store, *slow)
    finished = starter.run(other, tmp_path / "second")
    assert first.poll() is None, "the first was to be still at it"
    assert finished.status == 1
    assert f"is being written by another process (process {first.pid})" in finished.stdout + finished.stderr
    assert f"slow{SUFFIX[store]}" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    assert held(out / f"slow{SUFFIX[store]}") == before
    assert first.wait().status == 0
    after = held(out / f"slow{SUFFIX[store]}")
    assert {id: len(clip.rows.values) for id, clip in after.items()} == {clip.id: 4 for clip in clips}


# Bytes that are free: for nothing, for some of the computed clips, for these but not for a whole new cache. Clips of
# HDF5 gather in an LMDB file.
@pytest.mark.parametrize(
    ("store", "room"), [("lmdb", 0), ("lmdb", 150_000), *((s, n << 20) for s in ("lmdb", "hdf5") for n in (1, 12))]
)
def test_a_full_disk_leaves_the_old_cache_and_with_space_again_the_same_line_makes_the_new_one(
    starter: Starter, extracted: Whole, rebuilt: Whole, tmp_path: Path, store: str, room: int
) -> None:
    disk = tmp_path / "disk"
    words = rebuild(disk / "out", rebuilt.manifest)
    said = starter.fill_disk(words, disk, room, there=extracted.folders[store])
    assert said.status == (1, 0), said.stderr
    assert "Traceback" not in said.stderr[0]
    old_ones = look(extracted.folders[store], store)
    between, after = ({Path(name).stem: clips for name, clips in held.items()} for held in said.held)
    for name in CACHES:
        assert between[name] == old_ones[name] or is_same(name, between[name], rebuilt.held[name])
        assert is_same(name, after[name], rebuilt.held[name])
    assert between["heavy"] == old_ones["heavy"]
    assert not [name for name in said.files[1] if name.startswith(".") or ".part" in name or ".writer" in name]


def test_a_manifest_that_is_edited_between_a_killed_rebuild_and_the_next_is_what_counts(
    starter: Starter, extracted: Whole, rebuilt: Whole, tmp_path: Path
) -> None:
    out, manifest = full_of_old(extracted, tmp_path / "out", "lmdb"), tmp_path / "m.csv"
    clips = read_manifest(extracted.manifest)[:-1]
    write_manifest(manifest, [replace(clip, end=0.4) for clip in clips])  # every clip is another
    running = starter.start(rebuild(out, manifest), tmp_path / "said")
    wait_until(lambda: any(map(has_clips, out.glob(".*.rebuild/*.lmdb"))), "nothing is computed")
    assert running.kill(everyone=True).status == -signal.SIGKILL
    assert any(map(has_clips, out.glob(".*.rebuild/*.lmdb")))

    write_manifest(manifest, edited(read_manifest(extracted.manifest)))
    assert starter.run(rebuild(out, manifest), tmp_path / "said").status == 0
    assert_finished(out, "lmdb", rebuilt)


def has_clips(cache: Path) -> bool:
    return bool(held(cache))


def test_a_cache_that_is_replaced_while_it_is_opened_is_the_file_that_was_opened(
    extracted: Whole, rebuilt: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "heavy.lmdb", tmp_path / "new.lmdb"
    shutil.copy(extracted.folders["lmdb"] / "heavy.lmdb", old)
    shutil.copy(rebuilt.folders["lmdb"] / "heavy.lmdb", new)
    opened = lmdb_store.open_cache_file

    def slowly_opened(path: Path) -> BinaryIO:
        file = opened(path)
        if new.exists():
            new.replace(path)
        return file

    monkeypatch.setattr(lmdb_store, "open_cache_file", slowly_opened)
    assert held(old) == extracted.held["heavy"]
    assert held(old) == rebuilt.held["heavy"]
