"""Arrays of MATLAB's files of version 7.3, which are HDF5: axes in the other order, texts as numbers, cells apart.

MATLAB knows no array of fewer than two axes, and counts its axes from the other end: what it calls 20x16 lies as 16x20.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CLASS = "MATLAB_class"  # the attribute by which each of its arrays says what it is
HIDDEN = ("#refs#", "#subsystem#")  # groups in which it keeps what cells hold
NUMBERS = {"double", "single", "logical", *(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64))}
OLDER = b"MATLAB 5.0 MAT-file"  # what a file of -v6 and -v7, MATLAB's default, begins with


def class_of(item: Any) -> str:
    """What MATLAB says that an array or group is; empty for those of others. Any: h5py has no types."""
    said = item.attrs.get(CLASS, b"")
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def matlab_array(dataset: Any, checked: Callable[[Any], Any]) -> Array:
    """An array as MATLAB shows it: axes in its order, one text a row of characters or a cell, whole numbers as such.

    Args:
        dataset: with an attribute that says its class.
        checked: lets a dataset pass, or raises.

    Raises:
        ValueError: it is of a class that is not an array; says what to do.
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
        f"it is a MATLAB {kind}, which only MATLAB reads; save numbers as an array, names as a cell array: cellstr(...)"
    )


def whole_numbers(values: Array) -> Array:
    """Doubles that are all whole as integers, since MATLAB has every number as a double; others as they are.

    Raises:
        ValueError: numbers that a double does not hold exactly.
    """
    if values.dtype.kind != "f" or not (values == np.floor(values)).all():
        return values
    bits = np.finfo(values.dtype).nmant + 1
    if (np.abs(values) > 2.0**bits).any():
        raise ValueError(f"it has numbers above 2^{bits}, which {values.dtype} does not hold exactly; save int64(...)")
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
    raise ValueError(f"one of its cells holds a MATLAB {kind or 'group'} of {item.shape}, neither a name nor a number")


def _texts(characters: Array) -> Array:
    """One text a row; MATLAB fills them up with spaces to one length."""
    if characters.ndim != 2 or characters.dtype.kind not in "ui":
        raise ValueError(f"it has characters of {list(characters.shape)}, not one text a row")
    rows = [np.ascontiguousarray(row).astype("<u2").tobytes().decode("utf-16-le") for row in characters]
    return np.array([row.rstrip(" \0") for row in rows], object)[:, None]
