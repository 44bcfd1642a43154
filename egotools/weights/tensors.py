"""Reads trained weights from files without unpickling, and loads them into networks."""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from egotools.config import file_digest
from egotools.errors import WeightsError
from egotools.files.numpy_files import check_archive, open_npz
from egotools.weights.run_files import RUN, backbone_file, run_and_view
from egotools.weights.torch_files import read_described, read_torch

FILE_SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".bin", ".tar", ".ckpt", ".model", ".pickle", ".pkl")
RANDOM = re.compile(r"random:(\d{1,18})")  # torch seeds have 64 bits
# The exceptions that torch, NumPy and safetensors raise for damaged data.
DAMAGES = (
    OSError, EOFError, RuntimeError, ValueError, TypeError, AssertionError, AttributeError, LookupError,
    ArithmeticError, MemoryError, BadZipFile, struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """What did not meet when a checkpoint was loaded, by name."""

    missing: tuple[str, ...]  # parameters that keep their initial values
    unused: tuple[str, ...]  # entries of the checkpoint


def random_seed(weights: str) -> int | None:
    """The seed of `random:<seed>`, None for any other weights."""
    match = RANDOM.fullmatch(weights)
    return int(match[1]) if match else None


def is_file(weights: str) -> bool:
    """Whether an option `--weights` is a file or a run, not a published name or `random:<seed>`."""
    return weights.startswith(RUN) or weights.lower().endswith(FILE_SUFFIXES)


def weights_file(weights: str, fetch: Callable[[str], Path]) -> Path:
    """The file of an option `--weights`: a path, `run:<dir>[#<view>]`, or a published name, which `fetch` downloads.

    Raises:
        WeightsError: the file or run does not exist, the name of the file has another end than files of weights have,
            or the run has no backbone.
    """
    if weights.startswith(RUN):
        return backbone_file(*run_and_view(weights))
    if not weights.lower().endswith(FILE_SUFFIXES):
        if Path(weights).is_file():
            raise WeightsError(f"{weights}: files of weights end in {', '.join(FILE_SUFFIXES)}; rename it")
        return fetch(weights)
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    return path


def anchored(weights: str) -> str:
    """The same weights, valid in any working directory: files and runs by their absolute path."""
    if weights.startswith(RUN):
        return f"{RUN}{Path(weights.removeprefix(RUN)).absolute()}"
    return str(Path(weights).absolute()) if weights.lower().endswith(FILE_SUFFIXES) else weights


def weights_digest(weights: str, fetch: Callable[[str], Path]) -> str:
    """The weights in a recipe: the digest of their file, or `random:<seed>`."""
    return weights if random_seed(weights) is not None else file_digest(weights_file(weights, fetch))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a `.safetensors`, `.npz` or torch checkpoint; nothing in the file is executed.

    The `state_dict` or `model` of a training checkpoint is used, without the `module.` of data-parallel training.

    Raises:
        WeightsError: the file cannot be read, or contains other things than tensors.
    """
    return named_tensors(read_content(path), path)


def read_content(path: Path) -> Any:  # Any: the content of a checkpoint is unknown before it is read
    """All that a `.safetensors`, `.npz` or torch checkpoint contains; nothing in the file is executed.

    Raises:
        WeightsError: the file cannot be read, or contains other things than tensors and plain data.
    """
    try:
        return _read(path)
    except UnpicklingError as error:
        raise WeightsError(f"{path}: contains other things than tensors, or is damaged; save a state_dict()") from error
    except DAMAGES as error:
        reason = "damaged" if isinstance(error, LookupError) else (str(error).splitlines() or ["empty"])[0]
        raise WeightsError(f"{path}: not readable as weights ({reason})") from error


def read_around(path: Path) -> Any:  # Any: as above
    """As `read_content`, with `Foreign` for each object of another class, such as a program's options; none is made.

    Raises:
        WeightsError: as of `read_content`.
    """
    try:
        return read_content(path)
    except WeightsError:
        if path.suffix.lower() in (".safetensors", ".npz"):
            raise
        try:
            return read_described(path)
        except (UnpicklingError, *DAMAGES):
            pass
        raise


def named_tensors(found: Any, path: Path) -> dict[str, Tensor]:
    """The tensors among what `read_content` found, as `read_tensors` gives them.

    Raises:
        WeightsError: there are none.
    """
    for name in ("state_dict", "model_state_dict", "model", "model_av"):
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise WeightsError(f"{path}: contains no named tensors (a state_dict)")
    return {str(key).removeprefix("module."): value for key, value in found.items()}


def _read(path: Path) -> Any:  # Any: the content of a checkpoint is unknown before it is read
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    if suffix == ".npz":
        with open_npz(path) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.names()}
    check_archive(path)
    return read_torch(path)


def plain_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As safetensors takes them: on the CPU, none sharing memory."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], *, heads: tuple[str, ...], source: str) -> Loaded:
    """Loads named tensors into a network; those of its classifiers, by prefix, may be missing or for another task.

    Returns:
        What was not loaded, and what was not used.

    Raises:
        WeightsError: a parameter is missing, unknown, or of another shape; the message names the first.
    """
    own = network.state_dict()
    check_fit(own, tensors, heads=heads, source=source)
    fitting = {name: value for name, value in tensors.items() if name in own and value.shape == own[name].shape}
    network.load_state_dict(fitting, strict=False)
    missing = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    return Loaded(tuple(missing), tuple(name for name in tensors if name not in fitting))


def check_fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, heads: tuple[str, ...], source: str) -> None:
    """Refuses named tensors that do not fit a network's own; those of classifiers, by prefix, may be anything.

    Raises:
        WeightsError: as of `load_into`.
    """

    def matters(name: str) -> bool:
        return not name.startswith(heads) and not name.endswith("num_batches_tracked")

    missing = [name for name in own if matters(name) and name not in tensors]
    unknown = [name for name in tensors if matters(name) and name not in own]
    if missing or unknown:
        raise WeightsError(
            f"{source}: does not fit the network: "
            + "; ".join(
                f"{len(names)} {what} such as {names[0]!r}"
                for names, what in ((missing, "missing"), (unknown, "unknown"))
                if names
            )
        )
    for name, tensor in tensors.items():
        if matters(name) and tensor.shape != own[name].shape:
            raise WeightsError(
                f"{source}: does not fit the network: {name!r} is {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
            )
