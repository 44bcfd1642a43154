"""Writes live caches: rows are packed into blocks, and clips appear in durable commits."""

import json
import os
import time
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lmdb
import numpy as np
import numpy.typing as npt

from egotools.config import digest, to_json
from egotools.errors import StoreError
from egotools.stores.copying import sync_folder
from egotools.stores.header import DTYPES, Header
from egotools.stores.lmdb_environment import explained, lmdb_lock_file, open_environment
from egotools.stores.lmdb_index import KEEPS, Index
from egotools.stores.lmdb_layout import BLOCK, CLIP, HEADER, Record, block_key, pack_block, pack_record, rows_per_block
from egotools.stores.lmdb_pages import check_free_pages, check_magic
from egotools.stores.lmdb_pieces import OpenClip, blocks_twice, taken_up
from egotools.stores.lmdb_store import LMDBStore, check_not_foreign
from egotools.stores.source import Source
from egotools.stores.store import Recipe, check_same_recipe, key_of, make_folder_of, open_cache_file
from egotools.stores.unfinished import Begun, Unfinished
from egotools.stores.writer_lock import WriterLock
from egotools.texts import composed, uncomposed
from egotools.types import Rows

FIRST_PAGES = 8192  # bytes that LMDB starts a file with; a shorter file was cut off there, and is empty
FLUSH = 32 << 20  # bytes of blocks to collect in memory before a transaction
KEEP_SECONDS = 5.0  # how long pages that readers may be copying are not reused; costs a few hundred kB
NONE: Mapping[str, Begun] = MappingProxyType({})


class LMDBWriter:
    """Writes an LMDB cache; any number of clips may be open at once. Not thread-safe.

    No transaction that writes outlives a call: nobody ever waits for this writer.

    Raises:
        RecipeError: the existing cache has another recipe.
        StoreError: another process is writing it, or the path is not a cache.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path = path
        self._file = Path(os.path.realpath(path))
        if path.is_dir():
            raise StoreError(f"{path}: a folder, not a cache")
        if path.is_symlink() and not (path.exists() and path.stat().st_size >= FIRST_PAGES):
            raise StoreError(f"{path}: a link to {self._file}, which is not a cache; remove the link")
        make_folder_of(self._file)
        self._recipe = recipe
        self._identity = digest(json.loads(to_json(recipe.identity, exact=True)))  # as readers see it
        self._shape: tuple[np.dtype[Any], int] | None = None
        self._counts = {"clips": 0, "rows": 0, "blocks": 0}  # committed
        self._next = 0  # index of the next block
        self._clips: dict[str, OpenClip] = {}
        self._earlier: dict[str, Unfinished] = {}  # left by earlier writers
        self._packed = bytearray()  # the last rows of finished clips, for a shared block
        self._uncomposed: dict[str, str] = {}  # ids stored in another Unicode form
        self._pieces: dict[str, list[bytes]] = {}  # the keys of their pieces
        self._finished: dict[str, Record] = {}  # records for the next commit
        self._blocks: dict[int, bytes] = {}  # not written yet
        self._dropped: list[bytes] = []  # keys that are on disk, and no longer needed
        self._replaced: list[bytes] = []  # the same, once the finished clips are committed
        self._looking: lmdb.Transaction | None = None  # in which clips are looked up, until the next one that writes
        self._kept: lmdb.Transaction | None = None  # keeps the pages of an earlier transaction
        self._kept_since = 0.0
        self._opened: lmdb.Environment | None = None
        self._lock: WriterLock | None = WriterLock(self._file)
        try:
            self._exists = self._go_on()
        except BaseException:
            self._close_environment()
            self._lock.release()
            raise

    def _go_on(self) -> bool:
        """Opens the existing file, or creates it; returns whether anything was ever committed."""
        if not self._file.exists() or self._file.stat().st_size < FIRST_PAGES:
            self._check_begun()
            self.discard()  # and the lock file of a deleted cache, which must not be reused
            try:
                self._opened = open_environment(self._file)
            except StoreError:
                self.discard()
                raise
            return False
        with open_cache_file(self.path) as file:  # LMDB trusts all numbers in it, so they are checked first
            index = Index(file.fileno(), self.path)
            check_free_pages(file.fileno(), self.path)
        exists, numbers = HEADER in index, {_number(key) for key in index.keys(BLOCK)}
        self._next = max(numbers, default=-1) + 1
        if exists:
            store = LMDBStore(self.path)
            self._take_up(store)
            used, torn = self._used_blocks(store, numbers)
        else:
            check_not_foreign(self.path, index)
            used, torn = set(), []
        self._uncomposed = uncomposed(key[1:].decode(errors="surrogateescape") for key in index.keys(CLIP))
        self._opened = open_environment(self._file)
        with explained(self.path):
            self._opened.reader_check()  # clears readers that were killed
        self._dropped = [*map(block_key, sorted(numbers - used)), *torn]
        if self._dropped:
            self._write()
        return exists

    def _check_begun(self) -> None:
        """Refuses a short file that is not the beginning of an LMDB file."""
        if self._file.exists() and self._file.stat().st_size:
            with open_cache_file(self.path) as file:
                check_magic(file.read(20), self.path)

    def _take_up(self, store: LMDBStore) -> None:
        if len(store) or store.unfinished:
            check_same_recipe(self.path, store.recipe, self._recipe)
            self._counts = {"clips": len(store), "rows": store.rows, "blocks": store.blocks}
            if store.width:
                self._shape = store.dtype, store.width

    def _used_blocks(self, store: LMDBStore, numbers: set[int]) -> tuple[set[int], list[bytes]]:
        """Of the blocks those that belong to a clip, finished or not; and the keys of pieces that make no clip."""
        if len(numbers) <= store.blocks and not store.piece_keys:
            return numbers, []
        used = {block for id in store for block in store.blocks_of(id)}
        wrong = blocks_twice({id: clip.blocks for id, clip in store.unfinished.items()}, used)
        self._earlier = {id: clip for id, clip in store.unfinished.items() if id not in wrong}
        torn = [key for id, keys in store.piece_keys.items() if id not in self._earlier for key in keys]
        self._pieces = {id: store.piece_keys[id] for id in self._earlier}
        return used.union(*(clip.blocks for clip in self._earlier.values())), torn

    @property
    def _environment(self) -> lmdb.Environment:
        if self._opened is None:
            raise ValueError(f"the writer of {self.path} is closed")
        return self._opened

    def __enter__(self) -> "LMDBWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __contains__(self, id: object) -> bool:
        if not isinstance(id, str):
            return False
        same = composed(id)  # an older egotools may have stored it in another form
        return self._has(id) or same in self._uncomposed or (same != id and self._has(same))

    def _has(self, id: str) -> bool:
        if id in self._finished:
            return True
        with explained(self.path):
            self._looking = self._looking or self._environment.begin()
            return self._looking.get(CLIP + key_of(id)) is not None

    def _end_looking(self) -> None:
        if self._looking is not None:
            self._looking.abort()
            self._looking = None

    def expect(self, dtype: np.dtype[Any], width: int) -> None:
        """Sets the dtype and width of rows, if they are known from elsewhere."""
        self._shape = self._shape or (dtype, width)

    def append(self, id: str, rows: Rows) -> None:
        """Appends rows to a clip that is not finished; they may reach the disk, but are not visible to readers."""
        if id not in self._clips:
            self._check_new(id)
            self._drop_earlier(id)
        values = self._checked(id, rows)
        clip = self._clips.setdefault(id, OpenClip())
        if not len(values):
            return
        clip.add(values, rows.times)
        row, most = values[:1].nbytes, rows_per_block(values.shape[1], values.dtype)
        while len(clip.waiting) >= most * row:
            self._next += 1
            self._add_block(self._next - 1, clip.cut(self._next - 1, most, row))

    def _check_new(self, id: str) -> None:
        key_of(id)
        if self._has(id):
            raise ValueError(f"clip {id!r} is already in {self.path}")

    def _checked(self, id: str, rows: Rows) -> npt.NDArray[Any]:
        """The values as they are stored; the first ones determine dtype and width."""
        (name, dtype), width = _name_and_dtype(rows.values.dtype), rows.values.shape[1]
        if dtype is None:
            raise StoreError(f"{self.path}: clip {id!r} has {name} rows; a cache holds {' or '.join(DTYPES)}")
        if len(rows.values):
            if not width:
                raise StoreError(f"{self.path}: clip {id!r} has rows without features")
            self._shape = self._shape or (dtype, width)
            if self._shape != (dtype, width):
                dtype, there = self._shape
                raise StoreError(
                    f"{self.path}: clip {id!r} has {name} rows of {width} features,"
                    f" but the cache has {dtype.name} rows of {there}"
                )
        values: npt.NDArray[Any] = np.ascontiguousarray(rows.values, dtype)
        return values

    def _add_block(self, number: int, rows: bytearray) -> None:
        assert self._shape is not None  # there are rows
        dtype, width = self._shape
        self._blocks[number] = pack_block(rows, width, dtype)
        if sum(map(len, self._blocks.values())) >= FLUSH:
            self._write()

    def finish(self, id: str, source: Source) -> None:
        """Marks a clip as complete; it exists from the next commit on."""
        clip = self._clips.pop(id, None)
        if clip is None:
            self._check_new(id)
            self._drop_earlier(id)
            clip = OpenClip()
        self._replaced += clip.keys(id)
        times = clip.all_times()
        if clip.waiting:
            clip.segments.append(self._pack(clip.waiting))
        checksum = zlib.crc32(times.data, clip.checksum)
        self._finished[id] = Record(clip.segments, times, checksum, _json_of(source))

    def _pack(self, rows: bytearray) -> tuple[int, int, int]:
        """Adds the last rows of a clip to the shared block."""
        assert self._shape is not None  # there are rows
        dtype, width = self._shape
        row = width * dtype.itemsize
        if len(self._packed) + len(rows) > rows_per_block(width, dtype) * row:
            self._end_packed()
        if not self._packed:
            self._packed_number, self._next = self._next, self._next + 1
        segment = self._packed_number, len(self._packed) // row, len(rows) // row
        self._packed += rows
        return segment

    def drop(self, id: str) -> None:
        """Discards the rows of a clip that is not finished."""
        self._drop_earlier(id)
        clip = self._clips.pop(id, None)
        if clip is not None:
            self._dropped += clip.keys(id)
            self._dropped += [block_key(it) for it, _, _ in clip.segments if self._blocks.pop(it, None) is None]

    def _drop_earlier(self, id: str) -> None:
        if (earlier := self._earlier.pop(id, None)) is not None:
            self._dropped += [*self._pieces[id], *map(block_key, earlier.blocks)]

    @property
    def unfinished(self) -> Mapping[str, Unfinished]:
        """The clips of which earlier writers have left rows, and that were neither resumed nor dropped since."""
        return MappingProxyType(self._earlier)

    @property
    def holds_unfinished(self) -> bool:
        """Whether rows of unfinished clips are on disk."""
        return bool(self._earlier) or any(clip.rows_saved for clip in self._clips.values())

    def resume(self, id: str) -> npt.NDArray[np.float64]:
        """Takes up an unfinished clip, after comparing all its checksums; see `Writer.resume`."""
        try:
            clip = taken_up(LMDBStore(self.path).pieces_of(id))
        except StoreError:
            self._drop_earlier(id)
            return np.empty((0, 2))
        del self._earlier[id]
        self._clips[id] = clip
        return clip.all_times()

    def commit(self, unfinished: Mapping[str, Begun] = NONE) -> None:
        """Makes the finished clips durable and visible, all of them or none; and the rows of `unfinished` ones durable.

        What each commit writes of an unfinished clip is what is new since the last: see `lmdb_pieces.py`.
        """
        pieces: dict[bytes, bytes] = {}
        replaced: list[bytes] = []
        opened = [id for id in unfinished if id in self._clips]
        if self._shape is not None:
            for id in opened:
                text = unfinished[id].to_json(self._identity).encode()
                found, others = self._clips[id].unsaved(id, text, *self._shape)
                pieces.update(found)
                replaced += others
        if self._finished or self._dropped or pieces:
            self._commit(pieces, replaced)
            for id in opened:
                self._clips[id].saved()

    def seal(self) -> None:
        """Commits; from then on the cache exists even without clips."""
        if self._finished or self._dropped or not self._exists:
            self._commit()

    def _end_packed(self) -> None:
        if self._packed:
            rows, self._packed = self._packed, bytearray()
            self._add_block(self._packed_number, rows)

    def _commit(self, pieces: Mapping[bytes, bytes] = MappingProxyType({}), replaced: Collection[bytes] = ()) -> None:
        self._end_packed()
        used = {block for record in self._finished.values() for block, _, _ in record.segments}
        counts = {
            "clips": self._counts["clips"] + len(self._finished),
            "rows": self._counts["rows"] + sum(len(record.times) for record in self._finished.values()),
            "blocks": self._counts["blocks"] + len(used),
        }
        dtype, width = self._shape if self._shape else (None, 0)
        header = Header(self._recipe, dtype, width, **counts, committed=int(time.time()))
        records = {CLIP + key_of(name): pack_record(record) for name, record in self._finished.items()}
        text = to_json(header.to_json_value(), indent=None, exact=True).encode()
        self._write({HEADER: text, **pieces, **records}, [*replaced, *self._replaced])
        if not self._exists:
            sync_folder(self._file.parent)
        self._counts, self._finished, self._replaced, self._exists = counts, {}, [], True
        self._keep_pages()

    def _keep_pages(self) -> None:
        """Lets readers that are copying the index finish, as they hold no lock: see `lmdb_index.py`."""
        assert self._lock is not None  # the writer is not closed
        if self._kept is not None and time.monotonic() - self._kept_since < KEEP_SECONDS:
            return
        with explained(self.path):
            kept = self._environment.begin()
        with suppress(OSError):  # on a full disk readers do not see it, and read again
            self._lock.say(f"{KEEPS} {kept.id()} {kept.id()}")  # before older pages are released
        if self._kept is not None:
            self._kept.abort()
        self._kept, self._kept_since = kept, time.monotonic()

    def _write(self, records: Mapping[bytes, bytes] = MappingProxyType({}), replaced: Collection[bytes] = ()) -> None:
        """One durable transaction: the pending blocks, and `records`. If it fails, nothing of it is on disk."""
        self._end_looking()
        with explained(self.path), self._environment.begin(write=True) as transaction:
            for key in (*self._dropped, *replaced):
                transaction.delete(key)
            for number, block in self._blocks.items():
                transaction.put(block_key(number), block)
            for key, value in records.items():
                transaction.put(key, value)
        if self._dropped or replaced:
            self._fill_up()
        self._blocks, self._dropped = {}, []

    def _fill_up(self) -> None:
        """Extends the file to the size of its pages: LMDB does not write freed pages at its end."""
        with explained(self.path), self._file.open("r+b") as file:
            pages = self._environment.info()["last_pgno"] + 1
            length = pages * self._environment.stat()["psize"]
            if file.seek(0, os.SEEK_END) < length:
                file.truncate(length)

    def close(self) -> None:
        """Ends writing and releases the lock; rows that were not committed are lost."""
        self._close_environment()
        if self._lock is None:
            return
        if not self._exists:
            self.discard()
        self._lock.release()
        self._lock = None

    def _close_environment(self) -> None:
        self._end_looking()
        if self._kept is not None:
            self._kept.abort()
        if self._opened is not None:
            self._opened.close()
        self._kept = self._opened = None

    def discard(self) -> None:
        """Removes the file: for a cache without commits, or one published elsewhere."""
        self._file.unlink(missing_ok=True)
        lmdb_lock_file(self._file).unlink(missing_ok=True)


@cache
def _name_and_dtype(dtype: np.dtype[Any]) -> tuple[str, np.dtype[Any] | None]:
    """The name of the dtype of some rows, and the one that they are stored in; NumPy makes the name anew each time."""
    return dtype.name, DTYPES.get(dtype.name)


@lru_cache(maxsize=1)
def _json_of(source: Source) -> bytes:
    """The text of a source, which many imported clips share."""
    return source.to_json().encode()


def _number(key: bytes) -> int:
    return int.from_bytes(key[1:], "big")
