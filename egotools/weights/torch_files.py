"""Reads torch checkpoints without running code from them, and writes them; NumPy numbers may stand beside the tensors.

To describe a file, `read_described` also passes over objects of any other class.

Trainers often store their best score as such a number, which `weights_only=True` alone refuses. What its pickle calls
is replaced here by functions of ours that decode eight bytes, so NumPy's own unpickling stays out of reach.
"""

import pickletools
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from egotools.errors import OutputError
from egotools.files.disk import new_file, open_file

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


def write_torch(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a torch checkpoint, aside first, streamed: no second copy of a large model in memory. Any: plain data.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with new_file(path) as file:
            torch.save(dict(content), file)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__  # torch's own follows that of a full disk
        if not isinstance(cause, OSError):
            raise
        raise OutputError(f"{path} cannot be written: {cause.strerror}") from error


class Foreign:
    """Stands in for an object of a class that is not imported: its name, arguments and state. Any: of the file."""

    name = ""
    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *arguments: Any, **_: Any) -> "Foreign":
        """Records the arguments."""
        made = super().__new__(cls)
        made.arguments = arguments
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        """Does nothing: `__new__` has recorded the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Records the state, instead of setting attributes."""
        self.state = state


def read_described(path: Path) -> Any:  # Any: the content of a checkpoint is unknown before it is read
    """As `read_torch`, with `Foreign` for everything else that the file refers to; nothing of it is imported.

    Raises:
        pickle.UnpicklingError: it does more than make objects.
        Others: `DAMAGES` of `egotools.weights.tensors`.
    """
    if zipfile.is_zipfile(path):
        found = set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    else:
        found = _named_in_old(path)
    names = found - {name for _, name in STAND_INS}
    foreign: list[Any] = [(type("Foreign", (Foreign,), {"name": name}), name) for name in sorted(names)]
    with torch.serialization.safe_globals([*STAND_INS, *foreign]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _named_in_old(path: Path) -> set[str]:
    """What a file in torch's format before 1.6 refers to, beside torch: a row of pickles, of which four have names."""
    names: set[str] = set()
    with open_file(path) as file:
        for _ in range(4):
            for operation, argument, _ in pickletools.genops(file):
                if operation.name == "GLOBAL":
                    names.add(str(argument).replace(" ", "."))
    return {name for name in names if name != "collections.OrderedDict" and not name.startswith("torch.")}
