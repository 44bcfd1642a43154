"""An LMDB file read without LMDB: the same keys and values, beside a writer, damaged, or swapped for another."""

from __future__ import annotations

import os
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest

from egotools.errors import StoreError
from egotools.stores import Recipe, Source, lmdb_index, open_store, open_writer
from egotools.stores.lmdb_index import Index
from egotools.stores.lmdb_writer import LMDBWriter
from egotools.stores.verify import verify
from egotools.types import Rows

RECIPE = Recipe({"extractor": "test", "dtype": "float32"})
PAGE = 4096


def add(writer: LMDBWriter, name: str, rows: int = 2) -> None:
    writer.append(name, Rows(np.full((rows, 8), sum(name.encode()), np.float32), np.zeros((rows, 2))))
    writer.finish(name, Source("/videos/a.mp4", 0.0, None, 10, 1.5))


def make(path: Path, names: list[str]) -> Path:
    with LMDBWriter(path, RECIPE) as writer:
        for position, name in enumerate(names):
            add(writer, name, rows=150 if position % 40 == 0 else position % 3)
        writer.seal()
    return path


def index_of(path: Path) -> Index:
    with path.open("rb") as file:
        return Index(file.fileno(), path)


@pytest.mark.parametrize("count", [0, 1, 7, 900])
def test_it_holds_what_lmdb_holds(tmp_path: Path, count: int, rng: np.random.Generator) -> None:
    path = tmp_path / "a.lmdb"
    sizes = rng.integers(0, 9000, count).tolist()
    values = {rng.bytes(int(rng.integers(1, 40))): rng.bytes(size) for size in sizes}
    keys = list(values)
    with lmdb.open(str(path), subdir=False, map_size=1 << 26) as environment:
        for first in range(0, max(count, 1), 300):  # several transactions, with deletions in between
            with environment.begin(write=True) as transaction:
                for key in keys[first : first + 300]:
                    transaction.put(key, values[key])
                for key in keys[first : first + 300 : 7]:
                    transaction.delete(key)
                    del values[key]
    index, data = index_of(path), path.read_bytes()
    assert list(index.keys(b"")) == sorted(values)
    for key, value in values.items():
        found = index.get(key)
        assert (data[found[0] : sum(found)] if isinstance(found, tuple) else found) == value
    assert index.get(b"\0") is None
    assert index.get(b"\xff" * 50) is None
    assert list(index.keys(b"\x80")) == sorted(key for key in values if key.startswith(b"\x80"))


def test_reading_creates_nothing_and_needs_no_lock_file(tmp_path: Path) -> None:
    path = make(tmp_path / "a.lmdb", ["a", "b"])
    (tmp_path / "a.lmdb-lock").unlink()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert list(open_store(path)) == ["a", "b"]
        assert os.listdir(tmp_path) == ["a.lmdb"]
    finally:
        tmp_path.chmod(0o755)


def overtake(monkeypatch: pytest.MonkeyPatch, write: Callable[[], None], times: int) -> list[int]:
    """Lets a writer commit while an index is read, between its pages; a list with one entry a reading."""
    readings: list[int] = []
    leaves = lmdb_index.leaf_pages

    def overtaken(*arguments: object) -> object:
        if len(readings) < times:
            write()
        readings.append(1)
        return leaves(*arguments)

    monkeypatch.setattr(lmdb_index, "leaf_pages", overtaken)
    return readings


@pytest.mark.parametrize("commits", [1, 20])
def test_a_reader_without_a_lock_has_all_rows_though_the_index_is_rewritten_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    names = [f"c{number:04d}" for number in range(400)]
    path = make(tmp_path / "a.lmdb", names)
    with LMDBWriter(path, RECIPE) as writer:
        add(writer, "first")
        writer.commit()

        def write() -> None:
            for number in range(commits):
                add(writer, f"b{number * 7919 % 1009:04d}")
                writer.commit()

        seen = overtake(monkeypatch, write, 1)
        store = open_store(path)
        assert len(seen) == 1  # the writer keeps the pages of the state that is read
        monkeypatch.undo()
    assert list(store) == sorted([*names, "first"])
    assert len(store) == 401
    for name in names[::40]:
        assert np.unique(store[name].values).tolist() == [float(sum(name.encode()))]


def test_what_any_writer_of_lmdb_has_written_over_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that keeps no pages for us: the third transaction uses those that the first one gave up."""
    names = [f"c{number:04d}" for number in range(400)]
    path = make(tmp_path / "a.lmdb", names)
    with lmdb.open(str(path), subdir=False, map_size=1 << 26) as environment:

        def write() -> None:
            for number in range(3):
                with environment.begin(write=True) as transaction:
                    for key in range(0, 400, 5):
                        transaction.put(b"x%04d-%d" % (key, number), b"x" * 1000)

        seen = overtake(monkeypatch, write, 2)
        assert list(open_store(path)) == names
    assert len(seen) == 3


def test_an_index_that_is_written_all_the_time_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "a.lmdb", ["a"])
    monkeypatch.setattr(lmdb_index, "PATIENCE", 0.0)
    monkeypatch.setattr(lmdb_index, "_is_kept", lambda *states: False)
    with pytest.raises(StoreError, match=r"a\.lmdb: it is being written faster than it can be read"):
        open_store(path)


def test_the_pages_that_a_writer_keeps_cost_little(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    with LMDBWriter(path, RECIPE) as writer:
        for number in range(100):
            add(writer, f"{number:03d}")
            writer.commit()
    assert path.stat().st_size < 100 * 6 * PAGE


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_an_opened_cache_stays_the_file_that_was_opened_also_after_a_fork(tmp_path: Path, suffix: str) -> None:
    path, new = tmp_path / f"a{suffix}", tmp_path / f"new{suffix}"
    for place, value in ((path, 1.0), (new, 2.0)):
        with open_writer(place, RECIPE) as writer:
            for name in ("a", "b"):
                writer.append(name, Rows(np.full((3, 4), value, np.float32), np.zeros((3, 2))))
                writer.finish(name, Source(""))
            writer.seal()
    store = open_store(path)
    sent = pickle.dumps(store)
    assert pickle.loads(sent)["a"].values.tolist() == store["a"].values.tolist()
    os.replace(new, path)
    child = os.fork()
    if child == 0:
        os._exit(0 if all(store[name].values.sum() == 12.0 for name in store) and len(store) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store["b"].values.sum() == 12.0
    with pytest.raises(StoreError, match="another cache has taken its place since it was opened; open it again"):
        pickle.loads(sent)


def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.lmdb", [f"c{number:04d}" for number in range(60)])
    data = path.read_bytes()
    copy = tmp_path / "cut.lmdb"
    for length in [1, 19, 100, PAGE, PAGE + 100, *range(2 * PAGE, len(data), PAGE), len(data) - 1]:
        copy.write_bytes(data[:length])
        with pytest.raises(StoreError, match=r"cut\.lmdb: "):
            open_store(copy)


def mutate(data: bytes, random_: random.Random) -> bytes:
    """Some bytes of anywhere, or of a page's beginning, are others; or two pages are exchanged."""
    mutant, pages = bytearray(data), len(data) // PAGE
    kind = random_.choice(["anywhere", "beginning", "exchanged"])
    if kind == "exchanged":
        one, other = (slice(at * PAGE, (at + 1) * PAGE) for at in random_.sample(range(pages), 2))
        mutant[one], mutant[other] = mutant[other], mutant[one]
    for _ in range(random_.choice([1, 3, 30])):
        at = random_.randrange(len(data)) if kind == "anywhere" else random_.randrange(pages) * PAGE
        if kind != "exchanged":
            mutant[at + (0 if kind == "anywhere" else random_.randrange(160))] = random_.choice([0, 255, 127])
    return bytes(mutant)


def test_damaged_bytes_anywhere_are_an_error_of_ours_or_harmless_for_readers_and_writers(tmp_path: Path) -> None:
    data = make(tmp_path / "a.lmdb", [f"c{number:04d}" for number in range(80)]).read_bytes()
    path, outcomes = tmp_path / "mutant.lmdb", {"sound": 0, "damaged": 0, "refused": 0}
    for seed in range(80):
        (tmp_path / "mutant.lmdb-lock").unlink(missing_ok=True)
        path.write_bytes(mutate(data, random.Random(seed)))
        try:
            found = verify(path)
            outcomes["sound" if found.is_sound else "damaged"] += 1
            with LMDBWriter(path, RECIPE) as writer:
                add(writer, "new")
                writer.commit()
        except StoreError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 3


def test_a_tree_that_leads_back_to_itself_ends(tmp_path: Path) -> None:
    path = make(tmp_path / "a.lmdb", [f"c{number:04d}" for number in range(400)])
    data = bytearray(path.read_bytes())
    meta = max((data[at : at + 152] for at in (0, PAGE)), key=lambda page: struct.unpack_from("<Q", page, 144)[0])
    root = struct.unpack_from("<Q", meta, 128)[0]
    upper = struct.unpack_from("<H", data, root * PAGE + 14)[0]
    struct.pack_into("<HH", data, root * PAGE + upper, root & 0xFFFF, root >> 16)
    (tmp_path / "b.lmdb").write_bytes(data)
    with pytest.raises(StoreError, match="damaged: a page of its index is of another kind"):
        open_store(tmp_path / "b.lmdb")
