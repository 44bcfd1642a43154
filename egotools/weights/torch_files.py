"""Reads torch checkpoints without running code from them; NumPy numbers may stand beside the tensors.

Trainers often store their best score as such a number, which `weights_only=True` alone refuses. What its pickle calls
is replaced here by functions of ours that decode eight bytes, so NumPy's own unpickling stays out of reach.
"""

import struct
from pathlib import Path
from typing import Any

import torch

FORMATS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "u8": "Q", "u4": "I", "b1": "?"}  # NumPy's codes, struct's
ORDERS = {"<": "<", ">": ">", "=": "=", "|": "="}
CORES = ("numpy.core", "numpy._core")  # before and since NumPy 2


class _Kind:
    """Stands in for `numpy.dtype`: the type of a number."""

    def __init__(self, code: Any, *_: Any) -> None:
        if code not in FORMATS:
            raise ValueError(f"it contains a NumPy object of type {code!r}; of NumPy's, only plain numbers are read")
        self.code, self.order = FORMATS[code], "="

    def __setstate__(self, state: Any) -> None:
        self.order = ORDERS[state[1]]


def _number(kind: Any, raw: Any = b"") -> float | int | bool:
    """Stands in for NumPy's `scalar`: the number as Python has it."""
    if type(kind) is not _Kind or not isinstance(raw, (bytes, bytearray)):
        raise ValueError("it contains a NumPy number that cannot be read")
    try:
        (value,) = struct.unpack(kind.order + kind.code, raw)
    except struct.error as error:
        raise ValueError(f"it contains a damaged NumPy number: {error}") from error
    return value  # type: ignore[no-any-return]


# Any: torch's own type of it differs between versions
STAND_INS: list[Any] = [(_Kind, "numpy.dtype"), *((_number, f"{core}.multiarray.scalar") for core in CORES)]


def read_torch(path: Path) -> Any:  # Any: the content of a checkpoint is unknown before it is read
    """The content of a torch checkpoint, on the CPU: tensors, plain data, and NumPy numbers as Python's.

    Raises:
        pickle.UnpicklingError: it refers to anything else.
        Others: `DAMAGES` of `egotools.weights.tensors`.
    """
    with torch.serialization.safe_globals(STAND_INS):
        return torch.load(path, map_location="cpu", weights_only=True)
