"""Caches with records that no egotools of today wrote: one line each, and the other caches go on."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.errors import EgotoolsError, StoreError
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.types import Rows

NESTED = b"[" * 50_000
IDENTITY = {"extractor": "color", "version": 1, "options": {}, "precision": "float32", "dtype": "float32"}


def record(segments: tuple[tuple[int, int, int], ...] = ((0, 0, 3),), source: bytes = b'{"path":""}') -> bytes:
    head = struct.pack("<QII", 3, 0, len(segments))
    return head + np.array(segments, "<i8").tobytes() + np.zeros((3, 2)).tobytes() + source


def clip(*segments: tuple[int, int, int], source: bytes = b'{"path":""}', key: bytes = b"ca") -> Change:
    return lambda transaction: transaction.put(key, record(segments or ((0, 0, 3),), source))


def head(**changes: object) -> Change:
    def change(transaction: lmdb.Transaction) -> None:
        header = {**json.loads(transaction.get(b"h")), **changes}
        transaction.put(b"h", json.dumps(header).encode())

    return change


Change = Callable[[lmdb.Transaction], object]
CLIPS: dict[str, Change] = {  # those in which one clip is damaged
    "block-negative": clip((-1, 0, 3)),
    "block-missing": clip((7, 0, 3)),
    "rows-negative": clip((0, 0, 6), (0, 0, -3)),
    "rows-outside": clip((0, 2**62, 3)),
    "record-short": lambda transaction: transaction.put(b"ca", b"123"),
    "record-endless": lambda transaction: transaction.put(b"ca", struct.pack("<QII", 2**63, 0, 2**31) + bytes(50)),
    "source-list": clip(source=b"[1]"),
    "source-more": clip(source=b'{"path":"","later":1}'),
    "source-type": clip(source=b'{"path":"","size":"x"}'),
    "source-not-utf8": clip(source=b"\xff\xfe"),
    "source-nested": clip(source=NESTED),
    "key-not-utf8": clip(key=b"c\xff\xfe"),
    "key-empty": clip(key=b"c"),
}
HEADS: dict[str, Change] = {  # those of which nothing can be said
    "nested": lambda transaction: transaction.put(b"h", NESTED * 4),
    "no-json": lambda transaction: transaction.put(b"h", b"\xff"),
    "width-nan": head(width=float("nan")),
    "width-null": head(width=None),
    "width-text": head(width="x"),
    "width-true": head(width=True),
    "rows-infinite": head(rows=float("inf")),
    "rows-huge": head(rows=10**30),
    "clips-negative": head(clips=-2),
    "dtype-list": head(dtype=["float32"]),
    "dtype-other": head(dtype="int8"),
    "identity-null": head(identity=None),
    "identity-text": head(identity="color"),
    "options-list": head(identity={**IDENTITY, "options": [1]}),
    "origin-list": head(origin=[]),
    "manifest-number": head(origin={"manifest": 5}),
    "manifests-numbers": head(origin={"manifest": [5]}),
    "limit-negative": head(origin={"manifest": "m.csv", "limit": -1}),
    "version-list": head(version=[1]),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.lmdb"
    with open_writer(path, Recipe(IDENTITY, {"extractor": "color"})) as writer:
        for id in "abc":
            writer.append(id, Rows(np.ones((3, 4), np.float32), np.zeros((3, 2))))
            writer.finish(id, Source(""))
        writer.seal()
    return path


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A folder with the good cache."""
    shutil.copy(good, tmp_path / "good.lmdb")
    return tmp_path


def changed(folder: Path, change: Change) -> Path:
    path = folder / "bad.lmdb"
    shutil.copy(folder / "good.lmdb", path)
    opened = lmdb.open(str(path), subdir=False, map_size=1 << 24, lock=False)
    with opened as environment, environment.begin(write=True) as transaction:
        change(transaction)
    return path


def run(*line: object) -> Result:
    result = CliRunner().invoke(root, [str(word) for word in line])
    assert result.exception is None or isinstance(result.exception, (SystemExit, EgotoolsError)), result.exception
    return result


def said(result: Result) -> str:
    return str(result.exception) if isinstance(result.exception, EgotoolsError) else result.stderr


@pytest.mark.parametrize("name", CLIPS)
def test_a_damaged_clip_is_named_with_its_cache_and_counted(folder: Path, name: str) -> None:
    path = changed(folder, CLIPS[name])
    verified = run("cache", "verify", folder)
    assert verified.exit_code == 1
    assert verified.stdout.count("good.lmdb") == 1
    what = "is not the id of a clip" if name.startswith("key") else "clip 'a': "
    assert what in verified.stderr
    assert str(path) in verified.stderr
    assert "good.lmdb" not in verified.stderr
    outcomes = [
        run("cache", "convert", path, folder / "out.h5"),
        run("cache", "export", path, "--to", "npz", "--out", folder / "out"),
        run("cache", "info", path, "--clip", "a") if not name.startswith("key") else run("cache", "info", path),
    ]
    assert [outcome.exit_code for outcome in outcomes] == [1, 1, 1]
    assert all(str(path) in said(outcome) for outcome in outcomes)
    assert all(name.startswith("key") or "clip 'a'" in said(outcome) for outcome in outcomes)
    assert not (folder / "out.h5").exists()
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name", HEADS)
def test_a_cache_of_which_nothing_can_be_said_is_one_line_and_the_others_are_listed(folder: Path, name: str) -> None:
    path = changed(folder, HEADS[name])
    listed = run("cache", "ls", folder, "--json")
    assert listed.exit_code == 1
    assert {Path(item["path"]).name: "error" in item for item in json.loads(listed.stdout)} == {
        "good.lmdb": False,
        "bad.lmdb": True,
    }
    (line,) = listed.stderr.splitlines()
    assert line.startswith(f"{path}: ")
    with pytest.raises(StoreError, match=r"bad\.lmdb: "):
        open_store(path)
    with pytest.raises(StoreError, match=r"bad\.lmdb: "):
        open_writer(path, Recipe(IDENTITY))


def test_a_rebuild_calls_a_strange_cache_unknown_and_makes_strange_clips_again(folder: Path) -> None:
    (folder / "m.csv").write_text("id,path\na,a.mp4\nb,b.mp4\nc,c.mp4\n")
    kinds = {**CLIPS, **HEADS}
    for name, change in kinds.items():
        changed(folder, change).rename(folder / f"{name}.lmdb")
    result = run("rebuild", folder, "--dry-run", "--json", "--manifest", folder / "m.csv")
    assert result.exit_code == 1
    found = {Path(item["cache"]).stem: item for item in json.loads(result.stdout)["caches"]}
    assert set(found) == {*kinds, "good"}
    for name in kinds:
        item = found[name]
        assert item["state"] in ("unknown", "stale")
        if name in HEADS or name.startswith("key"):
            assert item["state"] == "unknown"


def test_a_link_that_leads_to_itself_is_one_line_and_the_others_are_listed(folder: Path) -> None:
    loop = folder / "loop.lmdb"
    loop.symlink_to(loop.name)
    for line in (["cache", "ls"], ["cache", "verify"], ["rebuild", "--dry-run"]):
        result = run(*line, folder)
        assert result.exit_code == 1
        assert "good.lmdb" in result.stdout
        assert loop.name in (result.stdout if line[0] == "rebuild" else result.stderr)
    result = run("derive", "pool", "--features", loop, "--out", folder / "pooled")
    assert result.exit_code == 1
    assert str(loop) in said(result)
