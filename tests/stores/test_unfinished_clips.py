"""Clips whose rows are kept while they arrive: what a writer resumes from, and nobody else sees."""

from __future__ import annotations

import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import lmdb
import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root

from egotools.errors import RecipeError, StoreError
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.digest import content_of
from egotools.stores.lmdb_layout import BLOCK, block_key
from egotools.stores.lmdb_pieces import PIECE
from egotools.stores.lmdb_store import LMDBStore
from egotools.stores.lmdb_writer import LMDBWriter
from egotools.stores.unfinished import Begun
from egotools.stores.verify import verify
from egotools.types import Rows

RECIPE = Recipe({"extractor": "test"})
SOURCE = Source("/videos/long.mp4", size=7, mtime=1.5)
WIDTH = 4096  # a block is 255 rows


def rows(first: int, end: int, width: int = WIDTH) -> Rows:
    number = np.arange(first, end, dtype=np.float32)[:, None]
    values = number + np.arange(width, dtype=np.float32) / width
    return Rows(values, np.stack([np.arange(first, end), np.arange(first, end) + 1.0], axis=1))


def begun(total: int) -> dict[str, Begun]:
    return {"long": Begun(SOURCE, total)}


def append(writer: LMDBWriter, *edges: int, total: int = 1000) -> None:
    """Rows from edge to edge, and a commit after each."""
    for first, end in pairwise(edges):
        writer.append("long", rows(first, end))
        writer.commit(begun(total))


def begin(path: Path, *edges: int, total: int = 1000) -> Path:
    with LMDBWriter(path, RECIPE) as writer:
        append(writer, 0, *edges, total=total)
    return path


def keys(path: Path, prefix: bytes) -> int:
    return sum(1 for _ in LMDBStore(path)._index.keys(prefix))


def whole(path: Path, end: int) -> Path:
    with LMDBWriter(path, RECIPE) as writer:
        writer.append("long", rows(0, end))
        writer.finish("long", SOURCE)
        writer.commit()
    return path


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_unfinished_clips import RECIPE, LMDBWriter, append
writer = LMDBWriter(Path(sys.argv[1]), RECIPE)
append(writer, 0, 100, 300, 301)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_rows_that_were_committed_outlive_a_kill_and_the_clip_resumed_from_them_is_as_if_written_at_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.lmdb"
    killed = subprocess.run([sys.executable, "-c", KILLED, path, Path(__file__).parent], check=False)
    assert killed.returncode == -signal.SIGKILL
    store = open_store(path)
    assert (len(store), list(store), "long" in store, store.rows) == (0, [], False, 0)
    assert verify(path).orphans == 0
    with LMDBWriter(path, RECIPE) as writer:
        assert {id: (clip.rows, clip.begun) for id, clip in writer.unfinished.items()} == {
            "long": (301, Begun(SOURCE, 1000))
        }
        assert np.array_equal(writer.resume("long"), rows(0, 301).times)
        append(writer, 301, 302, 700, 1000)
        writer.finish("long", SOURCE)
        writer.commit()
    expected = LMDBStore(whole(tmp_path / "b.lmdb", 1000))
    made = LMDBStore(path)
    assert content_of(made) == content_of(expected)
    assert np.array_equal(made["long"].values, rows(0, 1000).values)
    assert made.source("long") == SOURCE
    assert made.stored("long").is_intact()
    assert (made.blocks, keys(path, BLOCK), keys(path, PIECE)) == (expected.blocks, expected.blocks, 0)
    assert verify(path).is_sound


def test_a_commit_writes_only_what_is_new_of_a_long_clip(tmp_path: Path) -> None:
    with LMDBWriter(tmp_path / "a.lmdb", RECIPE) as writer:
        append(writer, 0, 255 * 12)  # twelve blocks
        before = writer._environment.info()["last_pgno"]
        append(writer, *range(255 * 12, 255 * 12 + 20))
        pages = writer._environment.info()["last_pgno"] - before
    assert pages * 4096 < 20 * 4 * (4 * WIDTH)  # rows and pages of the index, not the times and blocks of all rows
    assert keys(tmp_path / "a.lmdb", PIECE) == 12 + 19


def test_a_clip_that_is_finished_between_commits_leaves_no_piece(tmp_path: Path) -> None:
    with LMDBWriter(tmp_path / "a.lmdb", RECIPE) as writer:
        writer.append("short", rows(0, 3))
        writer.finish("short", SOURCE)
        writer.append("long", rows(0, 3))
        writer.commit()
    assert keys(tmp_path / "a.lmdb", PIECE) == 0


@pytest.mark.parametrize("how", ["drop", "append", "finish"])
def test_rows_that_are_not_resumed_are_dropped_by_whoever_begins_the_clip_again_and_free_their_blocks(
    tmp_path: Path, how: str
) -> None:
    path = begin(tmp_path / "a.lmdb", 600, 610)
    with LMDBWriter(path, RECIPE) as writer:
        if how == "drop":
            writer.drop("long")
        if how == "append":
            writer.append("long", rows(0, 2))
        writer.finish("long", SOURCE)
        writer.commit()
    store = LMDBStore(path)
    assert (len(store["long"].values), store.unfinished, verify(path).orphans) == (2 * (how == "append"), {}, 0)
    assert keys(path, BLOCK) == store.blocks


def test_dropping_a_resumed_clip_frees_what_was_there_and_what_was_added(tmp_path: Path) -> None:
    path = begin(tmp_path / "a.lmdb", 300)
    with LMDBWriter(path, RECIPE) as writer:
        writer.resume("long")
        append(writer, 300, 700)
        writer.drop("long")
        writer.commit()
    assert (keys(path, PIECE), keys(path, BLOCK), LMDBStore(path).unfinished) == (0, 0, {})


def test_rows_of_an_unfinished_clip_stay_for_a_later_writer_that_has_other_clips(tmp_path: Path) -> None:
    path = begin(tmp_path / "a.lmdb", 300)
    with open_writer(path, RECIPE) as writer:
        writer.append("other", rows(0, 2))
        writer.finish("other", SOURCE)
        writer.seal()
    assert list(open_store(path)) == ["other"]
    assert LMDBStore(path).unfinished["long"].rows == 300


def test_an_unfinished_clip_of_another_recipe_is_not_thrown_away(tmp_path: Path) -> None:
    path = begin(tmp_path / "a.lmdb", 300)
    with pytest.raises(RecipeError, match="choose another --out"):
        open_writer(path, Recipe({"extractor": "other"}))
    assert LMDBStore(path).unfinished["long"].rows == 300


def _change(path: Path, key: bytes, value: bytes | None) -> None:
    with lmdb.open(str(path), subdir=False) as environment, environment.begin(write=True) as transaction:
        if value is None:
            transaction.delete(key)
        else:
            transaction.put(key, value)


@pytest.mark.parametrize("damage", ["a bit of a block", "a bit of the last rows", "a block", "a piece"])
def test_rows_that_are_damaged_are_never_resumed(tmp_path: Path, damage: str) -> None:
    path = begin(tmp_path / "a.lmdb", 300, 310)
    (first, *_, last) = LMDBStore(path).piece_keys["long"]
    with lmdb.open(str(path), subdir=False, readonly=True) as environment, environment.begin() as transaction:
        content = {key: bytearray(transaction.get(key)) for key in (block_key(0), last)}
    for each in content.values():
        each[-5] ^= 1
    changed = {
        "a bit of a block": (block_key(0), bytes(content[block_key(0)])),
        "a bit of the last rows": (last, bytes(content[last])),
        "a block": (block_key(0), None),
        "a piece": (first, None),
    }
    _change(path, *changed[damage])
    with LMDBWriter(path, RECIPE) as writer:
        if "bit" in damage:
            assert len(writer.resume("long")) == 0
        assert dict(writer.unfinished) == {}
        writer.append("long", rows(0, 3))
        writer.finish("long", SOURCE)
        writer.commit()
    assert (len(open_store(path)["long"].values), verify(path).orphans, keys(path, PIECE)) == (3, 0, 0)


def test_blocks_that_an_older_egotools_gave_to_another_clip_are_left_to_it(tmp_path: Path) -> None:
    path = begin(tmp_path / "a.lmdb", 300)
    pieces = LMDBStore(path).piece_keys["long"]
    with lmdb.open(str(path), subdir=False, readonly=True) as environment, environment.begin() as transaction:
        kept = {key: bytes(transaction.get(key)) for key in pieces}
    with LMDBWriter(path, RECIPE) as writer:
        writer.drop("long")
        writer.commit()
    with LMDBWriter(path, RECIPE) as writer:  # reuses the number of the block
        writer.append("other", rows(0, 255))
        writer.finish("other", SOURCE)
        writer.commit()
    for key, value in kept.items():
        _change(path, key, value)
    with LMDBWriter(path, RECIPE) as writer:
        assert dict(writer.unfinished) == {}
    assert np.array_equal(open_store(path)["other"].values, rows(0, 255).values)
    assert (verify(path).is_sound, keys(path, PIECE)) == (True, 0)


def test_rows_of_another_recipe_are_never_resumed(tmp_path: Path) -> None:
    path = begin(tmp_path / "a.lmdb", 300)
    with lmdb.open(str(path), subdir=False, readonly=True) as environment, environment.begin() as transaction:
        header = bytes(transaction.get(b"h"))
    _change(path, b"h", header.replace(b'"test"', b'"else"'))  # as an older egotools does, to which the cache is empty
    with LMDBWriter(path, Recipe({"extractor": "else"})) as writer:
        assert dict(writer.unfinished) == {}
    assert (keys(path, PIECE), keys(path, BLOCK)) == (0, 0)


def test_a_full_disk_keeps_the_rows_of_the_last_commit(tmp_path: Path) -> None:
    path = begin(tmp_path / "a.lmdb", 300)
    limited = (
        "import resource, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from test_unfinished_clips import RECIPE, LMDBWriter, append\n"
        "size = Path(sys.argv[1]).stat().st_size + (6 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "writer = LMDBWriter(Path(sys.argv[1]), RECIPE); writer.resume('long'); append(writer, *range(300, 1000, 50))"
    )
    full = subprocess.run(
        [sys.executable, "-c", limited, path, Path(__file__).parent], check=False, capture_output=True, text=True
    )
    assert "what was committed is kept" in full.stderr
    there = LMDBStore(path).unfinished["long"].rows
    assert 300 < there < 1000
    with LMDBWriter(path, RECIPE) as writer:
        assert np.array_equal(writer.resume("long"), rows(0, there).times)


@pytest.mark.parametrize("ends", [False, True])
def test_the_part_of_an_hdf5_cache_keeps_unfinished_clips_through_a_seal(tmp_path: Path, ends: bool) -> None:
    path = tmp_path / "a.h5"
    with open_writer(path, RECIPE) as writer:
        writer.append("long", rows(0, 300))
        writer.commit(begun(1000))
    with open_writer(path, RECIPE) as writer:
        if ends:
            writer.resume("long")
            writer.append("long", rows(300, 1000))
        writer.append("other", rows(0, 2))
        for id in ("long", "other") if ends else ("other",):
            writer.finish(id, SOURCE)
        writer.seal()
    assert [*open_store(path)] == (["long", "other"] if ends else ["other"])
    assert (tmp_path / "a.h5.part").exists() == (not ends)
    if not ends:
        assert len(open_store(tmp_path / "a.h5.part", partial=True)["long"].values) == 300
        with pytest.raises(StoreError, match="open that"):
            open_store(path, partial=True)


# Who asks for unfinished clips gets them; what is there may be dropped meanwhile.


def test_with_partial_unfinished_clips_are_there_with_their_rows_and_times(tmp_path: Path) -> None:
    path = begin(tmp_path / "a.lmdb", 300, 310)
    with LMDBWriter(path, RECIPE) as writer:
        for id in ("a", "z"):
            writer.append(id, rows(0, 2))
            writer.finish(id, replace(SOURCE, path=id))
        writer.commit()
    store = open_store(path, partial=True)
    assert ([*store], len(store), store.rows) == (["a", "long", "z"], 3, 314)
    assert store.row_counts(["z", "long", "b"]).tolist() == [2, 310, -1]
    assert np.array_equal(store["long"].values, rows(0, 310).values)
    assert np.array_equal(store["long"].times, rows(0, 310).times)
    assert store.stored("long").is_intact()
    assert [len(piece.values) for piece in store.stored("long").pieces()] == [255, 45, 10]
    assert (store.source("long"), store.source("z").path) == (SOURCE, "z")
    assert [*pickle.loads(pickle.dumps(store))] == [*store]
    assert [*open_store(path)] == ["a", "z"]


def test_who_reads_an_unfinished_clip_that_is_dropped_gets_its_rows_or_an_error_never_others(tmp_path: Path) -> None:
    path = begin(tmp_path / "a.lmdb", 600)
    store = open_store(path, partial=True)
    with LMDBWriter(path, RECIPE) as writer:
        writer.drop("long")
        for number in range(8):  # the pages that became free are used
            writer.append(str(number), Rows(np.full((255, WIDTH), number, np.float32), np.zeros((255, 2))))
            writer.finish(str(number), SOURCE)
            writer.commit()
            writer._kept_since = -1e9  # as if seconds had passed
    with pytest.raises(StoreError, match="dropped since"):
        store["long"]


def run(*words: object) -> str:
    done = CliRunner().invoke(root, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_counts_and_exports_unfinished_clips_only_if_asked(tmp_path: Path) -> None:
    path = begin(tmp_path / "a.lmdb", 300)
    assert '"unfinished": {\n' in run("cache", "ls", path, "--json")
    assert "1 clip, 300 rows" in run("cache", "ls", path, "--no-state")
    assert "300 of 1000 rows" in run("cache", "info", path)
    assert run("cache", "export", path, "--to", "npz", "--out", tmp_path / "whole") == ""
    assert not [*(tmp_path / "whole").glob("*.npz")]
    run("cache", "export", path, "--to", "npz", "--partial", "--out", tmp_path / "partial")
    with np.load(tmp_path / "partial/long.npz") as file:
        assert (file["values"].shape, file["times"].shape) == ((300, WIDTH), (300, 2))
    again = CliRunner().invoke(root, ["cache", "import", str(tmp_path / "partial"), "--out", str(tmp_path / "b.lmdb")])
    assert "1 unfinished clip" in str(again.exception)
    shutil.copy(path, tmp_path / "copy.lmdb")
    run("cache", "convert", tmp_path / "copy.lmdb", tmp_path / "c.h5")
    assert len(open_store(tmp_path / "c.h5")) == 0


def test_a_cache_without_unfinished_clips_is_the_same_with_and_without_partial(tmp_path: Path) -> None:
    path = whole(tmp_path / "a.lmdb", 3)
    assert content_of(open_store(path, partial=True)) == content_of(open_store(path))


def test_a_folder_that_is_deleted_under_a_writer_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "caches").mkdir()
    with LMDBWriter(tmp_path / "caches/a.lmdb", RECIPE) as writer:
        append(writer, 0, 200, 300)
        shutil.rmtree(tmp_path / "caches")
        with pytest.raises(StoreError, match="No such file"):
            append(writer, 300, 600, 900)
