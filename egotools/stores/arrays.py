"""Reads arrays that other programs wrote: `.npz`, HDF5, and folders of `.npy`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from egotools.errors import StoreError
from egotools.files.numpy_files import Npz, open_npz, read_npy
from egotools.texts import named

Array = npt.NDArray[Any]
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".mat")
NAMED = 12  # arrays listed in an error


class Arrays(Protocol):
    """Arrays by name, each read on access."""

    def names(self) -> list[str]: ...

    def what_is(self, name: str) -> str:
        """Describes an entry that is not an array; empty if the name does not exist."""

    def __getitem__(self, name: str) -> Array: ...

    def ids(self, name: str) -> Array:
        """Like `__getitem__`, for an array with one element per clip."""


@contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """Opens the arrays of a `.npz` or HDF5 file.

    Raises:
        StoreError: the file does not exist, or is of another kind.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        with _opened_npz(path) as arrays:
            yield arrays
    elif suffix in HDF5_SUFFIXES:
        from egotools.stores.hdf5_arrays import opened_hdf5  # imported here because h5py is slow to import

        with opened_hdf5(path) as found:
            yield found
    else:
        raise StoreError(
            f"{path}: arrays must be in a .npz, an HDF5 file ({', '.join(HDF5_SUFFIXES)}) or a folder of .npy"
        )


def array_of(arrays: Arrays, name: str, path: Path) -> Array:
    """One array.

    Raises:
        StoreError: it does not exist; the message lists the available ones.
    """
    _check_name(arrays, name, path)
    return arrays[name]


def ids_of(arrays: Arrays, name: str, path: Path, *, each: str = "clip") -> list[str]:
    """One text per `each` (a clip, or a row of a table) from an array [N].

    Raises:
        StoreError: the array does not exist, has another shape, or holds neither text nor numbers.
    """
    _check_name(arrays, name, path)
    ids = arrays.ids(name)
    if ids.ndim != 1:
        raise StoreError(f"{path}: {name!r} has the shape {list(ids.shape)}, not one id per {each}")
    return texts_of(ids, name, path)


def _check_name(arrays: Arrays, name: str, path: Path) -> None:
    names = arrays.names()
    if name in names:
        return
    if what := arrays.what_is(name):
        raise StoreError(f"{path}: {name!r} is not an array: {what}")
    raise StoreError(f"{path}: no array {name!r}; the file has {named(names, NAMED) or 'none'}")


def read_array(path: Path) -> Array:
    """The array of a `.npy` file.

    Raises:
        StoreError: it cannot be read, or holds Python objects.
    """
    try:
        return read_npy(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not an array that can be read: {_reason(error)}") from error


def texts_of(array: Array, name: str, path: Path) -> list[str]:
    """One text per element: text as it is, bytes as UTF-8, numbers with all digits, NaN as "".

    Raises:
        StoreError: an element is none of these.
    """
    if array.dtype.kind == "S" or array.dtype == object:  # HDF5 returns texts as objects of bytes
        try:
            return [each.decode() if isinstance(each, bytes) else _text(each) for each in array.tolist()]
        except (UnicodeDecodeError, TypeError) as error:
            raise StoreError(f"{path}: {name!r} holds something that is not text in UTF-8: {error}") from error
    if array.dtype.kind == "f":
        return ["" if each != each else repr(each) for each in array.astype(np.float64).tolist()]
    if array.dtype.kind not in "Uiub":
        raise StoreError(f"{path}: {name!r} holds {array.dtype}, neither texts nor numbers")
    return [str(each) for each in array.tolist()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__}")
    return value


class _Npz:
    def __init__(self, arrays: Npz, path: Path) -> None:
        self._arrays, self._path = arrays, path

    def names(self) -> list[str]:
        return self._arrays.names()

    def what_is(self, name: str) -> str:  # noqa: ARG002 - every entry is an array
        return ""

    def __getitem__(self, name: str) -> Array:
        try:
            return self._arrays[name]
        except (OSError, ValueError) as error:
            raise StoreError(f"{self._path}: {name!r} cannot be read: {_reason(error)}") from error

    def ids(self, name: str) -> Array:
        return self[name]


@contextmanager
def _opened_npz(path: Path) -> Iterator[_Npz]:
    with ExitStack() as stack:  # errors raised while the arrays are used are not explained here
        try:
            arrays = stack.enter_context(open_npz(path))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: not a .npz that can be read: {_reason(error)}") from error
        yield _Npz(arrays, path)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
