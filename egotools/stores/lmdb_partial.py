"""A live cache with the clips that are not finished, as far as they are there."""

import zlib
from collections.abc import Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import overload

import numpy as np

from egotools.stores.lmdb_layout import CLIP
from egotools.stores.lmdb_store import LMDBStore
from egotools.stores.store import StoredClip, id_of
from egotools.types import FloatArray, IntArray


class PartialStore(LMDBStore):
    """An LMDB cache in which unfinished clips, `unfinished`, have the rows that were there when it was opened.

    Their rows are copied and compared with their checksums whenever they are read, because a writer may drop them.

    Raises:
        StoreError: as `LMDBStore`; or, when rows are read, a writer has dropped them.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.rows += sum(clip.rows for clip in self.unfinished.values())

    def __len__(self) -> int:
        return super().__len__() + len(self.unfinished)

    def __contains__(self, id: object) -> bool:
        return super().__contains__(id) or id in self.unfinished

    def __iter__(self) -> Iterator[str]:
        unfinished = sorted(id.encode() for id in self.unfinished)
        return (id_of(key, self.path) for key in merge((key[1:] for key in self._index.keys(CLIP)), unfinished))

    def row_counts(self, ids: Sequence[str]) -> IntArray:
        """The number of rows of each clip [C], of an unfinished one those that are there; -1 without such a clip."""
        counts = super().row_counts(ids)
        for at in np.flatnonzero(counts < 0).tolist():
            if ids[at] in self.unfinished:
                counts[at] = self.unfinished[ids[at]].rows
        return counts

    def stored(self, id: str) -> StoredClip:
        """The rows of a clip; of an unfinished one those that are there, as copies of bounded size."""
        if id not in self.unfinished:
            return super().stored(id)
        checksum, times = 0, []
        for _, piece, rows in self.pieces_of(id):
            checksum = zlib.crc32(rows.data, checksum)
            times.append(piece.times)
        all_times = np.concatenate(times)
        return StoredClip(_Copies(self, id), all_times, zlib.crc32(all_times.data, checksum))

    def _source(self, id: str) -> bytes:
        clip = self.unfinished.get(id)
        return super()._source(id) if clip is None else clip.begun.source.to_json().encode()


class _Copies(Sequence[FloatArray]):
    """The rows of an unfinished clip [t, D], a piece at a time, read anew each time."""

    def __init__(self, store: PartialStore, id: str) -> None:
        self._store, self._id = store, id

    def __len__(self) -> int:
        return len(self._store.piece_keys[self._id])

    def __iter__(self) -> Iterator[FloatArray]:
        return (rows for _, _, rows in self._store.pieces_of(self._id))

    @overload
    def __getitem__(self, at: int) -> FloatArray: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[FloatArray]: ...
    def __getitem__(self, at: int | slice) -> FloatArray | Sequence[FloatArray]:
        return [*self][at]
