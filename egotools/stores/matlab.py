"""Reads arrays of MATLAB 7.3 files, which are HDF5: reversed axes, text as numbers, cells as references.

MATLAB arrays have at least two axes, in reverse order: what MATLAB shows as 20x16 is stored as 16x20.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CLASS = "MATLAB_class"  # the attribute with an array's class
HIDDEN = ("#refs#", "#subsystem#")  # groups with the contents of cells
NUMBERS = {"double", "single", "logical", *(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64))}
OLDER = b"MATLAB 5.0 MAT-file"  # the first bytes of -v6 and -v7 files, MATLAB's default


def class_of(item: Any) -> str:
    """The MATLAB class of an array or group; empty if other programs wrote it. Any: h5py has no types."""
    said = item.attrs.get(CLASS, b"")
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def matlab_array(dataset: Any, checked: Callable[[Any], Any]) -> Array:
    """An array as shown in MATLAB: its axis order, one text per row of characters or cell, integers where possible.

    Args:
        dataset: with a class attribute.
        checked: returns the dataset, or raises.

    Raises:
        ValueError: its class is not an array; the message says what to do.
    """
    kind = class_of(dataset)
    if dataset.attrs.get("MATLAB_empty"):
        return np.zeros((0, 0))
    if kind in NUMBERS:
        values: Array = np.asarray(checked(dataset)[()]).T
        return values
    if kind == "char":
        return _texts(np.asarray(checked(dataset)[()]).T)
    if kind == "cell":
        cells = np.asarray(checked(dataset)[()]).T
        return np.array([_cell(dataset.file[each], checked) for each in cells.ravel()], object).reshape(cells.shape)
    raise ValueError(
        f"it is a MATLAB {kind}, readable by MATLAB only; save numbers as an array, names as a cell array: cellstr(...)"
    )


def whole_numbers(values: Array) -> Array:
    """Converts doubles that are all integers to int64, as MATLAB stores every number as a double; others unchanged.

    Raises:
        ValueError: numbers that a double cannot represent exactly.
    """
    if values.dtype.kind != "f" or not (values == np.floor(values)).all():
        return values
    bits = np.finfo(values.dtype).nmant + 1
    if (np.abs(values) > 2.0**bits).any():
        raise ValueError(
            f"it has numbers above 2^{bits}, which {values.dtype} cannot represent exactly; save int64(...)"
        )
    return values.astype(np.int64)


def _cell(item: Any, checked: Callable[[Any], Any]) -> str:
    """A cell as text: a row of characters, or one number."""
    kind = class_of(item)
    if kind == "char":
        if item.attrs.get("MATLAB_empty"):
            return ""
        texts = _texts(np.asarray(checked(item)[()]).T)
        if texts.size == 1:
            return str(texts.ravel()[0])
    if kind in NUMBERS and item.size == 1:
        (value,) = whole_numbers(np.asarray(checked(item)[()]).ravel()).tolist()
        return "" if value != value else str(value)
    raise ValueError(
        f"one of its cells contains a MATLAB {kind or 'group'} of {item.shape}, neither a name nor a number"
    )


def _texts(characters: Array) -> Array:
    """One text per row; MATLAB pads them with spaces to the same length."""
    if characters.ndim != 2 or characters.dtype.kind not in "ui":
        raise ValueError(f"it has characters of {list(characters.shape)}, not one text per row")
    rows = [np.ascontiguousarray(row).astype("<u2").tobytes().decode("utf-16-le") for row in characters]
    return np.array([row.rstrip(" \0") for row in rows], object)[:, None]
