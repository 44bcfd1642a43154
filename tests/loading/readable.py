"""Examples that tests load in other processes: numbers that say where they come from, and some that fail."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import numpy as np

from egotools.errors import ClipError


@dataclass(frozen=True)
class Numbers:
    """Examples of their index and a drawn number."""

    count: int = 10
    broken: int = -1  # cannot be read
    deadly: int = -1  # kills its worker
    home: int = 0  # but not this process

    def __len__(self) -> int:
        return self.count

    def example(self, index: int, random: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
        if index == self.broken:
            raise ClipError("videos/b.mp4: frame 7 at 0.233 s is listed in the file but cannot be decoded")
        if index == self.deadly and os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)
        return {
            "index": np.int64(index),
            "drawn": random.random(3),
            "alone": np.bool_(_threads() == 1),
            "seconds.decoding": np.float64(0.5),
        }


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def tensors(batch: dict[str, Any]) -> dict[str, Any]:
    """What a model takes: the batch itself."""
    return batch
