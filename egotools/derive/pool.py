"""Pools a clip's rows into one row: statistics over all its rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from egotools.config import option
from egotools.stores.copying import intact
from egotools.stores.pooling import deviation, largest, mean, smallest, span
from egotools.stores.store import Store, StoredClip
from egotools.types import Rows

STATISTICS = {"mean": mean, "std": deviation, "max": largest, "min": smallest}


@dataclass(frozen=True)
class Pool:
    """One row per clip: statistics of each feature over the clip's rows.

    The row's times span those of all its rows. A clip without rows stays without rows.
    """

    version: ClassVar[int] = 1
    naming: ClassVar[str] = "{input}"

    statistics: tuple[str, ...] = option(("mean",), f"Concatenated in this order: {', '.join(STATISTICS)}.")

    def __post_init__(self) -> None:
        unknown = [name for name in self.statistics if name not in STATISTICS]
        if unknown or not self.statistics:
            raise ValueError(f"--statistics takes {', '.join(STATISTICS)}, not {', '.join(unknown) or 'none at all'}")
        if len(set(self.statistics)) < len(self.statistics):
            raise ValueError(f"--statistics names a statistic twice: {','.join(self.statistics)}")

    def rows(self, inputs: Mapping[str, Store]) -> Iterator[tuple[str, Rows]]:
        """Each clip of the one input with its row, values [1, D x number of statistics] float32."""
        (store,) = inputs.values()
        for id in store:
            clip = intact(store, id)
            if len(clip):
                yield id, Rows(self._row(clip), span(clip.times))
            else:
                yield id, Rows(np.empty((0, store.width * len(self.statistics)), np.float32), np.empty((0, 2)))

    def _row(self, clip: StoredClip) -> npt.NDArray[np.float32]:
        with np.errstate(all="ignore"):  # rows may contain NaN and infinite values, and so may the result
            parts = [STATISTICS[name](clip) for name in self.statistics]
        return np.concatenate(parts, dtype=np.float32, casting="same_kind")[np.newaxis]
