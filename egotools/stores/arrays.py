"""Arrays that other programs wrote: `.npz`, HDF5, and folders of `.npy`, read as data."""

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
NAMED = 12  # arrays that an error names


class Arrays(Protocol):
    """Arrays by name, each read when it is asked for."""

    def names(self) -> list[str]: ...

    def what_is(self, name: str) -> str:
        """Words on what has a name and is no array; empty if nothing has it."""

    def __getitem__(self, name: str) -> Array: ...

    def ids(self, name: str) -> Array:
        """As `__getitem__`, of an array that has one element a clip."""


@contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """The arrays of a `.npz` or HDF5 file.

    Raises:
        StoreError: no such file, or one of another kind.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        with _opened_npz(path) as arrays:
            yield arrays
    elif suffix in HDF5_SUFFIXES:
        from egotools.stores.hdf5_arrays import opened_hdf5  # here, for h5py takes its time to import

        with opened_hdf5(path) as found:
            yield found
    else:
        raise StoreError(f"{path}: arrays come in a .npz, in HDF5 ({', '.join(HDF5_SUFFIXES)}) or a folder of .npy")


def array_of(arrays: Arrays, name: str, path: Path) -> Array:
    """One array.

    Raises:
        StoreError: there is none of that name; says which there are.
    """
    _check_name(arrays, name, path)
    return arrays[name]


def ids_of(arrays: Arrays, name: str, path: Path, *, each: str = "clip") -> list[str]:
    """One text for `each` clip, or row of a table, of an array [N].

    Raises:
        StoreError: there is no such array, or it has another shape, or holds neither texts nor numbers.
    """
    _check_name(arrays, name, path)
    ids = arrays.ids(name)
    if ids.ndim != 1:
        raise StoreError(f"{path}: {name!r} has the shape {list(ids.shape)}, not one id a {each}")
    return texts_of(ids, name, path)


def _check_name(arrays: Arrays, name: str, path: Path) -> None:
    names = arrays.names()
    if name in names:
        return
    if what := arrays.what_is(name):
        raise StoreError(f"{path}: {name!r} is no array: {what}")
    raise StoreError(f"{path}: no array {name!r}; there are {named(names, NAMED) or 'none'}")


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
    """One text an element: text as it is, bytes as UTF-8, numbers so that they read back to the bit, NaN as "".

    Raises:
        StoreError: elements that are none of these.
    """
    if array.dtype.kind == "S" or array.dtype == object:  # HDF5 gives texts as objects of bytes
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

    def what_is(self, name: str) -> str:  # noqa: ARG002 - every name is an array or nothing
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
    with ExitStack() as stack:  # what is raised while the arrays are used is not this function's to explain
        try:
            arrays = stack.enter_context(open_npz(path))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: not a .npz that can be read: {_reason(error)}") from error
        yield _Npz(arrays, path)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
