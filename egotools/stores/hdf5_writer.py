"""Writes sealed caches: rows are collected in an LMDB next to it, then written to a new file and renamed."""

import errno
import io
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from egotools.config import to_json
from egotools.errors import StoreError
from egotools.files.disk import remove
from egotools.progress import Progress, no_progress
from egotools.stores.copying import check_space, copied_pieces, sync_folder
from egotools.stores.hdf5_store import HDF5Store
from egotools.stores.header import Header
from egotools.stores.lmdb_store import LMDBStore
from egotools.stores.lmdb_writer import NONE, LMDBWriter
from egotools.stores.source import Source
from egotools.stores.store import Recipe, Store, check_same_recipe, key_of, part_of
from egotools.stores.unfinished import Begun, Unfinished
from egotools.types import Rows

ALIGNMENT = 64  # bytes: suits vector instructions
BYTES_PER_CLIP = 1500  # overhead of HDF5 and the index; a generous guess


class HDF5Writer:
    """Collects clips in `<path>.part`, an LMDB cache; `seal` publishes them, with those of an existing cache.

    Raises:
        RecipeError: an existing cache, or an interrupted pass, has another recipe.
        StoreError: another process is writing it, or the path is not a cache.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path = path
        if part_of(path).is_symlink():
            raise StoreError(f"{path} cannot be written: {part_of(path)} is a link; remove it")
        self._part = LMDBWriter(part_of(path), recipe)
        try:
            self._sealed = HDF5Store(path) if path.exists() else None
            if self._sealed is not None and len(self._sealed):
                check_same_recipe(path, self._sealed.recipe, recipe)
            if self._sealed is not None and self._sealed.rows:
                self._part.expect(self._sealed.dtype, self._sealed.width)
        except BaseException:
            self._part.close()
            raise

    def __enter__(self) -> "HDF5Writer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __contains__(self, id: object) -> bool:
        return (self._sealed is not None and id in self._sealed) or id in self._part

    def append(self, id: str, rows: Rows) -> None:
        """Appends rows to a clip that is not finished."""
        self._check_new(id)
        self._part.append(id, rows)

    def finish(self, id: str, source: Source) -> None:
        """Marks a clip as complete; the next commit keeps it, and `seal` publishes it."""
        self._check_new(id)
        self._part.finish(id, source)

    def _check_new(self, id: str) -> None:
        if self._sealed is not None and id in self._sealed:
            raise ValueError(f"clip {id!r} is already in {self.path}")

    def drop(self, id: str) -> None:
        """Discards the rows of a clip that is not finished."""
        self._part.drop(id)

    @property
    def unfinished(self) -> Mapping[str, Unfinished]:
        """The clips of which the part has rows, and that were neither resumed nor dropped since."""
        return self._part.unfinished

    def resume(self, id: str) -> npt.NDArray[np.float64]:
        """Takes up an unfinished clip; see `Writer.resume`."""
        return self._part.resume(id)

    def commit(self, unfinished: Mapping[str, Begun] = NONE) -> None:
        """Makes clips durable in the part, from which an interrupted pass resumes; see `Writer.commit`."""
        self._part.commit(unfinished)

    def seal(self) -> None:
        """Writes a new file with all clips, syncs it, renames it, and removes the part.

        The part stays if it holds unfinished clips: this pass was not asked for them, or could not reach their files.
        """
        self._part.seal()
        part = LMDBStore(self._part.path)
        stores: list[Store] = [part] if self._sealed is None else [self._sealed, part]
        if self._sealed is None or any(id_ not in self._sealed for id_ in part):
            publish_hdf5(self.path, part.recipe, every_clip(stores))
        self._sealed = HDF5Store(self.path)
        del part, stores
        if not self._part.holds_unfinished:
            self._part.discard()
        self._part.close()

    def close(self) -> None:
        """Ends writing and releases the lock; what was committed and not sealed is kept in the part."""
        self._part.close()


def every_clip(stores: Sequence[Store]) -> list[tuple[str, Store]]:
    """The clips of several caches, sorted by id; for an id in several of them, the first cache's."""
    found = {id_: store for store in reversed(stores) for id_ in store}
    return sorted(found.items(), key=lambda item: key_of(item[0]))


def publish_hdf5(
    path: Path,
    recipe: Recipe,
    clips: Sequence[tuple[str, Store]],
    *,
    dtype: np.dtype[Any] | None = None,
    progress: Progress = no_progress,
) -> None:
    """Writes a sealed cache to a temporary file and renames it to `path`: it is never visible half-written.

    Args:
        clips: each id and its cache, sorted by id.
        dtype: of the rows; that of the caches if None.

    Raises:
        StoreError: a clip is damaged, or the disk is full.
    """
    filled = next((store for _, store in clips if store.rows), None)
    width, dtype = (filled.width, dtype or filled.dtype) if filled is not None else (0, None)
    counts = np.array([len(store.stored(id_)) for id_, store in clips], np.int64)
    size = int(counts.sum()) * (width * (dtype.itemsize if dtype is not None else 0) + 16)
    check_space(path.parent, size + BYTES_PER_CLIP * len(clips))
    header = Header(recipe, dtype, width, len(clips), int(counts.sum())).to_json_value()
    aside = path.with_name(f".{path.name}.new")
    try:
        remove(aside)
        with _PatientFile(aside, "x+") as written:
            with h5py.File(written, "w", alignment_threshold=4096, alignment_interval=ALIGNMENT) as file:
                file.attrs["recipe"] = to_json(header, indent=None, exact=True)
                shape, tell = (dtype or np.dtype("<f4"), width), written.checked(progress)
                _write_clips(file, clips, counts, shape, lambda done: tell(f"sealing {path.name}", done, len(clips)))
            written.checked(no_progress)("", len(clips), len(clips))
            os.fsync(written.fileno())
        os.replace(aside, path)
        sync_folder(path.parent)
    except OSError as error:
        what = "disk full" if error.errno == errno.ENOSPC else "cannot be written"
        raise StoreError(
            f"{path}: {what}: {error}; what was committed is kept; free space and run the same command again"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


class _PatientFile(io.FileIO):
    """A file that defers its first error until `checked`: HDF5 crashes if a write fails under it."""

    _error: OSError | KeyboardInterrupt | None = None

    def write(self, data: Any) -> int:  # Any: any buffer
        rest = memoryview(data).cast("B")
        try:
            while len(rest) and self._error is None:
                rest = rest[super().write(rest) :]
        except (OSError, KeyboardInterrupt) as error:
            self._error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            if self._error is None:
                return super().truncate(size)
        except (OSError, KeyboardInterrupt) as error:
            self._error = error
        return size or 0

    def checked(self, progress: Progress) -> Progress:
        """Wraps `progress` to raise the deferred error, if there is one."""

        def check(stage: str, done: float, total: int, rows: int | None = None) -> None:
            if self._error is not None:
                raise self._error
            progress(stage, done, total, rows)

        return check


def _write_clips(
    file: Any,  # h5py has no types
    clips: Sequence[tuple[str, Store]],
    counts: np.ndarray[Any, np.dtype[np.int64]],
    shape: tuple[np.dtype[Any], int],
    tell: Callable[[int], None],
) -> None:
    dtype, width = shape
    group, layout = file.create_group("clips"), _contiguous()
    offsets, checksums = np.zeros(len(clips), np.int64), np.zeros(len(clips), np.uint32)
    times = [np.empty((0, 2))]  # in memory: 16 bytes per row, while a row itself has thousands
    for position, (id_, store) in enumerate(clips):
        space = h5py.h5s.create_simple((int(counts[position]), width))
        kind = h5py.h5t.py_create(dtype)
        dataset = h5py.h5d.create(group.id, str(position).encode(), kind, space, layout)
        pieces = copied_pieces(store, id_, dtype)
        checksum, clip_times = _write_rows(dataset, space, pieces)
        times.append(clip_times)
        offsets[position] = dataset.get_offset() or 0
        checksums[position] = zlib.crc32(clip_times.data, checksum)
        tell(position + 1)
    file.create_dataset("times", data=np.concatenate(times), dtype="<f8")
    index = file.create_group("index")
    index.create_dataset("rows", data=counts)
    index.create_dataset("offset", data=offsets)
    index.create_dataset("checksum", data=checksums)
    text, sources = h5py.string_dtype(), [store.source(id_).to_json() for id_, store in clips]
    index.create_dataset("id", data=[id_ for id_, _ in clips], shape=(len(clips),), dtype=text)
    index.create_dataset("source", data=sources, shape=(len(clips),), dtype=text)


def _write_rows(dataset: Any, space: Any, pieces: Iterable[Rows]) -> tuple[int, np.ndarray[Any, np.dtype[np.float64]]]:
    """Fills a dataset (low-level h5py: a third of the time for small clips); returns the CRC-32 and the times."""
    checksum, at, times = 0, 0, [np.empty((0, 2))]
    for piece in pieces:
        values = np.ascontiguousarray(piece.values)
        space.select_hyperslab((at, 0), values.shape)
        dataset.write(h5py.h5s.create_simple(values.shape), space, values)
        checksum = zlib.crc32(values.data, checksum)
        at += len(values)
        times.append(piece.times)
    return checksum, np.concatenate(times)


def _contiguous() -> Any:
    """A creation property list for datasets at a fixed place in the file, so that they can be mapped."""
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_layout(h5py.h5d.CONTIGUOUS)
    create.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    create.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    create.set_obj_track_times(False)
    return create
