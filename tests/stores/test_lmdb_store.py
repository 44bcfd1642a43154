"""What is LMDB's own: blocks, orphans, environments, limits, readers beside a writer."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest

from egotools.errors import StoreError
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.lmdb_layout import BLOCK_BYTES, Record, pack_record, unpack_record
from egotools.stores.lmdb_store import LMDBStore
from egotools.stores.lmdb_writer import FLUSH
from egotools.types import Rows

RECIPE = Recipe({"extractor": "test"})


def make_rows(count: int, width: int = 2048, seed: int = 0) -> Rows:
    values = np.random.default_rng(seed).random((count, width), np.float32)
    return Rows(values, np.full((count, 2), float(seed)))


def run_python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


def test_clips_of_one_row_share_blocks_and_cost_little_more_than_their_bytes(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.lmdb", RECIPE) as writer:
        for index in range(2000):
            writer.append(str(index), make_rows(1, seed=index))
            writer.finish(str(index), Source(f"/videos/{index}.mp4"))
        writer.commit()
    store = LMDBStore(tmp_path / "a.lmdb")
    assert store.blocks == 4
    assert (tmp_path / "a.lmdb").stat().st_size < 1.05 * 2000 * 8192
    assert store["1234"].values.tolist() == make_rows(1, seed=1234).values.tolist()


def test_the_rows_of_a_short_clip_lie_together_and_aligned(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.lmdb", RECIPE) as writer:
        for index in range(6):
            writer.append(str(index), make_rows(200, seed=index))
            writer.finish(str(index), Source(""))
        writer.commit()
    store = open_store(tmp_path / "a.lmdb")
    for name in store:
        (view,) = store.stored(name).views
        assert view.__array_interface__["data"][0] % 64 == 0
        assert not view.flags.writeable


def test_a_long_clip_is_written_while_it_comes_and_waits_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    with open_writer(path, RECIPE) as writer:
        for index in range(120):  # 98 MB
            writer.append("long", make_rows(100, seed=index))
        assert path.stat().st_size > 98e6 - FLUSH - 2 * BLOCK_BYTES
        with pytest.raises(StoreError, match="nothing was committed"):
            open_store(path)
        writer.finish("long", Source(""))
        writer.commit()
        store = open_store(path)
    assert len(store.stored("long")) == 12000
    assert store.stored("long").is_intact()
    assert max(len(piece.values) for piece in store.stored("long").pieces()) * 8192 <= BLOCK_BYTES


def test_blocks_of_a_clip_that_was_never_finished_are_dropped_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    with open_writer(path, RECIPE) as writer:
        writer.append("kept", make_rows(3))
        writer.finish("kept", Source(""))
        writer.append("lost", make_rows(5000))
        writer.commit()
    assert LMDBStore(path).orphans() > 0
    open_writer(path, RECIPE).close()
    store = LMDBStore(path)
    assert store.orphans() == 0
    assert store["kept"].values.tolist() == make_rows(3).values.tolist()
    del store  # what a reader may still look at is not used again
    size = path.stat().st_size
    with open_writer(path, RECIPE) as writer:
        for name, count in (("little", 1), ("much", 4000)):  # what the last commit freed is used from the next but one
            writer.append(name, make_rows(count))
            writer.finish(name, Source(""))
            writer.commit()
    assert path.stat().st_size <= size + 2 * BLOCK_BYTES


def test_dropping_a_clip_that_reached_the_disk_frees_its_blocks(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.lmdb", RECIPE) as writer:
        writer.append("dropped", make_rows(6000))
        writer.drop("dropped")
        writer.append("kept", make_rows(3))
        writer.finish("kept", Source(""))
        writer.commit()
    store = LMDBStore(tmp_path / "a.lmdb")
    assert (list(store), store.orphans()) == (["kept"], 0)


def test_a_store_is_a_snapshot_and_opening_it_again_sees_new_commits(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    with open_writer(path, RECIPE) as writer:
        writer.append("a", make_rows(1))
        writer.finish("a", Source(""))
        writer.commit()
        before = open_store(path)
        writer.append("b", make_rows(1))
        writer.finish("b", Source(""))
        assert "b" not in open_store(path)
        writer.commit()
        assert (len(before), list(before), "b" in before) == (1, ["a"], False)
        assert list(open_store(path)) == ["a", "b"]


READ = """
import os, sys, time
from pathlib import Path
from egotools.stores import open_store
path, parent = Path(sys.argv[1]), os.getppid()
seen = 0
while seen < 30 and os.getppid() == parent:  # however slow the disk is
    store = open_store(path)
    assert len(store) >= seen and len(list(store)) == len(store)
    seen = len(store)
    for name in store:
        assert (store[name].values == float(name)).all(), name
    time.sleep(0.005)  # readers that spin take the processor from the writer
sys.exit(0 if seen == 30 else 1)
"""


def test_many_readers_beside_one_writer_see_only_whole_clips(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"

    def write(index: int) -> None:
        writer.append(str(index), Rows(np.full((50, 256), index, np.float32), np.zeros((50, 2))))
        writer.finish(str(index), Source(""))
        writer.commit()

    with open_writer(path, RECIPE) as writer:
        write(0)
        readers = [subprocess.Popen([sys.executable, "-c", READ, str(path)]) for _ in range(4)]
        for index in range(1, 30):
            write(index)
            writer.append("unfinished", Rows(np.full((50, 256), index, np.float32), np.zeros((50, 2))))
        assert [reader.wait(300) for reader in readers] == [0] * 4


def test_more_caches_may_be_open_than_fit_the_address_space(tmp_path: Path) -> None:
    rows = []
    for index in range(60):  # 4 TiB of address space each; there are 128
        with open_writer(tmp_path / f"{index}.lmdb", RECIPE) as writer:
            writer.append("a", make_rows(1, 4, seed=index))
            writer.finish("a", Source(""))
            writer.commit()
        rows.append(open_store(tmp_path / f"{index}.lmdb")["a"])
    assert [float(row.times[0, 0]) for row in rows] == list(range(60))


def test_a_view_keeps_its_file_open(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    with open_writer(path, RECIPE) as writer:
        writer.append("a", make_rows(300))
        writer.finish("a", Source(""))
        writer.commit()
    (view,) = open_store(path).stored("a").views
    gc.collect()
    with pytest.raises(StoreError):
        open_store(tmp_path / "b.lmdb")
    open_writer(tmp_path / "c.lmdb", RECIPE).close()  # closes what nobody looks into
    assert np.array_equal(view, make_rows(300).values)  # would be a segmentation fault


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from egotools.errors import StoreError
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.types import Rows
kind, limit, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
resource.setrlimit(getattr(resource, kind), (limit, limit))
rows = Rows(np.ones((200, 2048), np.float32), np.zeros((200, 2)))
committed = 0
try:
    with open_writer(path, Recipe({"extractor": "test"})) as writer:
        for index in range(committed, 100):
            writer.append(str(index), rows)
            writer.finish(str(index), Source(""))
            writer.commit()
            committed += 1
except StoreError as error:
    print(error, file=sys.stderr)
store = open_store(path)
assert len(store) == committed, (len(store), committed)
assert all(store.stored(name).is_intact() for name in store)
print(committed)
"""


def test_a_full_disk_ends_with_one_clear_line_and_keeps_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    full = run_python(LIMITED, "RLIMIT_FSIZE", 30_000_000, path)
    assert full.returncode == 0, full.stderr
    assert 10 <= int(full.stdout) < 20
    assert "what was committed is kept" in full.stderr
    with open_writer(path, RECIPE) as writer:  # the same line again, with room
        assert "3" in writer
        writer.append("more", make_rows(10))
        writer.finish("more", Source(""))
        writer.commit()
    assert len(open_store(path)) == int(full.stdout) + 1


def test_a_limit_on_address_space_halves_the_map_until_it_fits(tmp_path: Path) -> None:
    limited = run_python(LIMITED, "RLIMIT_AS", 4 << 30, tmp_path / "a.lmdb")
    assert (limited.returncode, limited.stdout) == (0, "100\n"), limited.stderr


def test_a_writer_that_crashed_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    crash = (
        "import os, sys; from pathlib import Path; from egotools.stores import *; "
        "w = open_writer(Path(sys.argv[1]), Recipe({'extractor': 'test'})); os.abort()"
    )
    assert run_python(crash, path).returncode < 0
    with pytest.raises(StoreError, match="nothing was committed"):
        open_store(path)
    with open_writer(path, RECIPE) as writer:
        writer.finish("a", Source(""))
        writer.commit()
    assert len(open_store(path)) == 1
    assert sorted(os.listdir(tmp_path)) == ["a.lmdb", "a.lmdb-lock"]


def test_a_writer_in_another_process_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    second = (
        "import sys; from pathlib import Path; from egotools.stores import *; "
        "open_writer(Path(sys.argv[1]), Recipe({'extractor': 'test'}))"
    )
    with open_writer(path, RECIPE):
        refused = run_python(second, path)
    assert f"(process {os.getpid()})" in refused.stderr
    assert refused.returncode == 1


def test_an_lmdb_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    with lmdb.open(str(path), subdir=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"frame_0001", b"x" * 8192)
    before = path.read_bytes()
    for open_it in (lambda: open_store(path), lambda: open_writer(path, RECIPE)):
        with pytest.raises(StoreError, match="not a cache of egotools"):
            open_it()
    assert path.read_bytes() == before


def test_a_file_that_is_no_lmdb_is_left_without_a_lock_file(tmp_path: Path) -> None:
    (tmp_path / "a.lmdb").write_text("text\n" * 10_000)
    with pytest.raises(StoreError, match="not LMDB"):
        open_store(tmp_path / "a.lmdb")
    assert os.listdir(tmp_path) == ["a.lmdb"]


def test_records_round_trip() -> None:
    record = Record([(3, 0, 2), (9, 5, 1)], np.arange(6.0).reshape(3, 2), 0xDEADBEEF, b'{"path":""}')
    again = unpack_record(pack_record(record))
    assert [tuple(segment) for segment in again.segments] == record.segments
    assert again.times.tolist() == record.times.tolist()
    assert (again.checksum, again.source) == (record.checksum, record.source)
    with pytest.raises(ValueError, match="record too short"):
        unpack_record(b"1234")


@pytest.mark.parametrize("segment", [(-1, 0, 3), (0, -1, 3), (0, 0, 2), (0, 0, -3)])
def test_a_record_with_numbers_that_cannot_be_is_refused(segment: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="impossible segments"):
        unpack_record(pack_record(Record([segment], np.zeros((3, 2)), 0, b"{}")))


@pytest.mark.parametrize(
    ("at", "number"), [(0, 0), (0, 10**7), (0, 2**63 - 1), (12, 2**31), (16, 77), (24, 9), (24, 2**62)]
)
def test_many_clips_read_at_once_find_a_damaged_record_too(tmp_path: Path, at: int, number: int) -> None:
    path = tmp_path / "a.lmdb"
    with open_writer(path, Recipe({})) as writer:
        for name in ("fine", "wrong"):
            writer.append(name, Rows(np.ones((1, 3), np.float32), np.array([[0.0, 1.0]])))
            writer.finish(name, Source(""))
        writer.seal()
    data = bytearray(path.read_bytes())
    place, size = data.index(b"cwrong") + 6 + at, 4 if at == 12 else 8  # of rows, segments, block, first row
    data[place : place + size] = number.to_bytes(size, "little")
    path.unlink()
    path.write_bytes(data)
    store, ids = open_store(path), ["fine", "wrong"]
    with pytest.raises(StoreError, match="'wrong'"):
        store.single_rows([id for id, count in zip(ids, store.row_counts(ids), strict=True) if count == 1])
