"""What a training learns from when it reads video: examples that any worker makes with the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Arrays = Mapping[str, npt.NDArray[Any]]  # Any: bytes, numbers, truth values
FAILED = "failed"
SECONDS = "seconds."  # entries of an example that begin so say how long a stage took, as "seconds.decoding"


class Examples(Protocol):
    """A frozen value that can be pickled: each worker gets it once."""

    def __len__(self) -> int: ...

    def example(self, index: int, random: np.random.Generator) -> Arrays:
        """One example: entries of the same names, shapes and types as those of all others.

        Frames are uint8 [L, S, S, 3], sound is float32; draws that the device will apply are numbers. Entries
        "seconds.<stage>" float64 [] say how long a stage took: they are added up and taken out of the batch.

        Args:
            index: of the example, 0 to len - 1.
            random: all chance comes from it.

        Raises:
            ClipError: it cannot be read. The training ends then, with this line: nothing else takes its place.
        """


def unread(error: Exception, clip: int) -> dict[str, npt.NDArray[Any]]:
    """What stands for an example that cannot be read where the others go on: why not, and the number of its clip."""
    return {FAILED: np.frombuffer(str(error).encode(), np.uint8).copy(), "clip": np.array(clip)}


def why_unread(batch: Mapping[str, Tensor]) -> str | None:
    """Why the example in a batch of one cannot be read; None: it was."""
    return batch[FAILED].numpy().tobytes().decode() if FAILED in batch else None


def random_of(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The chance of one example in one epoch: the same whichever worker makes it."""
    return np.random.default_rng([seed, epoch, index])
