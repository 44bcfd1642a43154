"""Reads arrays that other programs wrote: `.npz`, HDF5, and folders of `.npy`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from egotools.errors import StoreError, reason_of
from egotools.files.numpy_files import npy_shape, open_npz, read_npy
from egotools.stores.hdf5_checks import DAMAGES
from egotools.texts import named

Array = npt.NDArray[Any]
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".mat")
OF_MANY = (".npz", ".mdb", *HDF5_SUFFIXES)  # files that may have the rows of many clips
NAMED = 12  # arrays listed in an error


class Arrays(Protocol):
    """Arrays by name, each read on access."""

    def names(self) -> list[str]: ...
    def __getitem__(self, name: str) -> Array: ...


@contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """Opens the arrays of a `.npz` or HDF5 file.

    Raises:
        StoreError: the file does not exist, or is of another kind.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        with ExitStack() as stack:  # errors raised while the arrays are used are not explained here
            try:
                arrays = stack.enter_context(open_npz(path))
            except (OSError, ValueError) as error:
                raise StoreError(f"{path}: not a .npz that can be read: {reason_of(error)}") from error
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
        StoreError: it does not exist, and the message lists the available ones; or it cannot be read.
    """
    return _read(arrays, arrays.__getitem__, name, path)


def ids_of(arrays: Arrays, name: str, path: Path, *, each: str = "clip") -> list[str]:
    """One text per `each` (a clip, or a row of a table) from an array [N].

    Raises:
        StoreError: the array does not exist, has another shape, or holds neither text nor numbers.
    """
    ids = _read(arrays, getattr(arrays, "ids", arrays.__getitem__), name, path)  # MATLAB's need two axes
    if ids.ndim != 1:
        raise StoreError(f"{path}: {name!r} has the shape {list(ids.shape)}, not one id per {each}")
    return texts_of(ids, name, path)


def _read(arrays: Arrays, read: Callable[[str], Array], name: str, path: Path) -> Array:
    names = arrays.names()
    if name not in names:
        if what := getattr(arrays, "what_is", lambda _: "")(name):
            raise StoreError(f"{path}: {name!r} is not an array: {what}")
        raise StoreError(f"{path}: no array {name!r}; the file has {named(names, NAMED) or 'none'}")
    try:
        return read(name)
    except DAMAGES as error:
        raise StoreError(f"{path}: {name!r} cannot be read: {reason_of(error)}") from error


def read_array(path: Path) -> Array:
    """The array of a `.npy` file.

    Raises:
        StoreError: it cannot be read, or holds Python objects.
    """
    try:
        return read_npy(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not an array that can be read: {reason_of(error)}") from error


def shape_of(path: Path) -> tuple[int, ...]:
    """The shape of the array of a `.npy` file, whose values are not read.

    Raises:
        StoreError: it cannot be read, or holds Python objects.
    """
    try:
        return npy_shape(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not an array that can be read: {reason_of(error)}") from error


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
