"""MATLAB's files of version 7.3, and foreign HDF5 that points outside itself or declares more than it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.errors import StoreError
from egotools.stores import open_store

X = np.random.default_rng(0).normal(size=(3, 5))


class Matlab:
    """Writes arrays as MATLAB lays them out: turned, of two axes at least, with their class beside them."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self._cells = file.create_group("#refs#")

    def put(self, name: str, values: np.ndarray[Any, Any], kind: str = "double") -> Any:
        dataset = self.file.create_dataset(name, data=np.atleast_2d(values).T)
        dataset.attrs["MATLAB_class"] = np.bytes_(kind)
        return dataset

    def char(self, name: str, *rows: str) -> Any:
        units = [np.frombuffer(row.encode("utf-16-le"), np.uint16) for row in rows]
        width = max(map(len, units))
        table = np.stack([np.pad(row, (0, width - len(row)), constant_values=ord(" ")) for row in units])
        if table.size:
            return self.put(name, table, "char")
        empty = self.put(name, np.zeros((1, 2), np.uint64), "char")
        empty.attrs["MATLAB_empty"] = np.uint8(1)
        return empty

    def cell(self, name: str, items: list[Any]) -> None:
        self.file.create_dataset(name, data=np.array([item.ref for item in items], h5py.ref_dtype)[None, :])
        self.file[name].attrs["MATLAB_class"] = np.bytes_("cell")


@pytest.fixture
def mat(tmp_path: Path) -> Path:
    path = tmp_path / "f.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        made = Matlab(file)
        made.put("x", X)
        made.put("single", X.astype(np.float32), "single")
        made.put("rows", np.arange(24.0).reshape(3, 2, 4))
        made.put("times", np.arange(12.0).reshape(3, 2, 2))
        made.put("across", np.array([[7.0, 8.0, 9.0]]))
        made.put("down", np.array([[7.0], [8.0], [9.0]]))
        made.put("int", np.array([[7, 2**60 + 1, 9]]), "int64")
        made.put("flags", np.array([[True, False]]), "logical")
        made.put("one", np.array([[7.0]]))
        made.put("x1", X[:1])
        made.put("halves", np.array([[1.5, 2.0, 3.0]]))
        made.put("holes", np.array([[1.0, np.nan, 3.0]]))
        made.put("large", np.array([[1.0, 2.0**60, 3.0]]))
        made.char("padded", "a/1", "ü", "long name")
        texts = [made.char(f"#refs#/{at}", text) for at, text in enumerate(["v1", "cut 🎬", "ü"])]
        made.cell("names", texts)
        numbers = [made.put(f"#refs#/n{at}", np.array([[float(at)]])) for at in range(3)]
        made.cell("numbers", numbers)
        made.cell("nested", [made.put("#refs#/big", X), *texts[:2]])
        made.cell("gaps", [*texts[:2], made.char("#refs#/empty", "")])
        file.create_group("s").attrs["MATLAB_class"] = np.bytes_("struct")
        made.put("s/x", X)
        made.cell("s/names", texts)
        file.create_dataset("s/each", data=np.array([item.ref for item in texts], h5py.ref_dtype)[None, :])
        sparse = file.create_group("sparse")
        sparse.attrs["MATLAB_class"], sparse.attrs["MATLAB_sparse"] = np.bytes_("double"), np.uint64(3)
        sparse["data"] = np.ones(3)
        made.put("strings", np.zeros((1, 6), np.uint32), "string")
    return path


def imported(path: Path, ids: str, values: str, *more: object) -> Result:
    words = ["cache", "import", path, "--id", ids, "--values", values, "--out", path.parent / "c.lmdb", *more]
    return CliRunner().invoke(root, [*map(str, words), "--overwrite"])


def refused(path: Path, ids: str = "ids", values: str = "x") -> str:
    done = imported(path, ids, values)
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, StoreError)
    assert "\n" not in str(done.exception)
    return str(done.exception)


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ("across", ["7", "8", "9"]),
        ("down", ["7", "8", "9"]),
        ("int", ["7", str(2**60 + 1), "9"]),
        ("names", ["v1", "cut 🎬", "ü"]),
        ("s/names", ["v1", "cut 🎬", "ü"]),
        ("numbers", ["0", "1", "2"]),
        ("padded", ["a/1", "ü", "long name"]),
        ("halves", ["1.5", "2.0", "3.0"]),
    ],
)
@pytest.mark.parametrize("values", ["x", "s/x", "single"])
def test_arrays_of_matlab_are_read_as_it_shows_them(mat, ids, found, values):
    done = imported(mat, ids, values)
    assert done.exit_code == 0, done.output
    store = open_store(mat.parent / "c.lmdb")
    assert set(store) == set(found)
    for id, row in zip(found, X, strict=True):
        assert store[id].values.tolist() == [row.astype(np.float32).tolist()]


def test_three_axes_and_times_are_turned_too(mat):
    done = imported(mat, "across", "rows", "--times", "times")
    assert done.exit_code == 0, done.output
    store = open_store(mat.parent / "c.lmdb")
    for at, id in enumerate("789"):
        assert store[id].values.tolist() == np.arange(24.0).reshape(3, 2, 4)[at].tolist()
        assert store[id].times.tolist() == np.arange(12.0).reshape(3, 2, 2)[at].tolist()


def test_one_clip_has_a_scalar_for_its_id_and_truth_values_are_numbers(mat):
    assert imported(mat, "one", "x1").exit_code == 0
    assert open_store(mat.parent / "c.lmdb")["7"].values.tolist() == X[:1].astype(np.float32).tolist()
    assert imported(mat, "one", "flags").exit_code == 0
    assert open_store(mat.parent / "c.lmdb")["7"].values.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("ids", "values", "problem"),
    [
        ("across", "s", "'s' is not an array: it is a struct; name one of its fields: s/each, s/names, s/x"),
        ("across", "sparse", "it is a sparse matrix; save full(...)"),
        ("across", "s/each", "it has an array for each element of a struct array; save them as one array"),
        ("strings", "x", "it is a MATLAB string, readable by MATLAB only; save numbers as an array, names as a cell"),
        ("nested", "x", "one of its cells contains a MATLAB double of (5, 3), neither a name nor a number"),
        ("gaps", "x", "row 2 of 'gaps', counted from 0, has no id"),
        ("holes", "x", "row 1 of 'holes', counted from 0, has no id"),
        ("large", "x", "it has numbers above 2^53, which float64 cannot represent exactly; save int64(...)"),
        ("across", "names", "clip '7' has values of type object, not numbers"),
        ("one", "x", "with 1 ids it must be [1, features]"),
        ("x", "x", "'x' has the shape [3, 5], not one id per clip"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(mat, ids, values, problem):
    assert problem in refused(mat, ids, values)


def test_values_that_have_to_be_transposed_say_so(mat):
    with h5py.File(mat, "a") as file:
        file["turned"] = X
        file["turned"].attrs["MATLAB_class"] = np.bytes_("double")
    assert "it may have to be transposed" in refused(mat, "across", "turned")


def test_an_older_file_of_matlab_says_how_to_save_it(tmp_path):
    scipy.io.savemat(tmp_path / "old.mat", {"x": X, "ids": np.arange(3)})
    assert "a MATLAB file of an older version than 7.3; save it with save(..., '-v7.3')" in refused(
        tmp_path / "old.mat"
    )
    (tmp_path / "none.mat").write_text("text")
    assert "not an HDF5 file that can be read" in refused(tmp_path / "none.mat")


# Foreign HDF5


def external(file: h5py.File, folder: Path) -> None:
    (folder / "other.bin").write_bytes(X.tobytes())
    file.create_dataset("x", X.shape, X.dtype, external=[(str(folder / "other.bin"), 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = X
    layout = h5py.VirtualLayout(X.shape, X.dtype)
    layout[:] = h5py.VirtualSource(folder / "other.h5", "x", X.shape)
    file.create_virtual_dataset("x", layout)


def linked(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = X
    file["x"] = h5py.ExternalLink(str(folder / "other.h5"), "x")


def looped(file: h5py.File, _: Path) -> None:
    file["x"], file["y"] = h5py.SoftLink("/y"), h5py.SoftLink("/x")


def declared(file: h5py.File, _: Path) -> None:
    file.create_dataset("x", (3, 1 << 40), "f4")


def unfolding(file: h5py.File, _: Path) -> None:
    file.create_dataset("x", (3, 1 << 40), "f4", chunks=(1, 1 << 20), compression="gzip")


def long_texts(file: h5py.File, _: Path) -> None:
    del file["ids"]
    file["ids"] = ["a", "b" * 100_000, "c"]
    file["x"] = X


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (external, "'x' cannot be read: its values are in another file"),
        (virtual, "'x' cannot be read: its values are in another file"),
        (linked, "no array 'x'; the file has ids"),
        (looped, "no array 'x'; the file has ids"),
        (declared, "'x' cannot be read: it declares 13194139533312 bytes but holds 0"),
        (unfolding, "it decompresses from 0 to 13194139533312 bytes, more than 100 times"),
        (long_texts, "'ids' cannot be read: it has a text of more than 65536 bytes"),
    ],
)
def test_foreign_hdf5_is_read_only_from_itself_and_as_far_as_it_holds_what_it_declares(
    tmp_path: Path, make: Callable[[Any, Path], None], problem: str
) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["ids"] = ["a", "b", "c"]
        make(file, tmp_path)
    assert problem in refused(tmp_path / "f.h5")
    assert not (tmp_path / "c.lmdb").exists()


def test_groups_that_hold_each_other_end(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["ids"], file["g/x"] = ["a", "b", "c"], X
        file["g/again"] = file["/"]
    assert imported(tmp_path / "f.h5", "ids", "g/x").exit_code == 0
