"""Features of clips with all their rows, of which one is drawn, or some are chosen.

Axes: C clips, N rows of all of them, D features of all caches together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.errors import TableError
from egotools.tables.clip_rows import first_rows
from egotools.tables.joining import SAME_TIME
from egotools.tables.table import Mask, Table, read_table
from egotools.texts import counted
from egotools.types import IntArray


@dataclass(frozen=True, eq=False)
class Windows:
    """The rows of clips; those of clip c are `values[first[c] : first[c] + counts[c]]`."""

    table: Table  # one row a clip, without features; its times are from the first start to the last end
    values: npt.NDArray[np.float32]  # [N, D]
    first: IntArray  # [C]
    counts: IntArray  # [C], 1 or more

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def of(cls, table: Table) -> Windows:
        """Of a table in which the rows of a clip follow each other, as `read_table` has them."""
        first = first_rows(table)
        is_first = np.isin(np.arange(len(table)), first)
        starts, ends = np.minimum.reduceat(table.times[:, 0], first), np.maximum.reduceat(table.times[:, 1], first)
        clips = replace(table.without_values().only(is_first), times=np.stack([starts, ends], axis=1))
        return cls(clips, table.values, first, np.diff(np.append(first, len(table))))

    def only(self, clips: Mask) -> Windows:
        """Some clips by a mask [C]; the rows stay where they are."""
        return replace(self, table=self.table.only(clips), first=self.first[clips], counts=self.counts[clips])

    def drawn(self, generator: np.random.Generator) -> IntArray:
        """The number [C] of one row of each clip, drawn at random."""
        return self.first + generator.integers(0, self.counts)

    def spread(self, most: int | None = None) -> tuple[IntArray, IntArray]:
        """Up to `most` rows of each clip, evenly spread from its first to its last; None: all.

        Returns:
            The numbers [M] of rows, and of their clips [M].
        """
        taken = self.counts if most is None else np.minimum(self.counts, most)
        clips = np.repeat(np.arange(len(self)), taken)
        place = np.arange(len(clips)) - np.repeat(np.cumsum(taken) - taken, taken)
        last = np.maximum(taken - 1, 1)
        return self.first[clips] + place * (self.counts[clips] - 1) // last[clips], clips


def read_windows(
    manifest: Path | str, caches: Sequence[Path | str], *, is_reduced: bool = False, labels: Sequence[str] | None = None
) -> Windows:
    """The rows of a manifest's clips, from one or several caches joined by id.

    Of several caches the rows are those of the first; a further one adds the row whose middle is nearest in time, so
    that a window of the picture has the sound around it.

    Args:
        manifest: lists the clips, in order.
        caches: their features are concatenated along D in this order.
        is_reduced: one row a clip, the mean of its rows.
        labels: the label columns to read; None: all.

    Raises:
        TableError: no clip is in every cache, or features are not finite.
    """
    if is_reduced:
        return Windows.of(read_table(manifest, caches, reduce="mean", labels=labels))
    tables = [
        read_table(manifest, [cache], reduce=None, labels=[] if number else labels)
        for number, cache in enumerate(caches)
    ]
    return Windows.of(tables[0]) if len(tables) == 1 else _joined(tables)


def _joined(tables: Sequence[Table]) -> Windows:
    """The rows of the first table, beside them those of the others that are nearest in time."""
    parts = [Windows.of(table) for table in tables]
    places = [{id: place for place, id in enumerate(part.table.ids.tolist())} for part in parts]
    in_all = np.array([all(id in each for each in places) for id in parts[0].table.ids.tolist()], bool)
    if not in_all.any():
        raise TableError(f"no clip is in every one of {', '.join(path for t in tables for path, _ in t.parts)}")
    kept = parts[0].only(in_all)
    rows, _ = kept.spread()
    columns, remarks = [tables[0].values[rows]], [*tables[0].remarks]
    for table, part, place in zip(tables[1:], parts[1:], places[1:], strict=True):
        numbers, moved = [], 0
        for id, first, count in zip(kept.table.ids.tolist(), kept.first.tolist(), kept.counts.tolist(), strict=True):
            at = place[id]
            span = slice(part.first[at], part.first[at] + part.counts[at])
            found, is_same = _nearest(tables[0].times[first : first + count], table.times[span])
            numbers.append(part.first[at] + found)
            moved += not is_same
        columns.append(table.values[np.concatenate(numbers)])
        remarks += [each for each in table.remarks if each not in remarks]
        if moved:
            remarks.append(
                f"{counted(moved, 'clip')} with other times in {table.parts[0][0]} than in {tables[0].parts[0][0]}:"
                " beside each row of the latter is the one nearest in time"
            )
    whole = tuple(part for table in tables for part in table.parts)
    clips = replace(kept.table, remarks=tuple(remarks), parts=whole)
    return Windows(clips, np.concatenate(columns, axis=1), np.cumsum(kept.counts) - kept.counts, kept.counts)


def _nearest(times: npt.NDArray[Any], others: npt.NDArray[Any]) -> tuple[IntArray, bool]:
    """For times [T, 2] the numbers [T] of those others [S, 2] whose middle is nearest; and whether all are the same."""
    if times.shape == others.shape and (np.abs(times - others) <= SAME_TIME).all():
        return np.arange(len(times)), True
    middles, other = times.mean(axis=1), others.mean(axis=1)
    return np.abs(middles[:, np.newaxis] - other).argmin(axis=1), False
