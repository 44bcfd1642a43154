"""Reads and writes fitted PCAs: our `pca.npz`, and the reference's pickled scikit-learn PCA."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.errors import WeightsError
from egotools.files.numpy_files import open_npz
from egotools.linear.pca import PCA
from egotools.weights.pickles import Remembered, read_pickle
from egotools.weights.run_files import PCA_FILE, RUN

PICKLES = (".pickle", ".pkl")
# The names in a pickled PCA, for all versions of scikit-learn and NumPy.
OF_ESTIMATORS = ("sklearn.decomposition._pca.PCA", "sklearn.decomposition.pca.PCA")
OF_ARRAYS = tuple(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core"))
OF_BUFFERS = tuple(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core"))
OF_SCALARS = tuple(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core"))
ENCODE = "_codecs.encode"  # how old protocols spell bytes
NAMES = (*OF_ESTIMATORS, *OF_ARRAYS, *OF_BUFFERS, *OF_SCALARS, "numpy.ndarray", "numpy.dtype", ENCODE)
KINDS = {"f4", "f8"}
ENTRIES = ("mean", "components", "explained_variance", "whiten")  # of a `.npz`


def pca_path(place: str) -> Path:
    """The file of an option `--pca`: a path, or `run:<dir>`.

    Raises:
        WeightsError: the file or run does not exist, or the run has no PCA.
    """
    if not place.startswith(RUN):
        path = Path(place)
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; a PCA is run:DIR, a .npz or a .pickle")
        return path
    run = Path(place.removeprefix(RUN))
    if not run.is_dir():
        raise WeightsError(f"{run}: no such run")
    if not (run / PCA_FILE).is_file():
        raise WeightsError(f"{run}: contains no {PCA_FILE}; it must be a finished run of 'egotools train pca'")
    return run / PCA_FILE


def read_pca(path: Path) -> PCA:
    """The PCA of a `.npz`, or of a `.pickle` or `.pkl`; nothing in the file is executed.

    Raises:
        WeightsError: the file cannot be read, or contains no PCA.
    """
    arrays = _unpickled(path) if path.suffix.lower() in PICKLES else _unzipped(path)
    try:
        mean, components, variance = (
            np.asarray(arrays[name], np.float64) for name in ("mean", "components", "explained_variance")
        )
        return PCA(mean, components, variance, bool(arrays.get("whiten", True)))
    except KeyError as error:
        raise WeightsError(f"{path}: contains no PCA: {error.args[0]!r} is missing") from error
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path}: contains no usable PCA: {error}") from error


def pca_bytes(pca: PCA) -> bytes:
    """A PCA as the bytes of a `.npz`: mean, components, explained_variance, whiten."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        mean=pca.mean,
        components=pca.components,
        explained_variance=pca.explained_variance,
        whiten=np.array(pca.whiten),
    )
    return buffer.getvalue()


def _unzipped(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with open_npz(path) as arrays:
            return {name: arrays[name] for name in ENTRIES if name in arrays.names()}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not readable as a PCA (.npz, .pickle): {error}") from error


def _unpickled(path: Path) -> dict[str, Any]:  # Any: arrays and a bool, to be checked
    found = read_pickle(path, NAMES)
    if not isinstance(found, Remembered) or found.name not in OF_ESTIMATORS or not isinstance(found.state, Mapping):
        raise WeightsError(f"{path}: contains no scikit-learn PCA")
    arrays: dict[str, Any] = {"whiten": found.state.get("whiten") is True}
    for name in ("mean", "components", "explained_variance"):
        try:
            arrays[name] = _array(found.state.get(f"{name}_"))
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: {name}_ is not an array of numbers: {error}") from error
    return arrays


def _array(value: Any) -> npt.NDArray[np.float64]:
    """The array that a pickle describes, from its bytes; a ValueError or TypeError if it is not one of floats."""
    if not isinstance(value, Remembered):
        raise TypeError(f"it is {type(value).__name__}")
    if value.name in OF_BUFFERS:
        raw, kind, shape, order = value.arguments
    elif value.name in OF_ARRAYS:
        _, shape, kind, by_columns, raw = value.state
        order = "F" if by_columns else "C"
    else:
        raise TypeError(f"it is {value.name}")
    kind = _kind(kind)
    shape = tuple(shape)
    if not all(type(side) is int and side >= 0 for side in shape) or len(shape) > 2 or order not in ("C", "F"):
        raise ValueError(f"its shape is {shape}")
    raw = _bytes(raw)
    if len(raw) != math.prod(shape) * kind.itemsize:
        raise ValueError(f"it has {len(raw)} bytes for {shape} numbers")
    return np.frombuffer(raw, kind).reshape(shape, order=order).astype(np.float64)


def _kind(described: Any) -> np.dtype[Any]:
    """float32 or float64, of either byte order."""
    if not isinstance(described, Remembered) or described.name != "numpy.dtype" or not described.arguments:
        raise TypeError("its type is unknown")
    code, order = described.arguments[0], described.state[1]
    if code not in KINDS or order not in ("<", ">", "="):
        raise TypeError(f"its type is {code!r}, not a float")
    kind: np.dtype[Any] = np.dtype(order + code)
    return kind


def _bytes(raw: Any) -> bytes:
    if isinstance(raw, Remembered) and raw.name == ENCODE and raw.arguments[1:] == ("latin1",):
        raw = raw.arguments[0].encode("latin1") if isinstance(raw.arguments[0], str) else raw
    if not isinstance(raw, (bytes, bytearray)):
        raise TypeError(f"its numbers are {type(raw).__name__}")
    return bytes(raw)
