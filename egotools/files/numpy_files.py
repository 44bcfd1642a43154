"""Reading `.npy` and `.npz` files: what a file declares is checked against what it holds before memory is allocated.

A few bytes can declare an array of 2^62 values, and eight megabytes can decompress to eight gigabytes. So an archive
may decompress to at most 256 MiB or a hundred times its size, whichever is more; an array must be completely in its
file, and fit into memory.
"""

import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from egotools.errors import first_line
from egotools.files.disk import open_file
from egotools.machine import available_memory

Array = npt.NDArray[Any]
MOST_UNPACKED = 1 << 28  # bytes that any archive may decompress to
MOST_TIMES = 100  # an archive may decompress to this many times its size; for features it is less than ten
OBJECTS = "it holds Python objects, which could run code; save it as numbers or text"
ZIPPED, PLAIN = b"PK", b"\x93NUMPY"  # the first bytes of each kind of file
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # those that NumPy writes
# The exceptions that zipfile, zlib and NumPy raise for damaged data.
DAMAGE_ERRORS = (
    ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, SyntaxError, TypeError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Npz:
    """The arrays of an open `.npz` by name, each read on access."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members = {_name(info): info for info in archive.infolist()}

    def names(self) -> list[str]:
        """The names of all arrays, in file order."""
        return list(self._members)

    def __getitem__(self, name: str) -> Array:
        """One array.

        Raises:
            KeyError: no array has that name.
            ValueError: it is damaged, cut short, holds Python objects, or is too large for memory.
        """
        info = self._members[name]
        with _explained(), self._archive.open(info) as file:
            return _read(file, info.file_size)


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    """A `.npz`, open for reading.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ValueError: it is not an archive, or one that is refused (`check_archive`).
    """
    with open_file(path) as file:
        begins = file.read(len(PLAIN))
        file.seek(0)
        if not begins.startswith(ZIPPED):
            raise ValueError("it is a single array" if begins == PLAIN else "the file is not an archive of arrays")
        with _opened(file) as archive:
            yield Npz(archive)


def read_npy(path: Path) -> Array:
    """The array of a `.npy`.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ValueError: as for an array of `Npz`.
    """
    with open_file(path) as file, _explained():
        return _read(file, os.fstat(file.fileno()).st_size)


def npy_shape(path: Path) -> tuple[int, ...]:
    """The shape that a `.npy` declares; its values are not read.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ValueError: it is no array, or holds Python objects.
    """
    with open_file(path) as file, _explained():
        return _declared(file)[0]


def check_archive(path: Path) -> None:
    """Refuses a zip archive (a torch checkpoint is one, too) that must not be decompressed; other files pass.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ValueError: says why.
    """
    with open_file(path) as file:
        if file.read(len(ZIPPED)) == ZIPPED:
            with _opened(file):
                pass


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    with _explained():
        archive = zipfile.ZipFile(file)
    with archive:
        _check_members(archive.infolist(), os.fstat(file.fileno()).st_size)
        yield archive


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    for info in members:
        if info.flag_bits & 1:
            raise ValueError(f"{info.filename!r} is encrypted; save it without a password")
        if info.compress_type not in METHODS:
            raise ValueError(
                f"{info.filename!r} uses zip compression method {info.compress_type}, which NumPy does not write"
            )
    if twice := [name for name, count in Counter(map(_name, members)).items() if count > 1]:
        raise ValueError(f"two of its arrays are named {twice[0]!r}")
    unpacked = sum(info.file_size for info in members)
    if unpacked > max(MOST_UNPACKED, MOST_TIMES * size):
        raise ValueError(
            f"it decompresses from {size} to {unpacked} bytes, more than {MOST_TIMES} times its size; if that is"
            " intended, save it uncompressed"
        )


def _name(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix(".npy")


def _declared(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError("it is not a plain array")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject:
        raise ValueError(OBJECTS)
    if any(axis < 0 for axis in shape):
        raise ValueError(f"it declares the shape {list(shape)}")
    return shape, dtype


def _read(file: IO[bytes], size: int) -> Array:
    shape, dtype = _declared(file)
    declared, there = math.prod(shape) * max(dtype.itemsize, 1), size - file.tell()
    if declared > there:
        much = str(declared) if declared < 10**30 else "more than 10^30"
        raise ValueError(f"cut short: it declares {much} bytes and holds {there}")
    check_fits(declared)
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def check_fits(needed: int) -> None:
    """Refuses data larger than the free memory.

    Raises:
        ValueError: says how much is free.
    """
    free = available_memory()
    if free is not None and needed > free:
        raise ValueError(f"it needs {needed} bytes, but only {free} bytes of memory are free")


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what reading raises into a ValueError with a one-line message; an OSError passes through."""
    try:
        yield
    except MemoryError as error:
        raise ValueError("it does not fit into memory") from error
    except tokenize.TokenError as error:  # whose text is a tuple
        raise ValueError(f"damaged: cannot parse header: {error.args[0]}") from error
    except DAMAGE_ERRORS as error:
        raise ValueError(f"damaged: {first_line(error)}") from error
