"""Features and labels in memory, row by row, joined by id.

Axes: N rows, D features, T rows of one clip in its cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from egotools.config import digest, file_digest
from egotools.errors import TableError
from egotools.manifests import read_manifest
from egotools.stores.opening import open_store
from egotools.stores.store import Store, StoredClip, read_rows
from egotools.types import Clip, IntArray

Reduce = Literal["mean", "mean+std"]
Texts = npt.NDArray[np.str_]
Mask = npt.NDArray[np.bool_]

SAME_TIME = 1e-3  # seconds; containers round time stamps to their own ticks
NAMED = 3  # clips that a remark names


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of features with what the manifest says of their clips."""

    ids: Texts  # [N]; several rows of one id where clips were not reduced
    values: npt.NDArray[np.float32]  # [N, D]
    times: npt.NDArray[np.float64]  # [N, 2] seconds of the file
    labels: Mapping[str, Texts]  # by manifest column, each [N]; empty text where a clip has none
    split: Texts  # [N]
    remarks: tuple[str, ...] = ()  # what was left out, counted and named

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def groups(self) -> Texts:
        """The clip of each row: rows of one clip are never on both sides of a comparison."""
        return self.ids

    def column(self, name: str) -> Texts:
        """A label column.

        Raises:
            TableError: the manifest has no such column.
        """
        if name not in self.labels:
            columns = ", ".join(self.labels) or "none"
            raise TableError(f"the manifest has no column {name!r}; its label columns are: {columns}")
        return self.labels[name]

    def labeled(self, name: str) -> Table:
        """The rows whose label in a column is not empty; the others are counted among the remarks."""
        has = self.column(name) != ""
        if not has.any():
            raise TableError(f"no clip with features has a label in the column {name!r}")
        if has.all():
            return self
        left = _named(sorted(set(self.ids[~has].tolist())), f"with an empty {name!r} left out")
        return replace(self.only(has), remarks=(*self.remarks, left))

    def only(self, rows: Mask) -> Table:
        """The rows of a mask [N]."""
        return Table(
            self.ids[rows],
            self.values[rows],
            self.times[rows],
            {name: column[rows] for name, column in self.labels.items()},
            self.split[rows],
            self.remarks,
        )


def read_table(
    manifest: Path, caches: Sequence[Path], *, reduce: Reduce | None = "mean", split: str | None = None
) -> Table:
    """The features of a manifest's clips, from one or several caches joined by id and concatenated.

    Args:
        manifest: which clips, in which order.
        caches: their features are concatenated along D in this order.
        reduce: one row a clip, "mean" [D] or "mean+std" [2 D] over its windows; None: one row a window.
        split: only the clips of this split are read; None: all.

    Raises:
        TableError: no clip is in every cache, features that are not finite, times that differ.
    """
    if not caches:
        raise ValueError("a table needs at least one cache")
    stores = [open_store(path) for path in caches]
    wanted = [clip for clip in read_manifest(manifest) if split is None or clip.split == split]
    if not wanted:
        raise TableError(f"{manifest}: " + ("no clips" if split is None else f"no clip is in the split {split!r}"))
    clips, remarks = _present(wanted, stores, manifest)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused by name below
        parts = [_read(store, [clip.id for clip in clips], reduce) for store in stores]
    first = parts[0]
    for path, part in zip(caches[1:], parts[1:], strict=True):
        if reduce is None:
            _check_same_times(clips, caches[0], first, path, part)
    values = first.values if len(parts) == 1 else np.concatenate([part.values for part in parts], axis=1)
    table = _table(clips, _Part(values, first.counts, first.times), remarks)
    broken = list(dict.fromkeys(table.ids[~np.isfinite(values).all(axis=1)].tolist()))
    if broken:
        raise TableError(
            f"{_paths(caches)}: {_named(broken, 'with NaN or infinite features')}; "
            "extract these again, or take them out of the manifest"
        )
    return table


def manifest_digest(manifest: Path) -> str:
    """The digest of a manifest's content.

    Raises:
        TableError: there is none, or it cannot be read.
    """
    try:
        return file_digest(manifest)
    except OSError as error:
        raise TableError(f"{manifest}: cannot be read as a manifest: {error.strerror}") from error


def input_digests(manifest: Path, caches: Sequence[Path]) -> dict[str, Any]:
    """What a result was computed from, JSON-ready (hence Any): digests of the manifest and of the caches' recipes."""
    return {
        "manifest": {"path": str(manifest), "digest": manifest_digest(manifest)},
        "features": [{"path": str(path), "recipe": digest(open_store(path).recipe.identity)} for path in caches],
    }


def _present(clips: Sequence[Clip], stores: Sequence[Store], manifest: Path) -> tuple[list[Clip], tuple[str, ...]]:
    """The clips that every store has rows of, and remarks on the others."""
    remarks = []
    for store in stores:
        missing = [clip.id for clip in clips if clip.id not in store]
        if len(missing) == len(clips):
            example = next(iter(store), None)
            has = f"its ids are like {example!r}" if example else "it is empty"
            raise TableError(
                f"{store.path} has none of the {len(clips)} clips of {manifest}: {has}; "
                "were they made from the same manifest?"
            )
        if missing:
            remarks.append(_named(missing, f"missing in {store.path} left out"))
    kept = [clip for clip in clips if all(clip.id in store for store in stores)]
    if not kept:
        raise TableError(f"no clip of {manifest} is in every one of {_paths([store.path for store in stores])}")
    empty = {clip.id for clip in kept if any(len(store.stored(clip.id)) == 0 for store in stores)}
    if len(empty) == len(kept):
        caches = _paths([store.path for store in stores])
        raise TableError(f"{manifest}: all {len(empty)} clips in {caches} have no rows")
    if empty:
        kept = [clip for clip in kept if clip.id not in empty]
        remarks.append(_named(sorted(empty), "without any row left out"))
    return kept, tuple(remarks)


@dataclass(frozen=True, eq=False)
class _Part:
    """What one cache has of the clips, in their order."""

    values: npt.NDArray[np.float32]  # [N, D]
    counts: IntArray  # rows of each clip
    times: npt.NDArray[np.float64]  # [N, 2]


def _read(store: Store, ids: Sequence[str], reduce: Reduce | None) -> _Part:
    """The rows of the clips, or one row for each: then no more than one clip is in memory unreduced."""
    if reduce is None:
        values, counts, times = read_rows(store, ids)
        return _Part(values.astype(np.float32, copy=False), counts, times)
    clips = [store.stored(id) for id in ids]  # not read yet
    first_rows = np.cumsum([0, *(len(clip) for clip in clips[:-1])])
    times = np.concatenate([clip.times for clip in clips])
    spans = np.minimum.reduceat(times[:, 0], first_rows), np.maximum.reduceat(times[:, 1], first_rows)
    values = np.array([_reduced(clip, reduce) for clip in clips])
    return _Part(values, np.ones(len(ids), np.int64), np.stack(spans, axis=1))


def _reduced(clip: StoredClip, reduce: Reduce) -> npt.NDArray[np.float32]:
    """The mean of a clip's rows [D], or mean and deviation [2 D]; summed in float64."""
    mean: npt.NDArray[np.float64] = sum(view.sum(axis=0, dtype=np.float64) for view in clip.views) / len(clip)
    if reduce == "mean":
        return mean.astype(np.float32)
    squares = sum(np.square(piece.values - mean).sum(axis=0) for piece in clip.pieces())
    return np.concatenate([mean, np.sqrt(squares / len(clip))]).astype(np.float32)


def _check_same_times(clips: Sequence[Clip], path: Path, part: _Part, other_path: Path, other: _Part) -> None:
    """Refuses to join windows that are not the same.

    Raises:
        TableError: names the first clip whose windows differ.
    """
    differs = part.counts != other.counts
    if not differs.any():
        late = (np.abs(part.times - other.times) > SAME_TIME).any(axis=1)
        differs[np.repeat(np.arange(len(clips)), part.counts)[late]] = True
    if differs.any():
        index = int(differs.argmax())
        raise TableError(
            f"clip {clips[index].id!r} has {part.counts[index]} rows in {path} and {other.counts[index]} rows in "
            f"{other_path}, of other times: only reduced clips (--reduce mean) can be joined"
        )


def _table(clips: Sequence[Clip], part: _Part, remarks: tuple[str, ...]) -> Table:
    """Rows with what the manifest says of their clips."""
    columns = dict.fromkeys(name for clip in clips for name in clip.labels)
    return Table(
        _texts([clip.id for clip in clips], part.counts),
        part.values,
        part.times,
        {name: _texts([clip.labels.get(name, "") for clip in clips], part.counts) for name in columns},
        _texts([clip.split for clip in clips], part.counts),
        remarks,
    )


def _texts(texts: Sequence[str], rows: IntArray) -> Texts:
    """The text of each clip, once for each of its rows."""
    return np.repeat(np.array(texts, dtype=np.str_), rows)


def _named(ids: Sequence[str], what: str) -> str:
    """A count and the first few clips: "2 clips missing in x.lmdb left out: 'a', 'b'"."""
    shown = ", ".join(map(repr, ids[:NAMED]))
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{len(ids)} {'clip' if len(ids) == 1 else 'clips'} {what}: {shown}{more}"


def _paths(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)
