"""`egotools rebuild` that is killed, runs out of disk, meets readers and another rebuild: the old cache, or the new one.

The caches of `extracted` are made again for an edited manifest (a clip is new, two have other times, one is dropped)
and with other weights for the network; what must come out is what `egotools extract` makes of all that from scratch.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faults import Killing, Starter, wait_until
from whole import CACHES, ODD, SUFFIX, Held, Whole, assert_finished, held, is_part_of, is_same, line, look

from egotools.manifests import read_manifest, write_manifest
from egotools.stores import open_store
from egotools.types import Clip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes through /proc")

KILLS = 12  # of each store


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
    rng, kills = np.random.default_rng(len(store)), 0
    for out in (tmp_path / str(trial) for trial in range(KILLS)):
        shutil.copytree(extracted.folders[store], out)
        watch = always_readable(out, store, extracted, rebuilt)
        killing = Killing(starter, rng, rebuilt.seconds[store], ".*.rebuild/*", watch)
        is_new = dict.fromkeys(CACHES, False)
        for finished in killing.runs(rebuild(out, rebuilt.manifest), out):
            assert finished.status in (-signal.SIGKILL, 0), finished.stderr
            kills += finished.status == -signal.SIGKILL
            for name, clips in look(out, store).items():
                was_new, is_new[name] = is_new[name], is_same(name, clips, rebuilt.held[name])
                assert is_new[name] or (clips == extracted.held[name] and not was_new), name
        assert_finished(out, store, rebuilt)
        if kills >= KILLS:
            return
    raise AssertionError(f"only {kills} of the runs could be killed")
