"""`.npy` and `.npz` files as data: what a file declares is compared with what it holds before memory is taken.

A few bytes can declare an array of 2^62, and eight megabytes unfold to eight gigabytes. So an archive may unfold to 256
MiB, or to a hundred times its size where that is more; an array must lie in its file whole, and fit into memory.
"""

from __future__ import annotations

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

from egotools.files.disk import open_file
from egotools.machine import available_memory

Array = npt.NDArray[Any]
MOST_UNFOLDED = 1 << 28  # bytes that any archive may unfold to
MOST_TIMES = 100  # its own size, that an archive may unfold to; features unfold to less than ten times
OBJECTS = "it holds Python objects, which could run code; save it as numbers or text"
ZIPPED, PLAIN = b"PK", b"\x93NUMPY"  # what files begin with
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # those that NumPy writes
# What zipfile, zlib and NumPy raise at bytes that they cannot make sense of.
DAMAGES = (
    ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, SyntaxError, TypeError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Npz:
    """The arrays of an open `.npz` by name, each read when it is asked for."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members = {_name(info): info for info in archive.infolist()}

    def names(self) -> list[str]:
        """The names of all arrays, as they lie in the file."""
        return list(self._members)

    def __getitem__(self, name: str) -> Array:
        """One array.

        Raises:
            KeyError: there is none of that name.
            ValueError: it is damaged, holds Python objects, declares more than is there, or is too large for memory.
        """
        info = self._members[name]
        with _explained(), self._archive.open(info) as file:
            return _read(file, info.file_size)


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    """A `.npz`, open for reading.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is no archive, or one that is not to be unfolded.
    """
    with open_file(path) as file:
        begins = file.read(len(PLAIN))
        file.seek(0)
        if not begins.startswith(ZIPPED):
            raise ValueError("it is a single array" if begins == PLAIN else "the file is no archive of arrays")
        with _opened(file) as archive:
            yield Npz(archive)


def read_npy(path: Path) -> Array:
    """The array of a `.npy`.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: as an array of `open_npz`.
    """
    with open_file(path) as file, _explained():
        return _read(file, os.fstat(file.fileno()).st_size)


def check_archive(path: Path) -> None:
    """Refuses an archive (a torch checkpoint is one, too) that is not to be unfolded; other files pass.

    Raises:
        OSError: it cannot be read, or is no regular file.
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
                f"{info.filename!r} is compressed by a method (number {info.compress_type}) of other tools"
            )
    if twice := [name for name, count in Counter(map(_name, members)).items() if count > 1]:
        raise ValueError(f"two of its arrays are named {twice[0]!r}")
    unfolded = sum(info.file_size for info in members)
    if unfolded > max(MOST_UNFOLDED, MOST_TIMES * size):
        raise ValueError(
            f"it unfolds from {size} to {unfolded} bytes, more than {MOST_TIMES} times; if it is meant to, save it"
            " uncompressed"
        )


def _name(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix(".npy")


def _read(file: IO[bytes], size: int) -> Array:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError("it is no plain array")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject:
        raise ValueError(OBJECTS)
    if any(axis < 0 for axis in shape):
        raise ValueError(f"it declares the shape {list(shape)}")
    declared, there = math.prod(shape) * max(dtype.itemsize, 1), size - file.tell()
    if declared > there:
        much = str(declared) if declared < 10**30 else "more than 10^30"
        raise ValueError(f"cut short: it declares {much} bytes and holds {there}")
    check_fits(declared)
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def check_fits(needed: int) -> None:
    """Refuses what is larger than the memory that is free.

    Raises:
        ValueError: says how much there is.
    """
    free = available_memory()
    if free is not None and needed > free:
        raise ValueError(f"it has {needed} bytes, more than the {free} of memory that are free")


@contextmanager
def _explained() -> Iterator[None]:
    """Whatever reading raises as a ValueError of one line; an OSError stays one."""
    try:
        yield
    except MemoryError as error:
        raise ValueError("it does not fit into memory") from error
    except tokenize.TokenError as error:  # whose text is a tuple
        raise ValueError(f"damaged: cannot parse header: {error.args[0]}") from error
    except DAMAGES as error:
        raise ValueError(f"damaged: {(str(error).splitlines() or [type(error).__name__])[0]}") from error
