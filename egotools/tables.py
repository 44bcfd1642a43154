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
from egotools.stores.store import Store
from egotools.types import Clip, Rows

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


def read_table(manifest: Path, caches: Sequence[Path], *, reduce: Reduce | None = "mean") -> Table:
    """The features of a manifest's clips, from one or several caches joined by id and concatenated.

    Args:
        manifest: which clips, in which order.
        caches: their features are concatenated along D in this order.
        reduce: one row a clip, "mean" [D] or "mean+std" [2 D] over its windows; None: one row a window.

    Raises:
        TableError: no clip is in every cache, features that are not finite, times that differ.
    """
    if not caches:
        raise ValueError("a table needs at least one cache")
    stores = [open_store(path) for path in caches]
    clips, remarks = _present(read_manifest(manifest), stores, manifest)
    parts: list[Rows] = []
    kept: list[Clip] = []
    empty: list[str] = []
    for clip in clips:
        pieces = [store[clip.id] for store in stores]
        if any(len(piece.values) == 0 for piece in pieces):
            empty.append(clip.id)
            continue
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused by name below
            parts.append(_joined(clip.id, pieces, caches, reduce))
        kept.append(clip)
    if not kept:
        raise TableError(f"{manifest}: all {len(empty)} clips in {_paths(caches)} have no rows")
    if empty:
        remarks = (*remarks, _named(empty, "without any row left out"))
    return _table(kept, parts, caches, remarks)


def input_digests(manifest: Path, caches: Sequence[Path]) -> dict[str, Any]:
    """What a result was computed from, JSON-ready (hence Any): digests of the manifest and of the caches' recipes."""
    return {
        "manifest": {"path": str(manifest), "digest": file_digest(manifest)},
        "features": [{"path": str(path), "recipe": digest(open_store(path).recipe.identity)} for path in caches],
    }


def _present(clips: Sequence[Clip], stores: Sequence[Store], manifest: Path) -> tuple[list[Clip], tuple[str, ...]]:
    """The clips that every store has, and remarks on the others."""
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
    return kept, tuple(remarks)


def _joined(id: str, pieces: Sequence[Rows], caches: Sequence[Path], reduce: Reduce | None) -> Rows:
    """The rows of one clip from all caches: [1, D] when reduced, else [T, D]."""
    first = pieces[0].times
    if reduce is None:
        for path, piece in zip(caches[1:], pieces[1:], strict=True):
            if piece.times.shape != first.shape or not np.allclose(piece.times, first, rtol=0, atol=SAME_TIME):
                raise TableError(
                    f"clip {id!r} has {len(first)} rows in {caches[0]} and {len(piece.times)} rows in {path}, "
                    "of other times: only reduced clips (--reduce mean) can be joined"
                )
        return Rows(np.concatenate([piece.values.astype(np.float32) for piece in pieces], axis=1), first)
    means = [piece.values.mean(axis=0, dtype=np.float64) for piece in pieces]
    if reduce == "mean+std":
        deviations = [piece.values.std(axis=0, dtype=np.float64) for piece in pieces]
        means = [half for pair in zip(means, deviations, strict=True) for half in pair]
    values = np.concatenate(means).astype(np.float32)
    return Rows(values[None], np.array([[first[:, 0].min(), first[:, 1].max()]]))


def _table(clips: Sequence[Clip], parts: Sequence[Rows], caches: Sequence[Path], remarks: tuple[str, ...]) -> Table:
    """One table from the rows of each clip.

    Raises:
        TableError: values that are not finite.
    """
    broken = [clip.id for clip, part in zip(clips, parts, strict=True) if not np.isfinite(part.values).all()]
    if broken:
        raise TableError(
            f"{_paths(caches)}: {_named(broken, 'with NaN or infinite features')}; "
            "extract these again, or take them out of the manifest"
        )
    rows = [len(part.values) for part in parts]
    columns = dict.fromkeys(name for clip in clips for name in clip.labels)
    return Table(
        _texts([clip.id for clip in clips], rows),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.times for part in parts]),
        {name: _texts([clip.labels.get(name, "") for clip in clips], rows) for name in columns},
        _texts([clip.split for clip in clips], rows),
        remarks,
    )


def _texts(texts: Sequence[str], rows: Sequence[int]) -> Texts:
    """The text of each clip, once for each of its rows."""
    return np.repeat(np.array(texts, dtype=np.str_), rows)


def _named(ids: Sequence[str], what: str) -> str:
    """A count and the first few clips: "2 clips missing in x.lmdb left out: 'a', 'b'"."""
    shown = ", ".join(map(repr, ids[:NAMED]))
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{len(ids)} {'clip' if len(ids) == 1 else 'clips'} {what}: {shown}{more}"


def _paths(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)
