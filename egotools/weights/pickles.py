"""Reads pickles of other programs as data: nothing that a file names is ever imported or called.

A pickle is a program that calls what it names. Here a name yields a stand-in that only records the arguments of
the call, and only for names that the caller lists; any other name ends the reading.

This is the only file of egotools that may use `pickle.Unpickler`; tests/repository/test_imports.py checks that, and
tests/weights/test_pickles.py what it refuses.
"""

import io
import os
import pickle
import pickletools
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

from egotools.errors import WeightsError
from egotools.files.disk import open_file

MOST_BYTES = 1 << 30
MOST_STEPS = 1 << 20  # steps of a pickle's program; a PCA has a hundred, ten thousand names have thirty thousand
# The exceptions of the C code for damaged pickles, or those that use stand-ins as something else.
DAMAGES = (
    pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
    RecursionError, TypeError, ValueError,
)  # fmt: skip


class Remembered:
    """What a pickle wanted to create: by which name, arguments and state. Any: data of the pickle."""

    name = ""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> "Remembered":
        """Records the arguments."""
        made = super().__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __init__(self, *arguments: Any) -> None:
        """Does nothing: `__new__` has recorded the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Records the state, instead of setting attributes."""
        self.state = state


class _Restricted(pickle.Unpickler):
    def __init__(self, data: bytes, names: Collection[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._stand_ins = {name: type("Remembered", (Remembered,), {"name": name}) for name in names}

    def find_class(self, module_name: str, global_name: str) -> type[Remembered]:
        """The stand-in for a listed name; a pickle can get nothing else."""
        name = f"{module_name}.{global_name}"
        if name not in self._stand_ins:
            raise pickle.UnpicklingError(f"it refers to {name}, which is not allowed there")
        return self._stand_ins[name]


def read_pickle(path: Path, names: Collection[str] = ()) -> Any:  # Any: what a pickle holds
    """The content of a pickle: numbers, texts, bytes, lists, tuples, dicts, sets, and `Remembered` for listed names.

    Args:
        path: the file.
        names: such as `numpy.ndarray`; with none, only plain data is read.

    Raises:
        WeightsError: the file does not exist, is not a pickle, or refers to anything else.
    """
    try:
        with open_file(path) as file:
            if (size := os.fstat(file.fileno()).st_size) > MOST_BYTES:
                raise WeightsError(f"{path}: {size} bytes are too many for a pickle of this kind")
            data = file.read(size)
        _check_steps(data)
        return _Restricted(data, names).load()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except DAMAGES as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: not a pickle that can be read safely ({reason})") from error


def _check_steps(data: bytes) -> None:
    """Refuses a pickle that would take more memory or time than its size suggests, without executing it.

    The C code allocates a memo for any index in a step, and as many bytes as a step declares.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about texts with unusual escapes
        for number, (step, argument, position) in enumerate(pickletools.genops(data), 1):
            declared = argument if isinstance(argument, int) else 0
            if number > MOST_STEPS:
                raise ValueError(f"it has more than {MOST_STEPS} steps")
            if step.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= declared <= number:
                raise ValueError(f"step {number} declares memo index {declared}")
            if step.name == "FRAME" and declared > len(data) - (position or 0):
                raise ValueError(f"cut short: step {number} declares {declared} bytes")
