"""Shards: what a cache of one takes, and what they are merged to; eight of them that are killed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root
from faults import Starter, nobody_survives
from planted import plant, want
from typing_commands import complaint
from whole import held

from egotools.extraction.failures import read_failures
from egotools.extraction.recipes import recipe_of
from egotools.manifests.shards import clips_of
from egotools.manifests.table import read_manifest, write_manifest
from egotools.provenance import manifest_origin
from egotools.stores import open_store
from egotools.types import Clip, Shard


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Five files that nobody will open, with two clips each."""
    clips = []
    for name in "abcde":
        (tmp_path / name).touch()
        clips += [Clip(f"{name}/{number}", tmp_path / name, number, number + 1.0) for number in range(2)]
    write_manifest(tmp_path / "m.csv", clips)
    return tmp_path / "m.csv"


def planted(manifest: Path, number: int, count: int, *ids: str, failed: tuple[str, ...] = ()) -> Path:
    """The cache of a shard, with its clips or those that are named."""
    shard = Shard(number, count)
    wanted = want(manifest.parent / f"shards/{number}/color.lmdb", "color")
    chosen = [clip.id for clip in clips_of(read_manifest(manifest), shard)]
    recipe = recipe_of(wanted, manifest_origin(manifest, None, shard))
    return plant(wanted, manifest, *(ids or [id for id in chosen if id not in failed]), recipe=recipe, failed=failed)


def run(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


def merge(folder: Path, *words: object) -> Result:
    return run("cache", "merge", *words, "--out", folder / "all.lmdb")


def said(done: Result) -> str:
    return " ".join(done.stderr.split())


def extract(manifest: Path, out: str, *words: object) -> Result:
    return run("extract", "--manifest", manifest, "--out", manifest.parent / out, "--workers", 1, *words, "color")


def test_all_shards_together_are_what_one_extraction_leaves(manifest):
    shards = [planted(manifest, number, 3) for number in (1, 2, 3)]
    done = merge(manifest.parent, *shards)
    assert (done.exit_code, said(done).split(": ")[1]) == (0, "10 clips of 3 caches")
    whole = plant(want(manifest.parent / "whole.lmdb", "color"), manifest)
    assert held(manifest.parent / "all.lmdb") == held(whole)
    origin = open_store(manifest.parent / "all.lmdb").recipe.origin
    assert "shard" not in origin
    assert (origin["manifest"], len(origin["merged"])) == (str(manifest), 3)


def test_a_shard_that_is_not_there_or_lacks_clips_is_named_and_merged_only_if_asked(manifest):
    lacking = planted(manifest, 2, 3, "b/0")
    shards = [planted(manifest, 1, 3), lacking]
    refused = complaint(merge(manifest.parent, *shards))
    assert "would lack 5 clips" in refused
    assert f"shard 2/3 ({lacking}): 3 of 4 clips, such as 'b/1'" in refused
    assert "shard 3/3 (not among the caches): 2 of 2 clips, such as 'c/0'" in refused
    assert not (manifest.parent / "all.lmdb").exists()
    done = merge(manifest.parent, *shards, "--partial")
    assert done.exit_code == 0
    assert "missing: shard 3/3 (not among the caches): 2 of 2 clips" in said(done)
    assert len(held(manifest.parent / "all.lmdb")) == 5


def test_failed_clips_are_no_gap_and_are_listed_beside_the_new_cache(manifest):
    shards = [planted(manifest, 1, 2, failed=("a/1",)), planted(manifest, 2, 2)]
    done = merge(manifest.parent, *shards)
    out = manifest.parent / "all.lmdb"
    assert done.exit_code == 1
    assert f"failed, listed in {out}.failed.csv: 1 (a/1)" in said(done)
    assert len(held(out)) == 9
    assert {id: clip.reason for id, clip in read_failures(out).items()} == {"a/1": "broken"}
    planted(manifest, 1, 2, "a/1")
    assert merge(manifest.parent, *shards, "--overwrite").exit_code == 0
    assert not Path(f"{out}.failed.csv").exists()


def test_shards_of_other_splits_are_not_mixed(manifest):
    refused = complaint(merge(manifest.parent, planted(manifest, 1, 2), planted(manifest, 2, 3)))
    assert "is shard 2/3" in refused
    assert "merge shards of one split" in refused


def test_an_empty_shard_may_be_given_or_left_out_and_costs_no_error(manifest):
    empty = extract(manifest, "shards/6", "--shard", "6/6")
    assert empty.exit_code == 0
    assert "shard 6/6 is empty, because there are more shards than files" in said(empty)
    shards = [planted(manifest, number, 6) for number in range(1, 6)]
    for given in (shards, [*shards, manifest.parent / "shards/6/color.lmdb"]):
        assert merge(manifest.parent, *given, "--overwrite").exit_code == 0
        assert len(held(manifest.parent / "all.lmdb")) == 10


def test_the_manifest_may_be_elsewhere_and_may_be_asked_for_caches_that_are_no_shards(manifest):
    shards = [planted(manifest, number, 2) for number in (1, 2)]
    moved = manifest.rename(manifest.with_name("moved.csv"))
    assert "m.csv is not here; give one with --manifest" in complaint(merge(manifest.parent, *shards))
    assert merge(manifest.parent, *shards, "--manifest", moved).exit_code == 0
    assert open_store(manifest.parent / "all.lmdb").recipe.origin["manifest"] == str(moved)
    part = plant(want(manifest.parent / "part.lmdb", "color"), moved, "a/0")
    assert f"{moved}: 9 of 10 clips" in complaint(merge(manifest.parent, part, "--manifest", moved, "--overwrite"))


def test_clips_in_two_caches_and_clips_with_other_times_are_counted(manifest):
    shards = [planted(manifest, 1, 2), planted(manifest, 2, 2)]
    clips = [*read_manifest(manifest)]
    write_manifest(manifest, [Clip("a/0", clips[0].path, 0, 1.5), *clips[1:]])
    done = merge(manifest.parent, *shards, shutil.copy2(shards[0], manifest.parent / "copy.lmdb"))
    assert done.exit_code == 1
    assert "in several of them, with equal rows: 6 (a/0, a/1" in said(done)
    assert "recomputes clips with other times in the manifest: 1 (a/0)" in said(done)


def test_a_cache_takes_one_shard_only(manifest):
    planted(manifest, 1, 2)
    other = complaint(extract(manifest, "shards/1", "--shard", "2/2"))
    assert "color.lmdb holds shard 1/2, not shard 2/2; choose another --out" in other
    assert "holds shard 1/2, not clips of a whole manifest" in complaint(extract(manifest, "shards/1"))
    plant(want(manifest.parent / "whole/color.lmdb", "color"), manifest, "a/0")
    assert "holds clips of a whole manifest, not shard 1/2" in complaint(extract(manifest, "whole", "--shard", "1/2"))


def test_a_cache_whose_manifest_now_has_other_shards_is_refused(manifest):
    planted(manifest, 1, 2)
    clips = read_manifest(manifest)
    write_manifest(manifest, [Clip("0", manifest.parent / "new", 0, 60.0), *clips])
    refused = complaint(extract(manifest, "shards/1", "--shard", "1/2"))
    assert "outside shard 1/2, such as 'a/0': the manifest has changed" in refused


def test_a_shard_is_up_to_date_when_it_has_its_own_clips(manifest):
    cache = planted(manifest, 1, 2)
    assert '"state": "fresh"' in run("cache", "ls", "--json", cache).stdout
    assert run("rebuild", "--dry-run", cache).exit_code == 0


def test_a_shard_needs_a_manifest_and_a_number_that_exists(manifest):
    folder = run("extract", "--manifest", manifest.parent, "--out", manifest.parent, "--shard", "1/2", "color")
    assert (folder.exit_code, "--shard needs a manifest" in folder.stderr) == (2, True)
    beyond = extract(manifest, "shards/3", "--shard", "3/2")
    assert (beyond.exit_code, "'3/2' is not K/N" in beyond.stderr) == (2, True)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="watches processes through /proc")
def test_eight_shards_that_are_killed_at_any_moment_become_what_one_extraction_leaves(
    starter: Starter, tmp_path: Path
) -> None:
    clips = []
    for file in range(20):
        path = write_video(tmp_path / f"{file}.mp4", 8 + file, size=(32, 32), first=file)
        clips += [Clip(f"{file}/{part}", path, 0.2 * part, 0.2 * part + 0.5 + 0.01 * file) for part in range(3)]
    (tmp_path / "broken.mp4").write_text("no video")
    write_manifest(tmp_path / "m.csv", [*clips, Clip("broken", tmp_path / "broken.mp4", 0, 1.0)])
    common = ["extract", "--manifest", tmp_path / "m.csv", "--workers", 1]
    assert starter.run([*common, "--out", tmp_path / "whole", "color"], tmp_path / "said").status == 1  # broken.mp4
    rng, kills, waiting = np.random.default_rng(8), 0, list(range(1, 9))
    for attempt in range(4):
        running = {
            number: starter.start(
                [*common, "--shard", f"{number}/8", "--out", tmp_path / f"shards/{number}", "color"],
                tmp_path / f"said {number}",
            )
            for number in waiting
        }
        for number in rng.permutation(waiting) if attempt < 3 else waiting:
            if attempt < 3:
                time.sleep(rng.uniform(0, 0.15))
            ended = running[number].kill(everyone=bool(rng.random() < 0.5)) if attempt < 3 else running[number].wait()
            nobody_survives(running[number])
            assert ended.status in (-signal.SIGKILL, 0, 1), ended.stderr
            kills += ended.status == -signal.SIGKILL
            waiting = [each for each in waiting if each != number or ended.status == -signal.SIGKILL]
    assert kills >= 4
    assert not waiting
    shards = [tmp_path / f"shards/{number}/color.lmdb" for number in range(1, 9)]
    merged = starter.run(["cache", "merge", *shards, "--out", tmp_path / "all.lmdb"], tmp_path / "said")
    assert merged.status == 1, merged.stderr
    assert "1 (broken)" in merged.stderr
    whole = held(tmp_path / "whole/color.lmdb")
    assert len(whole) == 60
    assert held(tmp_path / "all.lmdb") == whole
    assert list(read_failures(tmp_path / "all.lmdb")) == ["broken"]
    assert sum(len(open_store(shard)) for shard in shards) == 60  # none is in two of them
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
