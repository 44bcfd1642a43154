"""What is left when a command is killed, when the disk is full, when files change under it: whole clips, all of them.

Each test makes happen what it is about: SIGKILL at drawn moments, a small disk that fills up, readers beside writers.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import write_video
from faults import Held, Running, Starter, held, session, wait_until

from egotools.manifests import read_manifest, write_manifest
from egotools.stores import open_store
from egotools.stores.verify import verify
from egotools.types import Clip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes through /proc")

ODD = Path(__file__).with_name("odd_extractors.py")
EGOTOOLS = Path(sys.executable).with_name("egotools")
NETWORK = ["torchvision:squeezenet1_1", "--weights", "random:0", "--resize", "64x64", "--frames", 3]
EXTRACTORS = [f"{ODD}:Wide", f"{ODD}:Backwards", "color", *NETWORK]
CACHES = ("wide", "backwards", "color", "squeezenet1_1")
KILLS = 16  # of each store
SUFFIX = {"lmdb": ".lmdb", "hdf5": ".h5"}


@dataclass(frozen=True)
class Undisturbed:
    """A manifest, and what `egotools extract` makes of it in peace."""

    manifest: Path
    folders: dict[str, Path]  # of the caches, by store
    held: dict[str, dict[str, Held]]  # by cache name, then by clip
    seconds: dict[str, float]  # that it takes, by store


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    with Starter() as starter:
        yield starter


@pytest.fixture(scope="module")
def undisturbed(starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    for name, frames in (("a", 20), ("b", 7), ("c", 33), ("d", 80)):
        write_video(folder / f"{name}.mp4", frames, first=ord(name))
    (folder / "text.mp4").write_text("not a video")
    clips = [Clip(f"{name}{n}", folder / f"{name}.mp4") for n in range(4) for name in "abc"]
    clips += [Clip("d", folder / "d.mp4"), Clip("text", folder / "text.mp4")]
    manifest = folder / "m.csv"
    write_manifest(manifest, clips)
    folders, seconds = {}, {}
    for store in (*SUFFIX, *SUFFIX):  # the first run of all is slower than any later one
        before = time.monotonic()
        folders[store] = folder / store / str(store in folders)
        finished = starter.run(line(manifest, folders[store], store), folder / "said")
        assert finished.status == 1, finished.stderr  # one clip is no video
        seconds[store] = time.monotonic() - before
    caches = {name: held(folders["lmdb"] / f"{name}.lmdb") for name in CACHES}
    assert all(len(clips) == 13 for clips in caches.values())
    return Undisturbed(manifest, folders, caches, seconds)


def line(manifest: Path, out: Path, store: str, *extractors: object) -> list[object]:
    common = ["extract", "--manifest", manifest, "--out", out, "--store", store, "--workers", 2]
    return [*common, *(extractors or EXTRACTORS)]


def look(out: Path, store: str) -> dict[str, dict[str, Held]]:
    return {name: held(out / f"{name}{SUFFIX[store]}") for name in CACHES}


def assert_part_of(found: dict[str, dict[str, Held]], whole: dict[str, dict[str, Held]]) -> None:
    """No clip that an undisturbed run does not have, and the rows of each as there."""
    for name, clips in found.items():
        assert clips.keys() <= whole[name].keys()
        for id, clip in clips.items():
            if name == "squeezenet1_1":  # its batches are others, and so are the last bits of its sums
                expected = whole[name][id].rows
                np.testing.assert_allclose(clip.rows.values, expected.values, rtol=1e-4, atol=1e-4)
                np.testing.assert_array_equal(clip.rows.times, expected.times)
                assert clip.source == whole[name][id].source
            else:
                assert clip == whole[name][id], f"{name}: {id}"


def assert_finished(out: Path, store: str, undisturbed: Undisturbed) -> None:
    """As an undisturbed run leaves it: clips, failures, files."""
    found = look(out, store)
    assert_part_of(found, undisturbed.held)
    assert_part_of(undisturbed.held, found)
    there = {path.name for path in out.iterdir()}
    assert there == {path.name for path in undisturbed.folders[store].iterdir()}
    for name in CACHES:
        cache = out / f"{name}{SUFFIX[store]}"
        assert [clip.id for clip in read_manifest(cache.with_name(f"{cache.name}.failed.csv"))] == ["text"]
        found_by_verify = verify(cache)
        assert found_by_verify.is_sound
        assert found_by_verify.orphans == 0


def nobody_survives(running: Running) -> None:
    wait_until(lambda: not running.survivors(), f"processes {running.survivors()} outlive the one that was killed")


def wait_for_moment(running: Running, rng: np.random.Generator, seconds: float, out: Path) -> None:
    """Some moment between the start and the expected end; one in three in the first moments of sealing, where it is."""
    end = time.monotonic() + rng.uniform(0, 0.95 * seconds)
    if rng.random() < 1 / 3:
        while not list(out.glob(".*.new")) and time.monotonic() < end + seconds and running.poll() is None:
            time.sleep(0.0005)
        end = time.monotonic() + rng.uniform(0, 0.05)
    time.sleep(max(end - time.monotonic(), 0))


@pytest.mark.parametrize("store", ["lmdb", "hdf5"])
def test_killed_at_any_moment_and_started_again_nothing_is_lost_doubled_or_torn(
    starter: Starter, undisturbed: Undisturbed, tmp_path: Path, store: str
) -> None:
    rng, kills, trial = np.random.default_rng(len(store)), 0, 0
    while kills < KILLS:
        trial, tries = trial + 1, 0
        out, was_killed = tmp_path / str(trial), True
        visible: dict[str, dict[str, Held]] = {name: {} for name in CACHES}
        while was_killed:
            running, tries = starter.start(line(undisturbed.manifest, out, store), tmp_path / "said"), tries + 1
            if tries <= 3:
                wait_for_moment(running, rng, undisturbed.seconds[store], out)
                finished = running.kill(everyone=bool(rng.random() < 0.5))
            else:
                finished = running.wait()
            was_killed = finished.status == -signal.SIGKILL
            assert was_killed or finished.status == 1, finished.stderr
            kills += was_killed
            nobody_survives(running)
            now = look(out, store)
            assert_part_of(now, undisturbed.held)
            for name, clips in visible.items():
                assert {id: now[name].get(id) for id in clips} == clips
            visible = now
        assert_finished(out, store, undisturbed)
