"""Folders that become caches: arrays at any depth, what is passed over, and what `cache export` wrote."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.errors import StoreError
from egotools.rebuild.quick_status import QuickStatus
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.types import Rows

VALUES = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
IDENTITY = {"extractor": "resnet50", "options": {"fps": 2.0}, "dtype": "float16"}
ODD_IDS = [
    "P01/v1",
    "a\\b",
    "..",
    "x" * 400,
    "é/e\u0301",
    'quote"d, and "more"',
    "line\nbreak",
    "lone\rreturn",
    "CON",
    "=1+1",
]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["cache", *map(str, arguments)])


def arrays_of(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            np.save(file, VALUES)
    return folder


def refused(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, StoreError)
    assert "\n" not in str(done.exception)
    return str(done.exception)


def exported(tmp_path: Path, dtype: str = "float16") -> Path:
    """A cache with odd ids, clips of 0 to 2 rows, and sources; and what `cache export` writes of it."""
    with open_writer(tmp_path / "c.lmdb", Recipe(IDENTITY, {"command": "made"})) as writer:
        for at, id in enumerate(ODD_IDS):
            values = (VALUES[: at % 3] + at).astype(dtype)
            writer.append(id, Rows(values, np.arange(2.0 * len(values)).reshape(-1, 2) + 1 / 3))
            writer.finish(id, Source(f"/videos/{at}.mp4", 0.1 + at, None, 10 + at, 5.25))
        writer.seal()
    done = run("export", tmp_path / "c.lmdb", "--to", "npz", "--out", tmp_path / "npz")
    assert done.exit_code == 0, done.output
    return tmp_path / "npz"


# Folders of arrays


def test_arrays_at_any_depth_are_clips_whatever_the_case_of_their_suffix(tmp_path):
    arrays_of(tmp_path / "f", "top.npy", "P01/v1.npy", "P02/deep/v.2.NPY")
    done = run("import", tmp_path / "f", "--out", tmp_path / "c.lmdb")
    assert done.exit_code == 0, done.output
    store = open_store(tmp_path / "c.lmdb")
    assert list(store) == ["P01/v1", "P02/deep/v.2", "top"]
    assert store["P01/v1"].values.tolist() == VALUES.tolist()
    assert store.source("P01/v1").path == str(tmp_path / "f/P01/v1.npy")


def test_what_is_passed_over_is_counted_and_named(tmp_path):
    arrays_of(tmp_path / "f", "v.npy")
    for name in ("notes.txt", "P01/v.npz", "v.npy.bak"):
        (tmp_path / "f" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "f" / name).write_text("x")
    done = run("import", tmp_path / "f", "--out", tmp_path / "c.lmdb")
    assert done.exit_code == 0, done.output
    assert "ignored, not .npy files: 3 (P01/v.npz, notes.txt, v.npy.bak)" in done.stderr


def test_a_folder_without_arrays_says_what_it_has_instead(tmp_path):
    (tmp_path / "f/P01").mkdir(parents=True)
    out = ["--out", tmp_path / "c.lmdb"]
    assert refused("import", tmp_path / "f", *out).endswith("contains no .npy files")
    (tmp_path / "f/P01/a.npz").write_text("x")
    assert "no .npy files; 1 files of other kinds, such as P01/a.npz" in refused("import", tmp_path / "f", *out)
    assert not (tmp_path / "c.lmdb").exists()


@pytest.mark.parametrize("names", [("a.npy", "a.NPY"), ("P/é.npy", "P/e\u0301.npy")])
def test_two_files_of_one_id_are_refused_by_name(tmp_path, names):
    arrays_of(tmp_path / "f", *names)
    line = refused("import", tmp_path / "f", "--out", tmp_path / "c.lmdb")
    assert all(name in line for name in names)
    assert "rename one of them" in line


def test_links_out_of_the_folder_are_named_and_not_followed(tmp_path):
    arrays_of(tmp_path / "f", "a.npy", "P01/b.npy")
    arrays_of(tmp_path / "other", "secret.npy")
    (tmp_path / "f/link").symlink_to(tmp_path / "other")
    (tmp_path / "f/c.npy").symlink_to(tmp_path / "other/secret.npy")
    (tmp_path / "f/d.npy").symlink_to(tmp_path / "f/a.npy")
    (tmp_path / "f/P01/loop").symlink_to(tmp_path / "f")
    done = run("import", tmp_path / "f", "--out", tmp_path / "c.lmdb")
    assert done.exit_code == 1
    assert "links that lead out of the folder, not followed: 2 (c.npy, link)" in done.stderr
    assert list(open_store(tmp_path / "c.lmdb")) == ["P01/b", "a", "d"]


def test_a_file_that_is_added_deep_in_the_folder_makes_the_cache_stale(tmp_path):
    arrays_of(tmp_path / "f", "P01/a.npy")
    run("import", tmp_path / "f", "--out", tmp_path / "c.lmdb")
    assert QuickStatus()(tmp_path / "c.lmdb").state == "fresh"
    arrays_of(tmp_path / "f", "P01/b.npy")
    assert QuickStatus()(tmp_path / "c.lmdb").state == "stale"


# What was exported


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_was_exported_comes_back_to_the_bit_with_times_sources_and_recipe(tmp_path, suffix, dtype):
    folder = exported(tmp_path, dtype)
    done = run("import", folder, "--out", tmp_path / f"again{suffix}")
    assert done.exit_code == 0, done.output
    assert "passed over" not in done.stderr
    before, after = open_store(tmp_path / "c.lmdb"), open_store(tmp_path / f"again{suffix}")
    assert list(after) == list(before) == sorted(ODD_IDS, key=str.encode)
    assert (after.dtype, after.width, dict(after.recipe.identity)) == (before.dtype, before.width, IDENTITY)
    assert after.recipe.origin == {"command": "made", "exported": str(folder)}
    for id in before:
        assert after[id].values.tobytes() == before[id].values.tobytes()
        assert after[id].times.tobytes() == before[id].times.tobytes()
        assert after.source(id) == before.source(id)


def test_the_folder_says_itself_what_it_is(tmp_path):
    said = json.loads((exported(tmp_path) / "recipe.json").read_text())
    assert said == {"format": "egotools export", "identity": IDENTITY, "origin": {"command": "made"}}


def test_importing_an_export_again_does_nothing_and_another_cache_is_not_mixed(tmp_path):
    folder = exported(tmp_path)
    assert "there already: nothing to do" in run("import", folder, "--out", tmp_path / "c.lmdb").stderr
    arrays_of(tmp_path / "f", "a.npy")
    run("import", tmp_path / "f", "--out", tmp_path / "other.lmdb")
    assert "made differently" in refused("import", folder, "--out", tmp_path / "other.lmdb")
    assert run("import", folder, "--out", tmp_path / "other.lmdb", "--overwrite").exit_code == 0
    assert len(open_store(tmp_path / "other.lmdb")) == len(ODD_IDS)


def test_an_export_that_was_changed_is_refused(tmp_path):
    folder = exported(tmp_path)
    file = folder / "CON.npz"
    before, out = file.read_bytes(), ["--out", tmp_path / "d.lmdb"]
    with np.load(file) as arrays:
        np.savez(file, values=arrays["values"] + 1, times=arrays["times"])
    assert "clip 'CON' was changed since it was exported" in refused("import", folder, *out)
    file.unlink()
    assert "CON.npz: cannot be read" in refused("import", folder, *out)
    (tmp_path / "elsewhere.npz").write_bytes(before)
    file.symlink_to(tmp_path / "elsewhere.npz")
    assert "CON.npz: cannot be read: it is a link" in refused("import", folder, *out)
    index = folder / "index.csv"
    index.write_text(index.read_text().replace('"CON.npz"', '"../elsewhere.npz"'))
    assert "not what was exported ('../elsewhere.npz' is not its file" in refused("import", folder, *out)
    assert not (tmp_path / "d.lmdb").exists()


def test_an_earlier_export_is_replaced_only_when_told_to_and_nothing_else_ever(tmp_path):
    folder = exported(tmp_path)
    line = ["export", tmp_path / "c.lmdb", "--to", "npz", "--out", folder]
    assert "--overwrite replaces an earlier export" in refused(*line)
    (folder / "CON.npz").unlink()
    assert run(*line, "--overwrite").exit_code == 0
    assert (folder / "CON.npz").exists()
    (folder / "mine.txt").write_text("x")
    assert "contains files that are not from an export, such as mine.txt" in refused(*line, "--overwrite")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("x")
    assert "is not an empty folder" in refused(*line[:-1], tmp_path / "other", "--overwrite")
    assert os.listdir(tmp_path / "other") == ["mine.txt"]
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == sorted(ODD_IDS, key=str.encode)
