"""`cache export --to csv|parquet`: tables that read back to the bit."""

from __future__ import annotations

import csv
import json
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.errors import EgotoolsError
from egotools.stores import Recipe, Source, export_table, open_store, open_writer
from egotools.types import Rows

IDS = ["007", "P01/v1", 'a "quoted", id', "lone\rreturn", "none", "ü"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["cache", *map(str, arguments)])


def make_cache(path: Path, dtype: str = "float32") -> Path:
    rng = np.random.default_rng(0)
    with open_writer(path, Recipe({"extractor": "made", "dtype": dtype}, {"command": "test"})) as writer:
        for at, id in enumerate(IDS):
            values = (rng.normal(size=(0 if id == "none" else at + 1, 3)) * 10.0 ** rng.integers(-30, 4)).astype(dtype)
            if id == "ü":
                values[:2] = [[np.nan, np.inf, -np.inf], [-0.0, 0.0, 1e-8]]
            writer.append(id, Rows(values, np.arange(2.0 * len(values)).reshape(-1, 2) / 3))
            writer.finish(id, Source(""))
        writer.seal()
    return path


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_has_a_row_a_window_and_its_numbers_read_back_to_the_bit(tmp_path, kind, dtype, monkeypatch):
    monkeypatch.setattr(export_table, "BATCH", 30)  # bytes: several batches
    store = open_store(make_cache(tmp_path / "c.lmdb", dtype))
    done = run("export", tmp_path / "c.lmdb", "--to", kind, "--out", tmp_path / f"t.{kind}")
    assert done.exit_code == 0, done.output
    assert "6 clips" in done.stderr
    assert "1 of them have no rows and are not in the table" in done.stderr
    if kind == "csv":
        frame = pd.read_csv(tmp_path / "t.csv", dtype={"id": str}, keep_default_na=False)
    else:
        frame = pd.read_parquet(tmp_path / "t.parquet")
    assert list(frame) == ["id", "start", "end", "f0", "f1", "f2"]
    assert frame["id"].tolist() == [id for id in store for _ in range(len(store.stored(id)))]
    for id in store:
        own = frame[frame["id"] == id]
        assert own[["f0", "f1", "f2"]].to_numpy().astype(dtype).tobytes() == store[id].values.tobytes()
        assert own[["start", "end"]].to_numpy().tobytes() == store[id].times.tobytes()


def test_numbers_of_a_csv_read_back_with_the_csv_module_and_with_the_usual_reader_of_pandas(tmp_path):
    store = open_store(make_cache(tmp_path / "c.lmdb"))
    run("export", tmp_path / "c.lmdb", "--to", "csv", "--out", tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = np.array([[float(row[name]) for name in ("f0", "f1", "f2")] for row in rows])
    values = np.concatenate([store[id].values for id in store])
    assert np.array_equal(found, values.astype(np.float64), equal_nan=True)
    usual = pd.read_csv(tmp_path / "t.csv")[["f0", "f1", "f2"]].to_numpy().astype(np.float32)
    assert np.array_equal(usual, values, equal_nan=True)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_recipe_lies_beside_the_table(tmp_path, kind):
    out = tmp_path / f"t.{kind}"
    run("export", make_cache(tmp_path / "c.lmdb"), "--to", kind, "--out", out)
    said = json.loads((tmp_path / f"t.{kind}.json").read_text())
    assert said["identity"] == {"extractor": "made", "dtype": "float32"}
    assert (said["origin"], said["clips_without_rows"]) == ({"command": "test"}, ["none"])
    names = {path.name for path in tmp_path.iterdir()} - {"c.lmdb", "c.lmdb-lock"}
    assert names == {out.name, f"{out.name}.json"}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_that_is_there_is_replaced_only_when_told_to(tmp_path, kind):
    cache, out = make_cache(tmp_path / "c.lmdb"), tmp_path / "t"
    out.write_text("mine")
    done = run("export", cache, "--to", kind, "--out", out)
    assert "--overwrite" in str(done.exception)
    assert out.read_text() == "mine"
    assert run("export", cache, "--to", kind, "--out", out, "--overwrite").exit_code == 0
    assert out.read_bytes() != b"mine"
    (tmp_path / "u.json").write_text("mine")
    done = run("export", cache, "--to", kind, "--out", tmp_path / "u", "--overwrite")
    assert "does not describe an exported table" in str(done.exception)
    assert (tmp_path / "u.json").read_text() == "mine"


def test_parquet_without_its_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = run("export", make_cache(tmp_path / "c.lmdb"), "--to", "parquet", "--out", tmp_path / "t")
    assert isinstance(done.exception, EgotoolsError)
    assert "pyarrow is not installed; install it with: pip install 'egotools[parquet]'" in str(done.exception)
    assert not (tmp_path / "t").exists()


def test_a_large_cache_passes_through_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(export_table, "BATCH", 1 << 20)
    with open_writer(tmp_path / "c.lmdb", Recipe({"extractor": "made"})) as writer:
        for at in range(40):
            writer.append(str(at), Rows(np.full((1000, 128), at, np.float32), np.zeros((1000, 2))))
            writer.finish(str(at), Source(""))
        writer.seal()
    store = open_store(tmp_path / "c.lmdb")
    sizes = [values.nbytes for _, _, values in export_table._batches(store, export_table.no_progress)]
    assert sum(sizes) == 40 * 1000 * 128 * 4
    assert max(sizes) <= (1 << 20) + 1000 * 128 * 4  # a batch, and the piece that fills it
    tracemalloc.start()
    export_table.export_table(tmp_path / "c.lmdb", tmp_path / "t.parquet", "parquet")
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 8 << 20  # of 20 MB of rows
