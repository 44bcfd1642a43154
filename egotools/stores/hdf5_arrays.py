"""Reads arrays of HDF5 files that other programs wrote, including MATLAB."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from egotools.errors import StoreError, reason_of
from egotools.files.disk import open_file
from egotools.stores.hdf5_checks import DAMAGES, check_dataset, datasets
from egotools.stores.matlab import HIDDEN, OLDER, class_of, matlab_array, whole_numbers

Array = npt.NDArray[Any]
PIECE = 64  # texts read at a time, because many may refer to the same long one
LONGEST = 1 << 16  # bytes of a text


class HDF5Arrays:
    """Datasets by path, each checked before it is read."""

    def __init__(self, file: Any, path: Path, size: int) -> None:  # Any: h5py has no types
        self._file, self._path, self._size = file, path, size

    @cached_property
    def _datasets(self) -> dict[str, Any]:
        try:
            return dict(datasets(self._file, without=HIDDEN))
        except DAMAGES as error:
            raise StoreError(f"{self._path}: damaged: {reason_of(error)}") from error

    def names(self) -> list[str]:
        """The paths of all datasets."""
        return list(self._datasets)

    def what_is(self, name: str) -> str:
        """Describes an entry that is not an array; empty if the name does not exist."""
        group = self._file.get(name) if isinstance(self._file.get(name, getlink=True), h5py.HardLink) else None
        if not isinstance(group, h5py.Group):
            return ""
        if "MATLAB_sparse" in group.attrs:
            return "it is a sparse matrix; save full(...)"
        fields = [each for each in self.names() if each.startswith(f"{name}/")]
        return f"it is a struct; name one of its fields: {', '.join(fields[:12])}" if fields else "it is an empty group"

    def __getitem__(self, name: str) -> Array:
        """One array, as shown by the program that wrote it.

        Raises:
            One of `DAMAGES`: it is stored elsewhere, cut short, or cannot be read.
        """
        dataset = self._datasets[name]
        return matlab_array(dataset, self._checked) if class_of(dataset) else _read(self._checked(dataset))

    def ids(self, name: str) -> Array:
        """One array, with one axis where MATLAB needs two; raises like `__getitem__`."""
        found = self[name]
        if not class_of(self._datasets[name]):
            return found
        flat = whole_numbers(found)
        return flat.ravel() if found.ndim == 2 and 1 in found.shape else flat

    def _checked(self, dataset: Any) -> Any:
        check_dataset(dataset, self._size)
        if h5py.check_ref_dtype(dataset.dtype) is not None and class_of(dataset) != "cell":
            raise ValueError("it has an array for each element of a struct array; save them as one array")
        return dataset


def _read(dataset: Any) -> Array:
    string = h5py.check_string_dtype(dataset.dtype)
    if (string is None or string.length is not None) and h5py.check_vlen_dtype(dataset.dtype) is None:
        return np.asarray(dataset[()])
    if dataset.ndim != 1:
        raise ValueError(f"it has texts of {list(dataset.shape)}, not one per clip")
    texts = []
    for first in range(0, len(dataset), PIECE):
        piece = dataset[first : first + PIECE]
        if any(len(each) > LONGEST for each in piece):
            raise ValueError(f"it has a text of more than {LONGEST} bytes")
        texts.extend(piece)
    return np.array(texts, object)


@contextmanager
def opened_hdf5(path: Path) -> Iterator[HDF5Arrays]:
    """An HDF5 file, open for reading.

    Raises:
        StoreError: it cannot be read, or is not HDF5.
    """
    with ExitStack() as stack:  # errors raised while the arrays are used are not explained here
        try:
            with open_file(path) as raw:
                begins, size = raw.read(len(OLDER)), os.fstat(raw.fileno()).st_size
            if begins == OLDER:
                raise StoreError(
                    f"{path}: a MATLAB file of an older version than 7.3; save it with save(..., '-v7.3'), or load it"
                    " with scipy.io.loadmat and save it with numpy.savez"
                )
            file = stack.enter_context(h5py.File(path, "r"))
        except DAMAGES as error:
            raise StoreError(f"{path}: not an HDF5 file that can be read: {reason_of(error)}") from error
        yield HDF5Arrays(file, path, size)
