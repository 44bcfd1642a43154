"""The inputs and the result of an extraction: requests, resources, and what was done."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from egotools.extractors.names import FoundExtractor
from egotools.machine import choose_device, usable_cores
from egotools.stores.int8_files import int8_file
from egotools.types import Clip, Extractor

Precision = Literal["float32", "bf16", "int8"]
Runtime = Literal["torch", "compile", "openvino"]
COMPUTING: dict[Runtime, str] = {"torch": "", "compile": "compiled", "openvino": "OpenVINO"}


@dataclass(frozen=True)
class Agreement:
    """How similar the rows of two precisions are, mean over rows: plain cosine, and with the mean row removed.

    `lowest` is the plain cosine of the least similar row, `computing` what is compared with PyTorch in float32.
    """

    plain: float
    centered: float
    rows: int
    lowest: float
    computing: str = "bf16"

    @classmethod
    def between(cls, exact: np.ndarray[Any, Any], other: np.ndarray[Any, Any], computing: str = "bf16") -> "Agreement":
        """The agreement of two arrays [N, D] of the same windows."""

        def cosines(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            found: np.ndarray[Any, Any] = np.sum(a * b, axis=1) / np.maximum(norms, 1e-30)
            return np.where(are_equal, 1.0, found)  # two rows of zeros, too

        exact, other = exact.astype(np.float64), other.astype(np.float64)
        are_equal = (exact == other).all(axis=1)
        plain, centered = cosines(exact, other), cosines(exact - exact.mean(0), other - other.mean(0))
        return cls(float(plain.mean()), float(centered.mean()), len(exact), float(plain.min()), computing)


@dataclass(frozen=True)
class CacheRequest:
    """A cache to fill: an extractor with its options, and where its rows go."""

    cache: Path
    extractor: Extractor
    found: FoundExtractor
    precision: Precision = "float32"  # of the network
    dtype: str = "float32"  # of the rows on disk; or float16
    only: frozenset[str] | None = None  # ids of the clips to compute; None: all
    runtime: Runtime = "torch"  # of the network
    quantized: Path | None = None  # the file of its int8 network, once there is one

    @property
    def source(self) -> Path | None:
        """The user's own file that defines the extractor; it must be imported before the extractor is unpickled."""
        return self.found.source if ".py:" in self.found.name else None

    @property
    def int8_file(self) -> Path:
        """Where the int8 network of the cache is kept."""
        return int8_file(self.cache)

    @property
    def computing(self) -> str:
        """How rows are computed, in words."""
        return f"{COMPUTING[self.runtime]} {self.precision}".lstrip()


def check_runtime(runtime: str, precision: str, device: str) -> None:
    """Checks options that exclude each other.

    Raises:
        ValueError: int8 with torch, or another runtime than torch on another device than the CPU.
    """
    if precision == "int8" and runtime != "openvino":
        raise ValueError("--precision int8 needs --runtime openvino")
    if runtime != "torch" and device not in ("auto", "cpu"):
        raise ValueError(f"--runtime {runtime} computes on the CPU, not with --device {device}")


@dataclass
class Extraction:
    """The result of an extraction: clips by cache, failures by cache, rows, and seconds by stage.

    A clip that an extractor has nothing to do for, such as one without sound, is done and has no rows.
    """

    done: dict[Path, int] = field(default_factory=dict)
    skipped: dict[Path, int] = field(default_factory=dict)
    empty: dict[Path, list[str]] = field(default_factory=dict)  # ids of clips without rows, done now or before
    failed: dict[Path, list[tuple[Clip, str]]] = field(default_factory=dict)
    rows: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    agreement: dict[Path, Agreement] = field(default_factory=dict)
    remarks: dict[Path, dict[str, str]] = field(default_factory=dict)  # by cache and id, remarks on clips
    file_remarks: dict[Path, list[str]] = field(default_factory=dict)  # what was repaired or is unusual
    changed: dict[Path, list[str]] = field(default_factory=dict)  # ids whose rows came from other times or another file
    resumed: dict[Path, dict[str, int]] = field(
        default_factory=dict
    )  # by id, rows that an interrupted run had computed
    begun_again: dict[Path, dict[str, str]] = field(default_factory=dict)  # by id, why such rows were dropped

    @property
    def caches(self) -> list[Path]:
        """The caches, in the order in which they were asked for."""
        return [*self.done]

    @property
    def is_complete(self) -> bool:
        """Whether every clip of the manifest is in every cache, and up to date."""
        return not any(self.failed.values()) and not any(self.changed.values())


@dataclass(frozen=True)
class Resources:
    """What an extraction may use of a machine. None: what suits the device."""

    device: str = "auto"
    batch_size: int | None = None
    workers: int | None = None

    def chosen(self) -> tuple[torch.device, int, int]:
        """The device, the batch size in windows, and the number of reading processes."""
        device = choose_device(self.device)
        cores = usable_cores()
        # On a CPU larger batches are no faster once freed memory is kept (`machine.keep_freed_memory`).
        batch_size = self.batch_size or (16 if device.type == "cpu" else 64)
        workers = self.workers or (min(cores, 4) if device.type == "cpu" else max(2, min(cores - 1, 32)))
        return device, batch_size, workers
