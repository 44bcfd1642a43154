"""Arrays, archives and pickles that declare more than they hold: one line each, before memory is taken."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root

from egotools.errors import EgotoolsError, WeightsError
from egotools.files import numpy_files
from egotools.files.numpy_files import check_archive, open_npz, read_npy
from egotools.weights.pca import read_pca
from egotools.weights.pickles import read_pickle
from egotools.weights.tensors import read_tensors

LITTLE = 64 << 20  # bytes; reading what lies takes less


def npy(shape: object, body: bytes = b"", *, kind: str = "<f4", version: tuple[int, int] = (1, 0)) -> bytes:
    """A `.npy` that declares a shape, and holds `body`."""
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + body


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def plain(path: Path) -> Path:
    return archive(path, {f"{name}.npy": npy((2,), b"\0" * 8) for name in ("id", "v", "mean")})


def flagged(path: Path, offset: int, value: int) -> Path:
    """An archive in which a field of each member is another: its flags (encrypted), or its method."""
    content = bytearray(plain(path).read_bytes())
    for magic, at in ((b"PK\x03\x04", offset - 2), (b"PK\x01\x02", offset)):
        begin = -1
        while (begin := content.find(magic, begin + 1)) >= 0:
            content[begin + at : begin + at + 2] = struct.pack("<H", value)
    path.write_bytes(content)
    return path


def doubled(path: Path) -> Path:
    """An archive with another array of the name `v`."""
    with zipfile.ZipFile(plain(path), "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("v.npy", npy((2,), b"\0" * 8))
    return path


def lying(**content: bytes) -> Callable[[Path], Path]:
    own = {name: npy((2,), b"\0" * 8) for name in ("id", "v", "mean")}
    return lambda path: archive(path, {f"{name}.npy": each for name, each in {**own, **content}.items()})


def each(content: bytes) -> Callable[[Path], Path]:
    return lying(id=content, v=content, mean=content)


def bomb(path: Path) -> Path:
    """A megabyte that decompresses to 257 times as much."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name in ("id", "mean"):
            file.writestr(f"{name}.npy", npy((2,), b"\0" * 8))
        with file.open("v.npy", "w") as member:
            member.write(npy((257 << 20,), kind="|u1"))
            for _ in range(257):
                member.write(b"\0" * (1 << 20))
    return path


ARCHIVES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "100 GB": (each(npy((25_000_000_000,))), "declares 100000000000 bytes"),
    "2^62": (each(npy((2**62,))), "declares 18446744073709551616 bytes"),
    "2^4000": (each(npy((2**4000,))), "declares more than 10^30 bytes"),
    "texts without letters": (each(npy((2**62,), kind="<U0")), "declares"),
    "negative": (each(npy((-1, 4), b"\0" * 64)), "declares the shape [-1, 4]"),
    "two negative": (each(npy((-2, -2), b"\0" * 64)), "declares the shape [-2, -2]"),
    "empty, and too wide": (each(npy((0, 2**70))), "damaged"),
    "deep": (each(npy("(" * 3000 + ")" * 3000)), "annot parse header"),
    "no header": (each(b"\x93NUMPY\x01\x00\xff\xff"), "array header"),
    "no array": (each(b"text"), "magic string"),
    "a later version": (each(npy((1,), b"\0" * 4, version=(3, 0))), "not a plain array"),
    "encrypted": (lambda path: flagged(path, 8, 1), "is encrypted"),
    "unknown method": (lambda path: flagged(path, 10, 97), "uses zip compression method 97"),
    "large dictionary": (lambda path: flagged(path, 10, zipfile.ZIP_LZMA), "uses zip compression method 14"),
    "doubled": (doubled, "two of its arrays are named 'v'"),
    "unfolds": (bomb, "more than 100 times"),
    "cut": (lambda path: (path.write_bytes(plain(path).read_bytes()[:-40]), path)[1], "not a zip file"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """An archive of each kind, made once."""
    folder, there = tmp_path_factory.mktemp("archives"), {}

    def make(kind: str) -> Path:
        if kind not in there:
            there[kind] = ARCHIVES[kind][0](folder / f"{kind.replace(' ', '_').replace('^', '')}.npz")
        return there[kind]

    return make


def to_cache(path: Path, folder: Path) -> None:
    words = ["cache", "import", path, "--id", "id", "--values", "v", "--out", folder / "c.lmdb"]
    run(*words)


def to_manifest(path: Path, folder: Path) -> None:
    run("manifest", "table", path, "--id", "id", "--out", folder / "m.csv")


def run(*words: object) -> None:
    done = CliRunner().invoke(root, list(map(str, words)))
    assert done.exit_code == 1, done.output
    assert done.exception is not None
    raise done.exception


@pytest.mark.parametrize(
    "reader", [to_cache, to_manifest, lambda path, _: read_tensors(path), lambda path, _: read_pca(path)],
    ids=["cache import", "manifest table", "--weights", "--pca"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_that_lies_is_refused_in_one_line_before_memory_is_taken(made, tmp_path, kind, reader):
    path = made(kind)
    tracemalloc.start()
    with pytest.raises(EgotoolsError) as caught:
        reader(path, tmp_path)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ARCHIVES[kind][1] in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert taken < LITTLE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [npy((25_000_000_000,)), npy((2**62,)), npy((-1, 4), b"\0" * 64), b""])
def test_a_single_array_that_lies_is_refused(tmp_path, content):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a.npy").write_bytes(content)
    with pytest.raises(EgotoolsError, match="not an array that can be read"):
        run("cache", "import", tmp_path / "f", "--out", tmp_path / "c.lmdb")


def test_an_array_that_is_there_but_larger_than_memory_is_refused(tmp_path):
    with (tmp_path / "sparse.npy").open("wb") as file:
        file.write(npy((1 << 46,), kind="|u1"))
        file.truncate(1 << 42)
    with pytest.raises(ValueError, match="declares 70368744177664 bytes"):
        read_npy(tmp_path / "sparse.npy")
    with (tmp_path / "sparse.npy").open("wb") as file:
        file.write(npy((1 << 42,), kind="|u1"))
        file.truncate((1 << 42) + 4096)
    with pytest.raises(ValueError, match=r"needs 4398046511104 bytes, but only \d+ bytes of memory are free"):
        read_npy(tmp_path / "sparse.npy")


def test_what_is_meant_is_read_to_the_bit(tmp_path, rng):
    arrays = {
        "a": rng.normal(size=(3, 4)), "b": np.asfortranarray(rng.normal(size=(3, 4))), "c": np.array(["x", "yz"]),
        "d": np.array(3), "e": np.zeros((0, 5), np.float16), "f": np.array([True]),
    }  # fmt: skip
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "f.npz", **arrays)
        with open_npz(tmp_path / "f.npz") as found:
            assert found.names() == list(arrays)
            for name, array in arrays.items():
                read = found[name]
                assert (read.dtype, read.tolist()) == (array.dtype, array.tolist())
    np.save(tmp_path / "a.npy", arrays["b"])
    assert np.array_equal(read_npy(tmp_path / "a.npy"), arrays["b"])


def test_an_archive_of_zeros_may_decompress_to_what_is_small(tmp_path):
    np.savez_compressed(tmp_path / "f.npz", a=np.zeros(1 << 20))
    with open_npz(tmp_path / "f.npz") as found:
        assert not found["a"].any()


def test_a_torch_checkpoint_that_decompresses_to_too_much_is_refused(tmp_path, monkeypatch):
    import torch

    torch.save({"w": torch.zeros(1000)}, tmp_path / "w.pth")
    assert not read_tensors(tmp_path / "w.pth")["w"].any()
    monkeypatch.setattr(numpy_files, "MOST_UNPACKED", 1 << 10)
    with (
        zipfile.ZipFile(tmp_path / "w.pth") as old,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for info in old.infolist():
            new.writestr(info.filename, old.read(info) + b"\0" * (1 << 20))
    with pytest.raises(WeightsError, match="more than 100 times"):
        read_tensors(tmp_path / "b.pth")
    with pytest.raises(ValueError, match="more than 100 times"):
        check_archive(tmp_path / "b.pth")


def pca_with(state: bytes) -> bytes:
    return b"\x80\x02csklearn.decomposition._pca\nPCA\n)\x81" + state + b"."


def array_with(
    state: bytes, arguments: bytes = b"K\x00\x85c_codecs\nencode\nX\x01\x00\x00\x00bX\x06\x00\x00\x00latin1\x86R"
) -> bytes:
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + arguments + b"\x87R"
    return pca_with(b"}X\x05\x00\x00\x00mean_" + made + state + b"sb")


PICKLES = {
    "no state": (pca_with(b""), "no scikit-learn PCA"),
    "an empty state": (pca_with(b"}b"), "mean_ is not an array of numbers"),
    "a state of nothing": (pca_with(b"Nb"), "no scikit-learn PCA"),
    "an array with an empty state": (array_with(b")b"), "mean_ is not an array of numbers"),
    "an array without a state": (array_with(b""), "mean_ is not an array of numbers"),
    "an array whose type has an empty state": (
        array_with(b"(K\x01K\x01\x85cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R)b\x89X\x01\x00\x00\x00atb"),
        "mean_ is not an array of numbers",
    ),
    "a memo of 2^28": (b"\x80\x02]r\xff\xff\xff\x0f.", "step 3 declares memo index 268435455"),
    "a memo in text": (b"(lp268435455\n.", "declares memo index"),
    "a frame of 2^62": (b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"].", "declares 4611686018427387904 bytes"),
    "bytes of 2^62": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", "not a pickle that can be read safely"),
    "text of 2^31": (b"\x80\x02X" + struct.pack("<I", 2**31 - 1) + b"x.", "not a pickle that can be read safely"),
    "a long of 2^31": (b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.", "not a pickle that can be read safely"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_that_lies_is_refused_in_one_line_before_memory_is_taken(tmp_path, kind):
    content, problem = PICKLES[kind]
    (tmp_path / "p.pickle").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(WeightsError) as caught:
        read_pca(tmp_path / "p.pickle")
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert taken < LITTLE


def test_a_pickle_of_many_steps_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("egotools.weights.pickles.MOST_STEPS", 100)
    (tmp_path / "p.pickle").write_bytes(pickle.dumps(list(range(1000))))
    with pytest.raises(WeightsError, match="more than 100 steps"):
        read_pickle(tmp_path / "p.pickle")
