"""What is left when a command is killed, when the disk is full, when files change under it: whole clips, all of them.

Each test makes happen what it is about: SIGKILL at drawn moments, a small disk that fills up, readers beside writers.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faults import Killing, Starter, nobody_survives, session, wait_until
from whole import CACHES, ODD, SUFFIX, Held, Whole, assert_finished, held, is_part_of, line, look

from egotools.manifests.table import write_manifest
from egotools.stores import open_store
from egotools.types import Clip

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="watches processes through /proc"),
]

EGOTOOLS = Path(sys.executable).with_name("egotools")
KILLS = 4  # of each store: at least two trials


@pytest.mark.parametrize("store", ["lmdb", "hdf5"])
def test_an_extraction_that_is_killed_at_any_moment_goes_on_with_nothing_lost_doubled_or_torn(
    starter: Starter, extracted: Whole, tmp_path: Path, store: str
) -> None:
    killing, kills = Killing(starter, np.random.default_rng(len(store)), extracted.seconds[store]), 0
    for out in (tmp_path / str(trial) for trial in range(4 * KILLS)):
        visible: dict[str, dict[str, Held]] = {name: {} for name in CACHES}
        killing.is_late = lambda out=out: any(out.glob(".*.new"))
        for finished in killing.runs(line(extracted.manifest, out, store), tmp_path / "said"):
            assert finished.status in (-signal.SIGKILL, 1), finished.stderr
            kills += finished.status == -signal.SIGKILL
            now = look(out, store)
            for name, clips in visible.items():
                assert is_part_of(name, now[name], extracted.held[name])
                assert {id: now[name].get(id) for id in clips} == clips
            visible = now
        assert_finished(out, store, extracted)
        if kills >= KILLS:
            return
    raise AssertionError(f"only {kills} of the runs could be killed")


def test_the_installed_command_leaves_no_process_behind_when_it_is_killed(extracted: Whole, tmp_path: Path) -> None:
    words = [EGOTOOLS, *line(extracted.manifest, tmp_path / "out", "lmdb", f"{ODD}:Slow")]
    process = subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, start_new_session=True)
    wait_until(lambda: bool(held(tmp_path / "out/slow.lmdb")), "nothing is extracted")
    assert len(session(process.pid)) >= 4  # the engine, its fork server, its reading processes
    process.kill()
    _, error = process.communicate()
    wait_until(lambda: not session(process.pid), "processes outlive the one that was killed")
    assert b"Traceback" not in error
    assert 0 < len(held(tmp_path / "out/slow.lmdb")) < 13


@pytest.mark.parametrize(
    ("number", "everyone", "status", "text"),
    [
        (signal.SIGINT, True, 130, "egotools: interrupted"),
        (signal.SIGTERM, False, 143, "egotools: terminated"),
        (signal.SIGTERM, True, 143, "egotools: terminated"),
    ],
    ids=["Ctrl-C", "SIGTERM to the command", "SIGTERM to its reading processes, too"],
)
def test_a_signal_commits_what_is_finished_and_the_same_line_goes_on(
    starter: Starter, extracted: Whole, tmp_path: Path, number: signal.Signals, everyone: bool, status: int, text: str
) -> None:
    out, said = tmp_path / "out", tmp_path / "said"
    words = line(extracted.manifest, out, "lmdb", f"{ODD}:Slow", "color")
    words.insert(1, "--json")
    running = starter.start(words, said)
    wait_until(lambda: bool(held(out / "slow.lmdb")), "nothing is extracted")
    finished = running.kill(everyone=everyone, number=number)
    assert finished.status == status
    assert [line for line in finished.stderr.splitlines() if line.startswith("egotools:")] == [text]
    assert "Traceback" not in finished.stderr
    assert "rerun the command to resume" in finished.stderr
    nobody_survives(running)
    kept = held(out / "slow.lmdb")
    assert 0 < len(kept) < 13
    again = starter.run(words, said)
    assert again.status == 1  # for the clip that is no video
    assert "crashed" not in again.stderr
    assert json.loads(again.stdout)["caches"][str(out / "slow.lmdb")]["there_already"] == len(kept)
    after, expected = held(out / "slow.lmdb"), extracted.held["heavy"]
    assert after.keys() == expected.keys()
    assert all(after[id] == clip for id, clip in kept.items())
    for id, clip in after.items():  # both of the brightness of every frame
        np.testing.assert_allclose(clip.rows.values.mean(axis=1), expected[id].rows.values[:, 1], rtol=1e-6)
        np.testing.assert_array_equal(clip.rows.times, expected[id].rows.times)
    assert held(out / "color.lmdb") == extracted.held["color"]


def full_disk_line(extracted: Whole, disk: Path, store: str) -> list[object]:
    return line(extracted.manifest, disk / "out", store, f"{ODD}:Heavy", f"{ODD}:Backwards", "color")


def assert_one_line_names_the_disk(stderr: str, disk: Path) -> None:
    said = [text for text in stderr.splitlines() if text.startswith("egotools:")]
    assert len(said) == 1, stderr
    assert "Traceback" not in stderr
    assert str(disk / "out") in said[0]
    assert "what was committed is kept" in said[0]


# Bytes that are free: for no file at all, for one page of the third cache (of two that a file begins with), for some
# clips, for what gathers until it is sealed but not for a sealed copy of it. Clips of HDF5 gather in an LMDB file.
@pytest.mark.parametrize(
    ("store", "room"),
    [("lmdb", 0), ("lmdb", 59 * 4096), ("lmdb", 12 << 20), ("hdf5", 12 << 20), ("hdf5", 30 << 20)],
)
def test_a_full_disk_ends_in_one_line_and_with_space_again_nothing_is_missing(
    starter: Starter, extracted: Whole, tmp_path: Path, store: str, room: int
) -> None:
    disk = tmp_path / "disk"
    said = starter.fill_disk(full_disk_line(extracted, disk, store), disk, room)
    assert said.status == (1, 1)  # the second time for the clip that is no video
    assert_one_line_names_the_disk(said.stderr[0], disk)
    assert "disk full" in said.stderr[0] or not said.is_real
    assert "egotools:" not in said.stderr[1]
    before, after = ({Path(name).stem: clips for name, clips in held.items()} for held in said.held)
    assert all(is_part_of(name, clips, extracted.held[name]) for name, clips in before.items())
    assert (room < 1 << 20) == (not any(before.values()))
    assert after == {name: extracted.held[name] for name in ("heavy", "backwards", "color")}
    assert not [name for name in said.files[1] if name.startswith(".") or ".part" in name or ".writer" in name]


def test_a_limit_on_the_size_of_files_ends_in_one_line_too(starter: Starter, extracted: Whole, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    said = starter.fill_disk(full_disk_line(extracted, disk, "hdf5"), disk, 12 << 20, is_real=False)
    assert said.status == (1, 1)
    assert_one_line_names_the_disk(said.stderr[0], disk)
    assert any(said.held[0].values())
    after = {Path(name).stem: clips for name, clips in said.held[1].items()}
    assert after == {name: extracted.held[name] for name in ("heavy", "backwards", "color")}


@pytest.mark.parametrize("store", ["lmdb", "hdf5"])
def test_who_reads_a_cache_goes_on_with_what_was_there_while_clips_are_added(
    starter: Starter, extracted: Whole, tmp_path: Path, store: str
) -> None:
    out, cache = tmp_path / "out", tmp_path / f"out/heavy{SUFFIX[store]}"
    few = line(extracted.manifest, out, store, f"{ODD}:Heavy")
    assert starter.run([*few[:-1], "--limit", 4, few[-1]], tmp_path / "said").status == 0
    reader, expected = open_store(cache), extracted.held["heavy"]
    there = list(reader)
    running, times = starter.start(few, tmp_path / "said"), 0
    while running.poll() is None or times == 0:
        times += 1
        assert list(reader) == there
        assert all(Held(reader[id], reader.source(id)) == expected[id] for id in there)
    assert times > 3, "the reading was to be beside the writing"
    assert running.wait().status == 1  # the clip that is no video is no longer beyond the limit
    assert len(reader) == 4
    assert all(reader.stored(id).is_intact() for id in there)
    assert held(cache) == expected


@pytest.mark.parametrize("store", ["lmdb", "hdf5"])
def test_a_manifest_that_is_edited_between_runs_gives_right_counts_and_names_what_changed(
    starter: Starter, extracted: Whole, tmp_path: Path, store: str
) -> None:
    videos, manifest = extracted.manifest.parent, tmp_path / "m.csv"
    first = [Clip(name, videos / f"{name}.mp4", 0.0, 0.5) for name in "abcd"]
    write_manifest(manifest, first)
    words = line(manifest, tmp_path / "out", store, f"{ODD}:Brightness", "color")
    words.insert(1, "--json")
    assert starter.run(words, tmp_path / "said").status == 0
    before = {name: held(tmp_path / f"out/{name}{SUFFIX[store]}") for name in ("brightness", "color")}

    # One clip is gone, one has other times, one is new, and the order is another.
    write_manifest(manifest, [Clip("new", first[3].path, 2.0, 3.0), first[2], replace(first[1], end=0.4), first[0]])
    finished = starter.run(words, tmp_path / "said")
    assert finished.status == 1
    for name, earlier in before.items():
        cache = tmp_path / f"out/{name}{SUFFIX[store]}"
        counts = json.loads(finished.stdout)["caches"][str(cache)]
        assert (counts["done"], counts["there_already"], counts["failed"]) == (1, 3, [])
        assert counts["changed"] == ["b"]
        now = held(cache)
        assert now.keys() == {"a", "b", "c", "d", "new"}  # what the manifest lost stays, until it is rebuilt
        assert {id: now[id] for id in "abcd"} == earlier

    write_manifest(manifest, first[::-1])
    finished = starter.run(words, tmp_path / "said")
    assert finished.status == 0
    assert {counts["there_already"] for counts in json.loads(finished.stdout)["caches"].values()} == {4}
