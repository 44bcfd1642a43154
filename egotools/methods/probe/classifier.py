"""A fitted linear classifier as a value that can be saved. Axes: N rows, D features, K classes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from egotools.errors import RunError, TableError
from egotools.files.disk import open_file
from egotools.files.json_files import check_shape, parse_json
from egotools.linear.standardize import Standardization
from egotools.processes import compute_alone_if_forked
from egotools.tables.table import Mask
from egotools.types import FloatArray, IntArray

LOGITS = 1 << 24  # of rows by features, or by classes, at a time
CLASSES, OF_UNIT_ROWS = "classes", "classes of unit rows"  # entries of a file's metadata


@dataclass(frozen=True, eq=False)
class Classifier:
    """Softmax of weight @ standardized features + bias; or of weight @ features of length one + bias."""

    classes: tuple[str, ...]  # K
    weight: Tensor  # [K, D]
    bias: Tensor  # [K]
    standardization: Standardization
    has_unit_rows: bool = False  # whether rows are brought to length one first

    def predict(self, values: FloatArray, among: Mask | None = None) -> tuple[IntArray, FloatArray]:
        """Features [N, D] to the numbers [N] of the most probable classes and their probabilities [N].

        Args:
            values: any number of rows; they are scored in pieces.
            among: a mask [N] of the rows to score; None: all.

        Raises:
            TableError: features of another width.
        """
        self.check_width(values.shape[1])
        compute_alone_if_forked()
        rows = np.arange(len(values)) if among is None else np.flatnonzero(among)
        step = max(1, LOGITS // max(self.weight.shape))
        numbers, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for at in range(0, len(rows), step):
            best = self._probabilities(values[rows[at : at + step]]).max(dim=1)
            numbers.append(best.indices.cpu().numpy())
            scores.append(best.values.cpu().numpy())
        return np.concatenate(numbers), np.concatenate(scores)

    def probabilities(self, values: FloatArray) -> FloatArray:
        """Features [N, D] of few rows to probabilities [N, K].

        Raises:
            TableError: features of another width.
        """
        self.check_width(values.shape[1])
        return self._probabilities(values).cpu().numpy()

    def _probabilities(self, values: FloatArray) -> Tensor:
        rows = torch.from_numpy(values).to(self.weight.device)
        standard = self.standardization(functional.normalize(rows.float(), dim=1) if self.has_unit_rows else rows)
        return torch.softmax(standard @ self.weight.T + self.bias, dim=1)

    def check_width(self, width: int) -> None:
        """Refuses rows of another width than those that it was fitted on.

        Raises:
            TableError: says so.
        """
        if width != self.weight.shape[1]:
            raise TableError(
                f"the probe was fitted on {self.weight.shape[1]} features a row, these have {width}; "
                "give it caches of the same extractors"
            )

    def to_bytes(self) -> bytes:
        """As a safetensors file, the classes in its metadata."""
        from safetensors.torch import save

        tensors = {
            "weight": self.weight,
            "bias": self.bias,
            "mean": self.standardization.mean,
            "deviation": self.standardization.deviation,
        }
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        key = OF_UNIT_ROWS if self.has_unit_rows else CLASSES  # one entry: the order of several varies
        return save(tensors, metadata={key: json.dumps(self.classes)})

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """From a file that holds `to_bytes`.

        Raises:
            RunError: no such file, or another one.
        """
        from safetensors import SafetensorError, safe_open

        try:
            open_file(path).close()  # a pipe or a device would be waited for
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in ("weight", "bias", "mean", "deviation")}
                metadata = file.metadata() or {}
                classes = parse_json(metadata.get(OF_UNIT_ROWS) or metadata[CLASSES])
            check_shape(classes, list[str], "classes")
            _check_tensors(tensors, len(classes))
        except KeyError as error:
            raise RunError(f"{path} holds no fitted probe: it has no {error}") from error
        except (OSError, SafetensorError, ValueError) as error:
            raise RunError(f"{path} holds no fitted probe: {error}") from error
        statistics = Standardization(tensors["mean"], tensors["deviation"])
        return cls(tuple(classes), tensors["weight"], tensors["bias"], statistics, OF_UNIT_ROWS in metadata)


def _check_tensors(tensors: Mapping[str, Tensor], classes: int) -> None:
    """Refuses a tensor whose shape or type does not go with the others."""
    weight = tensors["weight"]
    shapes = {"weight": (classes, *weight.shape[1:2]), "bias": (classes,)}
    shapes |= dict.fromkeys(("mean", "deviation"), tuple(weight.shape[1:2]))
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape or len(weight.shape) != 2 or tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(f"{name!r} is {kind} {list(tensor.shape)}, not float32 {list(shape)}")
