"""The live cache: one LMDB file, written in durable commits alongside any number of readers. See `lmdb_layout.py`."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from egotools.config import digest
from egotools.errors import StoreError
from egotools.stores.header import DTYPES, read_header
from egotools.stores.lmdb_index import Index
from egotools.stores.lmdb_layout import (
    BLOCK,
    CLIP,
    HEADER,
    ONE_ROW,
    RECORD_START,
    Record,
    block_key,
    unpack_record,
    view_block,
)
from egotools.stores.lmdb_pieces import PIECE, Piece, place_of, unfinished_of, unpack_piece
from egotools.stores.store import (
    NOTHING_YET,
    MappedStore,
    StoredClip,
    id_of,
    map_file,
    open_cache_file,
)
from egotools.stores.unfinished import Unfinished
from egotools.texts import composed, uncomposed
from egotools.types import FloatArray, IntArray, Rows


class LMDBStore(MappedStore):
    """An LMDB cache as of when it was opened; reopen it to see later commits.

    Reading needs no lock and only read permission. May be used from several threads and after a fork, and
    pickled: when unpickled elsewhere, it is the same file, or an error.

    Raises:
        StoreError: the file does not exist, is not a cache, is damaged or cut short, or nothing was committed yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_cache_file(path) as file:
            status = os.fstat(file.fileno())
            self.file = (status.st_dev, status.st_ino)
            self._index = Index(file.fileno(), path)
            self._map = map_file(file, path, self._index.length)
        text = self._value(HEADER)
        if text is None:
            check_not_foreign(path, self._index)
            raise StoreError(NOTHING_YET.format(path))
        header = read_header(path, bytes(text))
        self.recipe = header.recipe
        self.dtype = header.dtype or DTYPES["float32"]
        self.width = header.width
        self.rows = header.rows
        self.blocks = header.blocks
        self.committed = header.committed  # seconds since 1970; None in caches from an older egotools
        self._clips = header.clips
        self._views: dict[int, FloatArray] = {}  # views of blocks that were read; a few hundred bytes per 4 MiB block

    def __len__(self) -> int:
        return self._clips

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._index.get(self._key(id)) is not None

    def __iter__(self) -> Iterator[str]:
        return map(self._id, self._index.keys(CLIP))  # which continues after an id that raises

    def _id(self, key: bytes) -> str:
        return id_of(key[1:], self.path)

    def _key(self, id: str) -> bytes:
        """The key of a clip: its id, in the Unicode form in which it was stored."""
        key = _clip_key(id)
        if id.isascii() or self._index.get(key) is not None:
            return key
        return _clip_key(self._uncomposed.get(composed(id), composed(id)))

    def _keys(self, ids: Iterable[str]) -> Iterator[bytes]:
        return (CLIP + id.encode() if id.isascii() else self._key(id) for id in ids)

    @cached_property
    def _uncomposed(self) -> dict[str, str]:
        """NFC form -> id, for ids that an older egotools stored in another form, as macOS writes file names."""
        keys = (key[1:] for key in self._index.keys(CLIP) if not key.isascii())
        return uncomposed(key.decode(errors="surrogateescape") for key in keys)

    def stored(self, id: str) -> StoredClip:
        """The rows of a clip as stored, not copied."""
        record = self._record(id)
        views = [self._block(block, id)[first : first + count] for block, first, count in record.segments]
        if sum(map(len, views)) != len(record.times) or any(view.shape[1] != self.width for view in views):
            raise StoreError(f"{self.path}: damaged: clip {id!r} does not have the rows that were written")
        return StoredClip(views, record.times, record.checksum)

    def row_counts(self, ids: Sequence[str]) -> IntArray:
        """The number of rows of each clip [C]; -1 where there is no such clip."""
        starts, sizes = self._index.starts(self._keys(ids), RECORD_START.itemsize)
        records = starts.view(RECORD_START)[:, 0]
        counts: IntArray = np.where(sizes == -1, -1, records["rows"].astype(np.int64))
        needed = RECORD_START.itemsize + 24 * records["segments"].astype(float) + 16 * records["rows"].astype(float)
        is_odd = (sizes < needed) | ((records["rows"] == 0) & (records["segments"] > 0))
        for at in np.flatnonzero((sizes != -1) & is_odd).tolist():  # long, so not here, or damaged
            counts[at] = len(self._record(ids[at]).times)
        return counts

    def single_rows(self, ids: Sequence[str]) -> Rows:
        """The rows [C, D] of clips that have one row each, copied at once."""
        starts, sizes = self._index.starts(self._keys(ids), ONE_ROW.itemsize)
        records = starts.view(ONE_ROW)[:, 0]
        is_plain = (sizes >= ONE_ROW.itemsize) & (records["rows"] == 1) & (records["segments"] == 1)
        is_plain &= (records["block"] >= 0) & (records["first"] >= 0) & (records["count"] == 1)
        if not is_plain.all():  # an error that names the clip
            return super().single_rows(ids)
        values = np.empty((len(ids), self.width), self.dtype)
        order = np.argsort(records["block"], kind="stable")
        blocks, begins = np.unique(records["block"][order], return_index=True)
        for block, rows in zip(blocks.tolist(), np.split(order, begins)[1:], strict=True):
            view, first = self._block(block, ids[rows[0]]), records["first"][rows]
            if first.max() >= len(view) or view.shape[1] != self.width:
                return super().single_rows(ids)
            values[rows] = view[first]
        return Rows(values, records["times"].copy())

    def _source(self, id: str) -> bytes:
        return self._record(id).source

    def blocks_of(self, id: str) -> list[int]:
        """The numbers of the blocks that hold the rows of a clip."""
        return [block for block, _, _ in self._record(id).segments]

    def orphans(self) -> int:
        """How many blocks belong to no clip: left by an interrupted pass and dropped by the next, or being written."""
        unfinished = sum(len(clip.blocks) for clip in self.unfinished.values())
        return sum(1 for _ in self._index.keys(BLOCK)) - self.blocks - unfinished

    @cached_property
    def piece_keys(self) -> dict[str, list[bytes]]:
        """The keys of the pieces of each clip that is not finished, in the order of its rows."""
        found: defaultdict[str, list[bytes]] = defaultdict(list)
        for key in self._index.keys(PIECE):
            try:
                found[id_of(place_of(key)[0], self.path)].append(key)
            except ValueError as error:
                raise StoreError(f"{self.path}: damaged: it has a key {key[:40]!r}") from error
        return dict(found)

    @cached_property
    def unfinished(self) -> dict[str, Unfinished]:
        """The clips of which only the first rows are there, without those whose pieces do not fit together."""
        found, recipe = {}, digest(self.recipe.identity) if self.piece_keys else ""
        for id, keys in self.piece_keys.items():
            try:
                clip = unfinished_of(((place_of(key)[1], self._piece(key)) for key in keys), recipe)
            except ValueError:  # of another recipe; or overwritten, because a writer has dropped the clip
                continue
            is_finished = self._index.get(self._key(id)) is not None  # by an older egotools, which dropped the blocks
            if not is_finished and all(self._index.get(block_key(block)) is not None for block in clip.blocks):
                found[id] = clip
        return found

    def pieces_of(self, id: str) -> Iterator[tuple[int, Piece, FloatArray]]:
        """The rows of a clip that is not finished, a piece at a time: first row, piece, and a copy of its rows [t, D].

        Raises:
            StoreError: they are damaged, or a writer has finished or dropped the clip since this cache was opened.
        """
        for key in self.piece_keys[id]:
            try:
                piece = self._piece(key)
                view = view_block(piece.inside, self._map) if piece.block is None else self._block(piece.block, id)
            except ValueError as error:
                raise StoreError(self._lost(id)) from error
            rows = np.array(view)
            is_of_this_cache = rows.dtype == self.dtype and rows.shape == (len(piece.times), self.width)
            if not is_of_this_cache or not piece.is_intact(rows):
                raise StoreError(self._lost(id))
            yield place_of(key)[1], piece, rows

    def _piece(self, key: bytes) -> Piece:
        value = self._value(key)
        assert value is not None, "its key was found"
        return unpack_piece(value)

    def _lost(self, id: str) -> str:
        what = "is damaged, or was finished or dropped since this cache was opened; try again"
        return f"{self.path}: the unfinished clip {id!r} {what}"

    def _value(self, key: bytes) -> memoryview | None:
        value = self._index.get(key)
        if isinstance(value, tuple):
            offset, size = value
            return memoryview(self._map)[offset : offset + size]
        return value

    def _record(self, id: str) -> Record:
        value = self._value(self._key(id))
        if value is None:
            raise KeyError(f"{self.path}: no clip {id!r}")
        try:
            return unpack_record(value)
        except ValueError as error:
            raise StoreError(
                f"{self.path}: damaged: the record of clip {id!r} is not what was written ({error})"
            ) from error

    def _block(self, number: int, id: str) -> FloatArray:
        view = self._views.get(number)
        if view is None:
            place = self._index.get(block_key(number))
            try:
                if place is None:
                    raise ValueError("missing")
                view = view_block(place, self._map)
            except ValueError as error:
                raise StoreError(
                    f"{self.path}: damaged: block {number}, with rows of clip {id!r}, is {error}"
                ) from error
            self._views[number] = view
        return view


def check_not_foreign(path: Path, index: Index) -> None:
    """Refuses an LMDB file without our header that contains keys of another program.

    Raises:
        StoreError: it is another program's file.
    """
    for key in index.keys(b""):
        if not (key.startswith(BLOCK) and len(key) == 9):
            raise StoreError(f"{path}: an LMDB file, but not a cache of egotools (it has a key {key[:20]!r})")


def _clip_key(id: str) -> bytes:
    return CLIP + id.encode(errors="surrogatepass")
