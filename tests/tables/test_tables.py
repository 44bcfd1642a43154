from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from egotools.errors import TableError
from egotools.stores import Recipe, Source, open_writer
from egotools.tables.table import read_table
from egotools.types import FloatArray, Rows


def write_cache(path: Path, clips: Mapping[str, FloatArray], *, shift: float = 0.0) -> Path:
    """A cache with windows of one second; `shift` moves their times."""
    with open_writer(path, Recipe({"extractor": path.stem})) as writer:
        for clip, values in clips.items():
            starts = np.arange(len(values)) + shift
            if len(values):
                writer.append(clip, Rows(values, np.stack([starts, starts + 1], axis=1)))
            writer.finish(clip, Source(""))
        writer.commit()
    return path


def write_manifest(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["id,path,split,label,video", *rows]) + "\n")
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "m.csv", "b,b.mp4,train,cat,v1", "a,a.mp4,test,dog,v2", "c,c.mp4,,,v2")


A, B, C = np.float32([[1, 2], [3, 6]]), np.float32([[5, 5]]), np.float32([[7, 8]])


def test_rows_follow_the_manifest_and_carry_its_columns(tmp_path: Path, manifest: Path) -> None:
    table = read_table(manifest, [write_cache(tmp_path / "x.lmdb", {"a": A, "b": B, "c": C})])
    assert table.ids.tolist() == ["b", "a", "c"]
    assert table.values.tolist() == [[5, 5], [2, 4], [7, 8]]
    assert table.values.dtype == np.float32
    assert table.times.tolist() == [[0, 1], [0, 2], [0, 1]]
    assert table.labels["label"].tolist() == ["cat", "dog", ""]
    assert table.split.tolist() == ["train", "test", ""]
    assert table.remarks == ()


def test_caches_are_joined_by_id_and_concatenated(tmp_path: Path, manifest: Path) -> None:
    first = write_cache(tmp_path / "x.lmdb", {"a": A, "b": B, "c": C})
    second = write_cache(tmp_path / "y.lmdb", {"c": 10 * C[:, :1], "b": 10 * B[:, :1], "a": 10 * B[:, :1]}, shift=3)
    table = read_table(manifest, [first, second])
    assert table.values.tolist() == [[5, 5, 50], [2, 4, 50], [7, 8, 70]]


def test_a_table_becomes_a_data_frame_with_the_columns_of_an_exported_cache(tmp_path: Path, manifest: Path) -> None:
    cache = write_cache(tmp_path / "x.lmdb", {"a": A, "b": B, "c": C})
    frame = read_table(str(manifest), str(cache), reduce=None).to_pandas()
    assert [*frame.columns] == ["id", "start", "end", "split", "label", "video", "f0", "f1"]
    assert frame.loc[frame.id == "a"].to_numpy().tolist() == [
        ["a", 0, 1, "test", "dog", "v2", 1, 2],
        ["a", 1, 2, "test", "dog", "v2", 3, 6],
    ]
    assert frame.dtypes["f1"] == np.float32
    write_manifest(manifest, "a,a.mp4,test,dog,v2").write_text(manifest.read_text().replace("video", "f1"))
    with pytest.raises(TableError, match="the manifest's column 'f1' has the name of a feature"):
        read_table(manifest, [cache]).to_pandas()


def test_mean_and_deviation_are_those_of_the_windows(tmp_path: Path, manifest: Path) -> None:
    cache = write_cache(tmp_path / "x.lmdb", {"a": A, "b": B, "c": C})
    assert read_table(manifest, [cache], reduce="mean+std").values[1].tolist() == [2, 4, 1, 2]


def test_a_clip_in_several_blocks_is_reduced_as_a_whole(
    tmp_path: Path, manifest: Path, rng: np.random.Generator
) -> None:
    values = rng.normal(loc=100, size=(3000, 700)).astype(np.float32)  # 8.4 MB; a block holds 4
    clips = {"a": values, "b": values[:5], "c": values[7:8]}
    table = read_table(manifest, [write_cache(tmp_path / "x.lmdb", clips)], reduce="mean+std")
    exact = values.astype(np.float64)
    expected = np.concatenate([exact.mean(axis=0), exact.std(axis=0)])
    np.testing.assert_allclose(table.values[1], expected, rtol=1e-6)  # rounded to float32
    assert table.times.tolist() == [[0, 5], [0, 3000], [0, 1]]


def test_half_precision_rows_become_float32(tmp_path: Path, manifest: Path) -> None:
    rows = np.full((3000, 1), 100, np.float16)  # their sum is beyond float16
    table = read_table(manifest, [write_cache(tmp_path / "x.lmdb", {"a": rows, "b": rows[:1], "c": rows})])
    assert table.values.tolist() == [[100]] * 3


def test_windows_stay_rows_when_nothing_reduces_them(tmp_path: Path, manifest: Path) -> None:
    cache = write_cache(tmp_path / "x.lmdb", {"a": A, "b": B, "c": C})
    table = read_table(manifest, [cache, cache], reduce=None)
    assert table.ids.tolist() == ["b", "a", "a", "c"]
    assert table.values[1:3].tolist() == [[1, 2, 1, 2], [3, 6, 3, 6]]
    assert table.labels["video"].tolist() == ["v1", "v2", "v2", "v2"]


@pytest.mark.parametrize(("rows", "shift"), [(A, 0.5), (A[:1], 0.0)])
def test_windows_of_other_times_are_not_joined(tmp_path: Path, manifest: Path, rows: FloatArray, shift: float) -> None:
    first = write_cache(tmp_path / "x.lmdb", {"a": A})
    second = write_cache(tmp_path / "y.lmdb", {"a": rows}, shift=shift)
    with pytest.raises(TableError, match=r"clip 'a'.*different times"):
        read_table(manifest, [first, second], reduce=None)


def test_clips_without_features_are_counted_and_named(tmp_path: Path, manifest: Path) -> None:
    first = write_cache(tmp_path / "x.lmdb", {"a": A, "b": B})
    second = write_cache(tmp_path / "y.lmdb", {"a": A, "b": A[:0], "c": C})
    table = read_table(manifest, [first, second])
    assert table.ids.tolist() == ["a"]
    assert table.remarks[0] == f"1 clip missing in {first} left out: 'c'"
    assert table.remarks[1] == "1 clip without any row left out: 'b'"


def test_a_cache_of_other_clips_is_refused(tmp_path: Path, manifest: Path) -> None:
    with pytest.raises(TableError, match=r"none of the 3 clips of .*m\.csv: its ids are like 'other'"):
        read_table(manifest, [write_cache(tmp_path / "x.lmdb", {"other": A})])


def test_caches_that_share_no_clip_are_refused(tmp_path: Path, manifest: Path) -> None:
    caches = [write_cache(tmp_path / "x.lmdb", {"a": A}), write_cache(tmp_path / "y.lmdb", {"b": A})]
    with pytest.raises(TableError, match=r"no clip of .* is in every one"):
        read_table(manifest, caches)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("reduce", ["mean", "mean+std", None])
def test_features_that_are_not_finite_are_refused_by_clip(
    tmp_path: Path, manifest: Path, bad: float, reduce: str | None
) -> None:
    cache = write_cache(tmp_path / "x.lmdb", {"a": np.float32([[1, 2], [3, bad]]), "b": B, "c": C})
    with pytest.raises(TableError, match="1 clip with NaN or infinite features: 'a'"):
        read_table(manifest, [cache], reduce=reduce)  # type: ignore[arg-type]


def test_an_unknown_column_lists_those_there_are(tmp_path: Path, manifest: Path) -> None:
    table = read_table(manifest, [write_cache(tmp_path / "x.lmdb", {"a": A, "b": B})])
    with pytest.raises(TableError, match="no column 'verb'; its label columns are: label, video"):
        table.labeled("verb")


def test_rows_with_an_empty_label_are_left_out_and_counted(tmp_path: Path, manifest: Path) -> None:
    table = read_table(manifest, [write_cache(tmp_path / "x.lmdb", {"a": A, "b": B, "c": C})])
    assert table.labeled("label").ids.tolist() == ["b", "a"]
    assert table.labeled("label").remarks == ("1 clip with an empty 'label' left out: 'c'",)


def test_tables_start_without_torch() -> None:
    code = "import sys, egotools.tables.table, egotools.cli.methods.probe; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
