"""The live cache: one LMDB file, written in durable commits beside any number of readers. See `lmdb_layout.py`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from egotools.errors import StoreError
from egotools.stores.lmdb_environment import explained, lease
from egotools.stores.lmdb_layout import BLOCK, CLIP, DTYPES, HEADER, Record, unpack_record, view_block
from egotools.stores.source import Source
from egotools.stores.store import (
    Recipe,
    StoredClip,
    check_is_file,
    copy_rows,
    read_header,
)
from egotools.types import FloatArray, Rows


class LMDBStore:
    """An LMDB cache as it was when it was opened; what a writer commits later is seen by opening it again.

    May be used from several threads, after a fork, and pickled.

    Raises:
        StoreError: no such cache, not a cache, cut short, or nothing was committed yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_is_file(path)
        self._guard = threading.Lock()
        self._begin()
        with explained(path), self._guard:
            text = self._transaction.get(HEADER)
        if text is None:
            check_not_foreign(path, self._transaction)
            raise StoreError(
                f"{path}: nothing was committed to this cache yet; run what makes it (again), or delete it"
            )
        header = read_header(path, bytes(text))
        self.recipe = Recipe(header["identity"], header["origin"])
        self.dtype = DTYPES[header["dtype"] or "float32"]
        self.width = int(header["width"])
        self.rows = int(header["rows"])
        self._clips = int(header["clips"])
        self.blocks = int(header["blocks"])

    def _begin(self) -> None:
        self._lease = lease(self.path)
        with explained(self.path):
            self._transaction = self._lease.environment.begin(buffers=True)  # kept: it holds this state of the file
        self._process = os.getpid()
        self._views: dict[int, FloatArray] = {}  # of blocks that were read; a few hundred bytes for 4 MiB each

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)

    def __len__(self) -> int:
        return self._clips

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._value(id) is not None

    def __iter__(self) -> Iterator[str]:
        with explained(self.path):
            for key in keys(self._transaction, CLIP):
                yield key[1:].decode()

    def __getitem__(self, id: str) -> Rows:
        return copy_rows(self.stored(id), self)

    def stored(self, id: str) -> StoredClip:
        """The rows of a clip as they lie in the file, not copied."""
        record = self._record(id)
        views = [self._block(block)[first : first + count] for block, first, count in record.segments]
        if sum(map(len, views)) != len(record.times) or any(view.shape[1] != self.width for view in views):
            raise StoreError(f"{self.path}: damaged: clip {id!r} has not the rows that were written")
        return StoredClip(views, record.times, record.checksum)

    def source(self, id: str) -> Source:
        """Where the rows of a clip came from."""
        return Source.from_json(self._record(id).source)

    def blocks_of(self, id: str) -> list[int]:
        """The numbers of the blocks that hold the rows of a clip."""
        return [block for block, _, _ in self._record(id).segments]

    def orphans(self) -> int:
        """How many blocks belong to no clip: left by an interrupted pass, dropped by the next, or being written."""
        with self._guard, explained(self.path):
            entries: int = self._transaction.stat(self._lease.environment.open_db(None))["entries"]
        return entries - 1 - self._clips - self.blocks

    def _value(self, id: str) -> memoryview | None:
        if os.getpid() != self._process:  # a forked child: the parent's environment is not ours to use
            self._begin()
        key = CLIP + id.encode(errors="surrogatepass")
        if len(key) > 511:
            return None
        with self._guard, explained(self.path):
            value: memoryview | None = self._transaction.get(key)
        return value

    def _record(self, id: str) -> Record:
        value = self._value(id)
        if value is None:
            raise KeyError(f"{self.path}: no clip {id!r}")
        try:
            return unpack_record(value)
        except ValueError as error:
            raise StoreError(f"{self.path}: damaged: the record of clip {id!r} is not what was written") from error

    def _block(self, number: int) -> FloatArray:
        view = self._views.get(number)
        if view is None:
            with self._guard, explained(self.path):
                view = view_block(self._lease, self._transaction, number)
            self._views[number] = view
        return view


def check_not_foreign(path: Path, transaction: lmdb.Transaction) -> None:
    """Refuses an LMDB file that has no header of ours but holds what we never write without one.

    Raises:
        StoreError: another program's file.
    """
    for key in keys(transaction, b""):
        if not (key.startswith(BLOCK) and len(key) == 9):
            raise StoreError(f"{path}: an LMDB file, but not a cache of egotools (it has a key {key[:20]!r})")


def keys(transaction: lmdb.Transaction, prefix: bytes) -> Iterator[bytes]:
    """The keys that begin with `prefix`, sorted."""
    cursor = transaction.cursor()
    if cursor.set_range(prefix) if prefix else cursor.first():
        for key in cursor.iternext(keys=True, values=False):
            if not bytes(key).startswith(prefix):
                return
            yield bytes(key)
