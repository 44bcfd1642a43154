"""`egotools cache import`: caches from arrays of other programs, and whether they still hold."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.derive.fitted import read_arrays
from egotools.progress import no_progress
from egotools.rebuild.planning import Planner, RebuildOptions
from egotools.rebuild.quick_status import QuickStatus
from egotools.rebuild.rebuilding import HowToRebuild, rebuild
from egotools.stores import open_store
from egotools.stores.summary import summarize

IDS = np.array([7, 30, 8])
VALUES = np.random.default_rng(0).normal(size=(3, 4))
ROWS = np.random.default_rng(1).normal(size=(3, 2, 4)).astype(np.float32)
TIMES = np.arange(12.0).reshape(3, 2, 2)


def run(*arguments: object, command: str = "import") -> Result:
    return CliRunner().invoke(root, ["cache", command, *map(str, arguments)])


def refused(*arguments: object) -> str:
    """What one line says of why nothing was imported."""
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    assert "\n" not in str(done.exception)
    return str(done.exception)


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "features.npz"
    np.savez(path, video_id=IDS, values=VALUES, rows=ROWS, times=TIMES, names=np.array(["a/1", "ü", "c"]))
    return path


@pytest.fixture
def imported(npz: Path, tmp_path: Path) -> Path:
    done = run(npz, "--id", "video_id", "--values", "values", "--out", tmp_path / "caches/c3d.lmdb")
    assert done.exit_code == 0, done.output
    return tmp_path / "caches/c3d.lmdb"


def state(cache: Path) -> tuple[str, list[str]]:
    """What `cache ls` says of it; `rebuild --dry-run` says the same."""
    seen, planned = QuickStatus()(cache), Planner(RebuildOptions()).assess(cache)
    assert (seen.state, seen.remarks) == (planned.state, planned.remarks)
    return seen.state, seen.remarks


# What is made


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_a_row_of_an_array_is_the_row_of_the_clip_with_its_id(npz, tmp_path, suffix):
    done = run(npz, "--id", "video_id", "--values", "values", "--out", tmp_path / f"caches/c3d{suffix}")
    assert done.exit_code == 0, done.output
    assert "3 clips, 3 rows of 4 features" in done.stderr
    store = open_store(tmp_path / f"caches/c3d{suffix}")
    assert list(store) == ["30", "7", "8"]
    for id, values in zip(IDS, VALUES, strict=True):
        assert store[str(id)].values.tolist() == [values.astype(np.float32).tolist()]
        assert store[str(id)].times.tolist() == [[0.0, 0.0]]
        assert store.source(str(id)).path == str(npz)
    assert store.dtype.name == "float32"
    assert [path.name for path in (tmp_path / "caches").iterdir() if path.name.startswith(".")] == []


def test_three_axes_are_several_rows_a_clip_with_the_times_that_are_given(npz, tmp_path):
    run(npz, "--id", "names", "--values", "rows", "--times", "times", "--out", tmp_path / "r.lmdb")
    store = open_store(tmp_path / "r.lmdb")
    for id, rows, times in zip(["a/1", "ü", "c"], ROWS, TIMES, strict=True):
        assert store[id].values.tolist() == rows.tolist()
        assert store[id].times.tolist() == times.tolist()


def test_an_hdf5_file_is_read_by_the_names_of_its_datasets(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["meta/ids"] = ["x", "ü"]
        file.create_dataset("features", data=VALUES[:2].astype(np.float16), compression="gzip")
    done = run(tmp_path / "f.h5", "--id", "meta/ids", "--values", "features", "--out", tmp_path / "c.lmdb")
    assert done.exit_code == 0, done.output
    store = open_store(tmp_path / "c.lmdb")
    assert list(store) == ["x", "ü"]
    assert store["ü"].values.tolist() == VALUES[1:2].astype(np.float16).tolist()
    assert "the file has features, meta/ids" in refused(
        *(tmp_path / "f.h5", "--id", "id", "--values", "features", "--out", tmp_path / "d.lmdb")
    )


def test_files_of_a_folder_are_clips_named_after_them(tmp_path):
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder/one.npy", VALUES[0])
    np.save(tmp_path / "folder/two.npy", ROWS[0])
    (tmp_path / "folder/notes.txt").write_text("not an array")
    done = run(tmp_path / "folder", "--out", tmp_path / "c.lmdb")
    assert done.exit_code == 0, done.output
    store = open_store(tmp_path / "c.lmdb")
    assert [(id, len(store[id].values)) for id in store] == [("one", 1), ("two", 2)]
    assert store.source("two").path == str(tmp_path / "folder/two.npy")


def test_the_same_line_again_does_nothing_and_another_is_refused(npz, imported):
    before = imported.stat().st_mtime_ns
    line = [npz, "--id", "video_id", "--out", imported, "--values"]
    assert "there already: nothing to do" in run(*line, "values").stderr
    assert imported.stat().st_mtime_ns == before
    assert "was made differently; choose another --out, or replace it with --overwrite" in refused(*line, "rows")
    assert run(*line, "rows", "--overwrite").exit_code == 0
    assert open_store(imported).rows == 6


def test_the_list_says_that_it_was_imported(imported):
    assert summarize(imported).extractor == "imported"
    done = run(imported.parent, "--json", command="ls")
    (found,) = json.loads(done.stdout)
    assert (found["extractor"], found["state"], found["why"]) == ("imported", "fresh", [])


# Whether it still holds


def test_it_is_fresh_as_long_as_its_file_has_the_same_content(npz, imported):
    assert state(imported) == ("fresh", [])
    content = npz.read_bytes()
    npz.unlink()
    npz.write_bytes(content)  # of another time
    assert state(imported) == ("fresh", [])
    np.savez(npz, video_id=IDS, values=VALUES + 1)
    (why,) = state(imported)[1][:1]
    assert state(imported)[0] == "stale"
    assert why.startswith(f"{npz}, which it was imported from, has changed; import it again: egotools cache import")


def test_rows_whose_file_is_gone_stand_and_are_named(npz, imported):
    npz.unlink()
    assert state(imported) == ("fresh", ["3 clips cannot be compared: their files are gone, such as '30'"])


def test_a_pipe_in_the_place_of_its_file_is_not_opened(npz, imported):
    npz.unlink()
    os.mkfifo(npz)
    assert state(imported) == ("unknown", [f"{npz}, which it was imported from, cannot be read: not a regular file"])


def test_a_folder_to_which_a_file_is_added_makes_it_stale(tmp_path):
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder/one.npy", VALUES[0])
    run(tmp_path / "folder", "--out", tmp_path / "c.lmdb")
    assert state(tmp_path / "c.lmdb")[0] == "fresh"
    np.save(tmp_path / "folder/two.npy", VALUES[0])
    assert state(tmp_path / "c.lmdb")[0] == "stale"


def test_a_rebuild_leaves_it_and_says_how_it_is_made(npz, imported):
    np.savez(npz, video_id=IDS, values=VALUES + 1)
    before = imported.read_bytes()
    (outcome,) = rebuild([imported], RebuildOptions(), HowToRebuild(), progress=no_progress)
    assert (outcome.state, outcome.computed) == ("stale", 0)
    assert outcome.problem.startswith("left unchanged: ")
    assert "egotools cache import" in outcome.problem
    assert imported.read_bytes() == before


def test_damaged_rows_are_found(imported):
    data = bytearray(imported.read_bytes())
    data[data.index(VALUES[0].astype(np.float32).tobytes())] ^= 1
    imported.unlink()
    imported.write_bytes(data)
    found = Planner(RebuildOptions()).assess(imported)
    assert found.state == "stale"
    assert "clip '7'" in found.reasons[0]


# What is refused


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"v": np.where(VALUES[1, 2] == VALUES, np.nan, VALUES)}, "clip '30' has 1 NaN or infinite values"),
        ({"v": np.full((3, 2), 1e300)}, "clip '7' has values too large for float32"),
        ({"id": np.array([1, 2, 1])}, "1 ids appear more than once, such as '1'"),
        ({"id": IDS[:, None]}, r"'id' has the shape [3, 1], not one id per clip"),
        ({"id": np.array(["a", "", "b"])}, "row 1 of 'id', counted from 0, has no id"),
        ({"id": IDS[:2]}, "'v' has the shape [3, 4]; with 2 ids it must be [2, features] or [2, rows, features]"),
        ({"v": np.zeros((3, 0))}, "clip '7' has the shape [0], not [features] or [rows, features]"),
        ({"v": np.full((3, 2), "text")}, "clip '7' has values of type <U4, not numbers"),
        ({"v": np.full((3, 2), {}, object)}, "'v' cannot be read: it holds Python objects, which could run code"),
        ({"id": np.array([{}, 1, 2], object)}, "'id' cannot be read: it holds Python objects"),
        ({"v": np.zeros((0, 2)), "id": np.zeros(0)}, "contains no clips"),
    ],
)
def test_unusable_arrays_are_refused_in_one_line(tmp_path, arrays, problem):
    np.savez(tmp_path / "f.npz", **{"id": IDS, "v": VALUES, **arrays})
    line = refused(tmp_path / "f.npz", "--id", "id", "--values", "v", "--out", tmp_path / "c/c.lmdb")
    assert problem in line
    assert str(tmp_path) in line
    assert not (tmp_path / "c/c.lmdb").exists()


def test_times_that_do_not_fit_are_refused(npz, tmp_path):
    line = [npz, "--id", "video_id", "--out", tmp_path / "c.lmdb"]
    assert "'times' has the shape [3, 2, 2], not [3, 2]" in refused(*line, "--values", "values", "--times", "times")
    np.savez(npz, video_id=IDS, values=VALUES, times=np.array([[1, 0], [0, 1], [0, 1.0]]))
    assert "clip '7' has times that are not [start, end]" in refused(*line, "--values", "values", "--times", "times")


def test_files_that_are_none_are_refused_in_one_line(tmp_path):
    (tmp_path / "text.npz").write_text("no zip")
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "p.npz").write_bytes(pickle.dumps([1]))
    np.save(tmp_path / "single.npy", VALUES)
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    keys = ["--id", "id", "--values", "v", "--out", tmp_path / "c.lmdb"]
    for name in ("text.npz", "text.h5", "p.npz", "single.npz", "gone.npz"):
        assert str(tmp_path / name) in refused(tmp_path / name, *keys)
    (tmp_path / "x.txt").write_text("x")
    assert "arrays must be in a .npz, an HDF5 file (" in refused(tmp_path / "x.txt", *keys)
    assert "needs the names of two arrays" in refused(tmp_path / "text.npz", "--out", tmp_path / "c.lmdb")


def test_folders_that_cannot_be_clips_are_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    out = ["--out", tmp_path / "c.lmdb"]
    assert "contains no " in refused(tmp_path / "folder", *out)
    np.save(tmp_path / "folder/a.npy", VALUES[0])
    np.save(tmp_path / "folder/b.npy", VALUES[0, :2])
    assert "b.npy: clip 'b' has 2 features, clip 'a' has 4" in refused(tmp_path / "folder", *out)
    np.save(tmp_path / "folder/b.npy", np.array([{}], object), allow_pickle=True)
    assert "it holds Python objects" in refused(tmp_path / "folder", *out)
    assert "a folder of .npy files must have none" in refused(tmp_path / "folder", "--id", "id", "--values", "v", *out)


def test_the_features_of_real_videos_come_over_to_the_bit(shared, tmp_path):
    source = shared / "data/memorability/trecvid2020_train.npz"
    done = run(source, "--id", "video_id", "--values", "c3d_resnet18_512", "--out", tmp_path / "c3d.lmdb")
    assert done.exit_code == 0, done.output
    arrays, store = read_arrays(source), open_store(tmp_path / "c3d.lmdb")
    rows = np.concatenate([store[str(id)].values for id in arrays["video_id"]])
    assert np.array_equal(rows, arrays["c3d_resnet18_512"])
