"""Arrays of an archive by name, and the memory that they need."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from egotools.files import numpy_files
from egotools.files.numpy_files import check_archive, check_fits, open_npz, read_npy


def test_arrays_are_read_one_at_a_time(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", large=np.ones(1 << 19), small=np.arange(3))
    tracemalloc.start()
    with open_npz(tmp_path / "a.npz") as archive:
        assert archive.names() == ["large", "small"]
        assert archive["small"].tolist() == [0, 1, 2]
        taken = tracemalloc.get_traced_memory()[1]
        assert archive["large"].sum() == 1 << 19
    tracemalloc.stop()
    assert taken < 1 << 20  # of the four megabytes of the other


def test_an_array_that_does_not_exist_is_a_keyerror(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    with open_npz(tmp_path / "a.npz") as archive, pytest.raises(KeyError, match="y"):
        archive["y"]


def test_arrays_of_python_objects_are_refused_without_running_them(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    np.savez(tmp_path / "a.npz", x=np.array([Harmful()], object))
    np.save(tmp_path / "a.npy", np.array([Harmful()], object))
    with open_npz(tmp_path / "a.npz") as archive, pytest.raises(ValueError, match="holds Python objects"):
        archive["x"]
    with pytest.raises(ValueError, match="holds Python objects"):
        read_npy(tmp_path / "a.npy")
    assert not (tmp_path / "ran").exists()


def test_what_is_not_an_archive_says_what_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(ValueError, match="it is a single array"), open_npz(tmp_path / "a.npy"):
        pass
    with pytest.raises(ValueError, match="the file is not an archive of arrays"), open_npz(tmp_path / "text.npz"):
        pass
    with pytest.raises(FileNotFoundError), open_npz(tmp_path / "no.npz"):
        pass
    check_archive(tmp_path / "a.npy")  # other files pass
    check_archive(tmp_path / "text.npz")


def test_one_damaged_array_leaves_the_others_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, good=np.arange(3.0), bad=np.arange(100, 200))
    data = bytearray(path.read_bytes())
    at = data.index(np.arange(100, 200).tobytes())
    data[at : at + 8] = b"\xff" * 8  # no longer what its checksum says
    path.write_bytes(data)
    with open_npz(path) as archive:
        assert archive["good"].tolist() == [0, 1, 2]
        with pytest.raises(ValueError, match="damaged: Bad CRC-32"):
            archive["bad"]


def test_a_truncated_array_says_what_is_missing(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(10.0))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-8])
    with pytest.raises(ValueError, match="cut short: it declares 80 bytes and holds 72"):
        read_npy(tmp_path / "a.npy")


def test_archives_are_refused_by_their_content_not_by_their_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pth", "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("data", b"x")
    with pytest.raises(ValueError, match="'data' uses zip compression method 12"):
        check_archive(tmp_path / "model.pth")


def test_data_must_fit_into_the_free_memory_if_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_files, "available_memory", lambda: 1000)
    check_fits(1000)
    with pytest.raises(ValueError, match="it needs 1001 bytes, but only 1000 bytes of memory are free"):
        check_fits(1001)
    monkeypatch.setattr(numpy_files, "available_memory", lambda: None)
    check_fits(1 << 60)
