"""What a training learns from when it reads video: examples that any worker makes with the same bits."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]  # Any: bytes, numbers, truth values
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


def random_of(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The chance of one example in one epoch: the same whichever worker makes it."""
    return np.random.default_rng([seed, epoch, index])
