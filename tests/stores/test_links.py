"""Links beside caches, manifests and results lead no writing elsewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root
from PIL import Image
from planted import plant, want

from egotools.errors import EgotoolsError
from egotools.stores import open_store

EXTRACT = ["extract", "--manifest", "m.csv", "--out", "c", "--workers", "1", "color"]
SEALED = ["extract", "--manifest", "m.csv", "--out", "c", "--store", "hdf5", "--workers", "1", "hog"]
REBUILD = ["rebuild", "c", "--manifest", "m.csv", "--workers", "1"]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest, one cache of one image, and something to do: a second row whose file is not there."""
    given = tmp_path_factory.mktemp("given")
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(given / "a.png")
    (given / "m.csv").write_text("id,path,label\na,a.png,x\nb,none.png,y\n")
    plant(want(given / "c/color.lmdb", "color"), given / "m.csv", "a")
    return given


@pytest.fixture
def home(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, where the command runs."""
    home = tmp_path / "home"
    shutil.copytree(given, home)
    monkeypatch.chdir(home)
    return home


def run(line: list[str]) -> int:
    """The exit status of a command; a failure that it names is 1."""
    result = CliRunner().invoke(root, line)
    assert result.exception is None or isinstance(result.exception, (SystemExit, EgotoolsError)), result.exception
    return result.exit_code


MERGE = ["cache", "merge", "c/color.lmdb", "--out", "c/q.lmdb"]

LINES: list[tuple[str, list[str]]] = [
    ("c/color.lmdb.writer", EXTRACT),
    ("c/color.lmdb.writer", REBUILD),
    ("c/color.lmdb-lock", EXTRACT),
    ("c/color.lmdb-lock", REBUILD),
    ("c/color.lmdb-lock", ["cache", "ls", "c"]),
    ("c/.color.lmdb.failed.csv.part", EXTRACT),
    ("c/.color.lmdb.failed.csv.part", REBUILD),
    ("c/color.lmdb.failed.csv", REBUILD),
    ("c/hog.h5.part", SEALED),
    ("c/hog.h5.part-lock", SEALED),
    ("c/hog.h5.part.writer", SEALED),
    ("c/.hog.h5.new", SEALED),
    ("c/new.lmdb", ["extract", "--manifest", "m.csv", "--out", "c", "color", "--name", "new"]),
    ("c/.q.h5.new", ["cache", "convert", "c/color.lmdb", "c/q.h5"]),
    ("c/q.h5.part.writer", ["cache", "convert", "c/color.lmdb", "c/q.h5"]),
    ("c/q.lmdb-lock", ["cache", "convert", "c/color.lmdb", "c/q.lmdb"]),
    ("c/q.lmdb.writer", MERGE),
    (".w.csv.part", ["manifest", "windows", "m.csv", "--length", "0.02", "--out", "w.csv"]),
    ("p/color.lmdb.writer", ["derive", "pool", "--features", "c/color.lmdb", "--out", "p"]),
    ("p/color.lmdb-lock", ["derive", "pool", "--features", "c/color.lmdb", "--out", "p"]),
]


@pytest.mark.parametrize(("link", "line"), LINES, ids=[f"{link} {' '.join(line[:2])}" for link, line in LINES])
def test_a_link_in_the_place_of_a_file_of_ours_is_replaced_or_refused(home: Path, link: str, line: list[str]) -> None:
    elsewhere = home.parent / "elsewhere.txt"
    elsewhere.write_text("as it was")
    lead(link, elsewhere)
    run(line)
    assert elsewhere.read_text() == "as it was"
    assert list(open_store(Path("c/color.lmdb"))) == ["a"]


def lead(link: str, elsewhere: Path) -> None:
    Path(link).parent.mkdir(exist_ok=True)
    Path(link).unlink(missing_ok=True)
    Path(link).symlink_to(elsewhere)


@pytest.mark.parametrize(
    ("link", "line"), [("c/q.lmdb", MERGE), ("c/.q.lmdb.aside/q.lmdb", MERGE), ("c/hog.h5.part", SEALED)]
)
def test_a_link_to_nothing_makes_nothing_there(home: Path, link: str, line: list[str]) -> None:
    lead(link, home.parent / "elsewhere")
    run(line)
    assert not (home.parent / "elsewhere").exists()


FOLDERS: list[tuple[str, list[str]]] = [
    ("c/.color.lmdb.rebuild", [*REBUILD, "--keep-old"]),
    ("c/.old", [*REBUILD, "--keep-old"]),
    ("c/.q.lmdb.aside", ["cache", "convert", "c/color.lmdb", "c/q.lmdb"]),
    ("p/.color.lmdb.derive", ["derive", "pool", "--features", "c/color.lmdb", "--out", "p"]),
]


@pytest.mark.parametrize(("link", "line"), FOLDERS, ids=[link for link, _ in FOLDERS])
def test_a_link_in_the_place_of_a_folder_of_ours_is_replaced_or_refused(home: Path, link: str, line: list[str]) -> None:
    Path("m.csv").write_text("id,path\nz,a.png\n")  # so that a rebuild has a cache to replace
    elsewhere = home.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("as it was")
    Path(link).parent.mkdir(exist_ok=True)
    Path(link).symlink_to(elsewhere)
    run(line)
    assert os.listdir(elsewhere) == ["file"]


def test_a_short_file_that_is_no_cache_is_neither_begun_anew_nor_removed(tmp_path: Path, home: Path) -> None:
    Path("c/new.lmdb").write_text("as it was")
    assert run(["extract", "--manifest", "m.csv", "--out", "c", "color", "--name", "new"]) == 1
    assert Path("c/new.lmdb").read_text() == "as it was"


@pytest.mark.parametrize("make_link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_the_lock_file_of_lmdb_is_its_own(home: Path, make_link: Callable[[Path, Path], None]) -> None:
    elsewhere = home.parent / "elsewhere.txt"
    elsewhere.write_text("as it was")
    Path("c/color.lmdb-lock").unlink()
    make_link(elsewhere, Path("c/color.lmdb-lock"))
    run(EXTRACT)
    assert elsewhere.read_text() == "as it was"
