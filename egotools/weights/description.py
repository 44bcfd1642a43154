"""What a file of weights holds, without running anything in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from torch import Tensor

from egotools.errors import WeightsError
from egotools.files.json_files import read_json
from egotools.weights.networks import known_network
from egotools.weights.storyboard import read_label_mapping
from egotools.weights.tensors import named_tensors, read_around
from egotools.weights.torch_files import Foreign

PLAIN = (bool, int, float, str, type(None))
LONGEST = 60  # characters of a text that is shown
DEEPEST = 8  # levels of mappings that are searched for tensors
LABELS = "none: the merged labels of Memory Storyboard"
OF_MODULES = ("_modules", "_parameters", "_buffers")  # where a pickled torch module keeps its parts


@dataclass(frozen=True)
class TensorAbout:
    """A tensor: its name in the file, without `module.`, its shape and type."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Description:
    """What a file of weights holds."""

    path: str
    format: str
    bytes: int
    network: str  # what network it is; "" if unknown
    parameters: int  # numbers in all tensors that are listed
    tensors: list[TensorAbout]
    beside: dict[str, Any]  # what stands beside the tensors, in words where it is more than a number or a text


def describe(path: Path) -> Description:
    """What a `.safetensors`, `.npz` or torch checkpoint holds; objects of foreign classes are named, never made.

    Raises:
        WeightsError: it cannot be read.
    """
    labels = _merged_labels(path)
    tensors, beside = _parts(_content(path), path) if labels is None else ({}, {"label mapping": labels})
    return Description(
        path=str(path),
        format=_format(path) if labels is None else "pickle",
        bytes=path.stat().st_size,
        network=known_network(tensors, path) or _of_run(path) if labels is None else LABELS,
        parameters=sum(value.numel() for value in tensors.values()),
        tensors=[
            TensorAbout(name, tuple(value.shape), str(value.dtype).removeprefix("torch."))
            for name, value in tensors.items()
        ],
        beside={str(name): _in_words(value) for name, value in beside.items()},
    )


def _merged_labels(path: Path) -> dict[int, int] | None:
    """The content of a `label_mapping.pkl`; None for other files, some in an older format of torch's, also pickles."""
    if path.suffix.lower() != ".pkl" or not path.is_file():
        return None
    try:
        return read_label_mapping(path)
    except WeightsError:
        return None


def _content(path: Path) -> Any:  # Any: the content of a checkpoint is unknown before it is read
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    return read_around(path)


def _parts(content: Any, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The network's tensors by name, and everything else at the top."""
    try:
        tensors = named_tensors(content, path)
    except WeightsError:
        tensors = {name.removeprefix("module."): value for name, value in _found(content)}
    beside = dict(content) if isinstance(content, Mapping) else {"content": content}
    return tensors, {name: value for name, value in beside.items() if not isinstance(value, Tensor)}


def _found(content: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """The tensors anywhere in mappings and in the states of objects, by dotted names."""
    state = content.state if isinstance(content, Foreign) else content
    if isinstance(state, Tensor):
        yield prefix or "tensor", state
    elif isinstance(state, Mapping) and depth < DEEPEST:
        for name, value in state.items():
            inner = prefix if name in OF_MODULES else f"{prefix}.{name}" if prefix else str(name)
            yield from _found(value, inner, depth + (name not in OF_MODULES))


def _in_words(value: Any) -> Any:
    if isinstance(value, Foreign):
        return f"an object of {value.name}"
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"{len(value)} entries"
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[:LONGEST]}..."
    if isinstance(value, (list, tuple)):
        return f"{len(value)} values"
    return value if isinstance(value, PLAIN) else f"an object of {type(value).__module__}.{type(value).__name__}"


def _format(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in (".safetensors", ".npz"):
        return suffix.removeprefix(".")
    return "torch" if is_zipfile(path) else "torch, before 1.6"


def _of_run(path: Path) -> str:
    """What `backbone.json`, beside a run's `backbone.safetensors`, says."""
    try:
        found = read_json(path.with_suffix(".json"), dict)
    except (OSError, ValueError):
        return ""
    views = found.get("views", {"": found})
    first: Any = next(iter(views.values()), {}) if isinstance(views, dict) else {}
    name = first.get("extractor") if isinstance(first, dict) else None
    return f"backbone of a run, extractor {name}" if isinstance(name, str) else ""
