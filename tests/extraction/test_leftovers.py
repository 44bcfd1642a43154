"""Jobs that are killed leave nothing that the same line does not remove; what may not be written is one line."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from faults import Starter, bound_by_permissions, limited, wait_until

from egotools.errors import EgotoolsError
from egotools.manifests.table import write_manifest
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.types import Clip, Rows

pytestmark = pytest.mark.integration

CLIPS, WIDTH = 200, 128
COMMANDS: dict[str, list[str]] = {
    "convert.lmdb": ["cache", "convert", "big.lmdb", "out/c.lmdb"],
    "convert.h5": ["cache", "convert", "big.lmdb", "out/c.h5"],
    "merge": ["cache", "merge", "big.lmdb", "more.lmdb", "--out", "out/c.lmdb"],
    "import": ["cache", "import", "arrays", "--out", "out/c.lmdb"],
    "import.h5": ["cache", "import", "npz", "--out", "out/c.h5"],
    "export": ["cache", "export", "big.lmdb", "--to", "npz", "--out", "out/npz"],
    "csv": ["cache", "export", "big.lmdb", "--to", "csv", "--out", "out/t.csv"],
}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two caches, a folder of arrays, an exported one, a video's name and a manifest."""
    folder = tmp_path_factory.mktemp("there")
    rng = np.random.default_rng(0)
    for name, count in (("big.lmdb", CLIPS), ("more.lmdb", CLIPS + 9)):
        with open_writer(folder / name, Recipe({"extractor": "made"})) as writer:
            for at in range(count):
                values = np.full((8, WIDTH), at, np.float32)
                writer.append(f"{at:04d}", Rows(values, np.zeros((8, 2))))
                writer.finish(f"{at:04d}", Source(""))
            writer.seal()
    (folder / "arrays").mkdir()
    for at in range(CLIPS):
        np.save(folder / "arrays" / f"{at:04d}.npy", rng.normal(size=(8, WIDTH)))
    (folder / "videos").mkdir()
    (folder / "videos" / "a.mp4").write_bytes(b"x" * 100)
    write_manifest(folder / "m.csv", [Clip(f"{at:04d}", Path(), labels={"label": "x" * 1000}) for at in range(CLIPS)])
    words = ["cache", "export", folder / "big.lmdb", "--to", "npz", "--out", folder / "npz"]
    assert CliRunner().invoke(root, list(map(str, words))).exit_code == 0
    return folder


@pytest.fixture
def folder(there: Path, tmp_path: Path) -> Path:
    """The same folder, with an `out` of its own."""
    for path in there.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "out").mkdir()
    return tmp_path


def has_begun(out: Path) -> bool:
    """Whether something lies in the folder aside, or the new file of HDF5 does beside it."""
    with suppress(FileNotFoundError):  # it was there a moment ago
        return any(out.glob(".*.new")) or any(out.glob(".*.aside/*"))
    return False


def clips_of(path: Path) -> int:
    if path.suffix in (".lmdb", ".h5"):
        return len(open_store(path))
    return len(list(path.glob("*.npz"))) if path.is_dir() else path.read_text().count("\n") // 8


@pytest.mark.parametrize("kind", COMMANDS)
def test_jobs_that_are_killed_leave_nothing_that_the_same_line_does_not_remove(
    starter: Starter, folder: Path, kind: str
) -> None:
    words, out = [*COMMANDS[kind], "--overwrite"], folder / "out"
    killed = 0
    for night in range(3):
        running = starter.start(words, folder)
        wait_until(lambda: has_begun(out) or running.poll() is not None, f"{kind} never began")  # noqa: B023
        time.sleep(0.002 * night)
        killed += running.kill(everyone=True).status == -signal.SIGKILL
        hidden = [path.name for path in out.iterdir() if path.name.startswith(".")]
        assert len(hidden) <= 2, hidden  # a folder of one name, and the new file of HDF5
    assert killed
    finished = starter.run(words, folder)
    assert finished.status == 0, finished.stderr
    names = {path.name for path in out.iterdir()}
    result = Path(words[-2]).name
    assert names <= {result, f"{result}-lock", f"{result}.json"}
    assert clips_of(out / result) == CLIPS + 9 * (kind == "merge")


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_link_of_the_name_of_the_folder_aside_is_removed_and_not_followed(folder: Path, kind: str) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "mine.txt").write_text("mine")
    words = COMMANDS[kind]
    (folder / "out" / f".{Path(words[-1]).name}.aside").symlink_to(folder / "elsewhere")
    assert invoked(words, folder).exit_code == 0
    assert [path.name for path in (folder / "elsewhere").iterdir()] == ["mine.txt"]
    assert not any(path.name.startswith(".") for path in (folder / "out").iterdir())


def invoked(words: list[str], folder: Path) -> Result:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return CliRunner().invoke(root, words)
    finally:
        os.chdir(before)


WRITERS = {
    **COMMANDS,
    "derive": ["derive", "pool", "--features", "big.lmdb", "--out", "out", "--statistics", "mean"],
    "folder": ["manifest", "folder", "videos", "--out", "out/m.csv"],
    "split": ["manifest", "split", "m.csv", "--by", "label", "--fractions", "train=1", "--out", "out/m.csv"],
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_that_may_not_be_written_is_one_line(starter: Starter, folder: Path, kind: str) -> None:
    (folder / "out").chmod(0o555)
    finished = starter.call(bound_by_permissions, WRITERS[kind], folder=folder).wait()
    assert finished.status == 1, finished.stderr
    assert "Permission denied" in finished.stderr.splitlines()[-1]
    assert "out/" in finished.stderr.splitlines()[-1]
    assert "Traceback" not in finished.stderr
    assert list((folder / "out").iterdir()) == []


@pytest.mark.parametrize("kind", [name for name in WRITERS if name != "folder"])
def test_a_quota_is_one_line_and_leaves_nothing(starter: Starter, folder: Path, kind: str) -> None:
    finished = starter.call(limited, 5000, WRITERS[kind], folder=folder).wait()
    assert finished.status == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    assert any(said in finished.stderr for said in ("File too large", "Input/output error")), finished.stderr
    assert not [path.name for path in (folder / "out").iterdir() if path.name.startswith(".")]


def test_a_name_that_is_too_long_is_one_line(folder: Path) -> None:
    for kind, words in WRITERS.items():
        long = [word.replace("out/", f"out/{'x' * 300}/") if word.startswith("out/") else word for word in words]
        if long != words:
            done = invoked(long, folder)
            assert isinstance(done.exception, EgotoolsError), kind
            assert "File name too long" in str(done.exception)


@pytest.mark.parametrize(
    "words",
    [
        ["cache", "import", "x" * 5000, "--out", "c.lmdb"],
        ["cache", "export", "x" * 5000 + ".lmdb", "--to", "npz", "--out", "n"],
        ["manifest", "folder", "x" * 5000, "--out", "m.csv"],
        ["manifest", "folder", "videos", "--labels", "x" * 5000, "--out", "m.csv"],
        ["manifest", "table", "x" * 5000 + ".npz", "--id", "id", "--out", "m.csv"],
        ["extract", "--manifest", "x" * 5000, "--out", "c", "color"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_input_whose_name_is_too_long_is_one_line(folder: Path, words: list[str]) -> None:
    done = invoked(words, folder)
    assert isinstance(done.exception, EgotoolsError)
    assert "\n" not in str(done.exception)
