"""Manifests of rows that have features only, and their caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from egotools.manifests.table import write_manifest
from egotools.stores import Recipe, Source, open_writer
from egotools.types import Clip, Rows


def write_table(
    path: Path, ids: Sequence[str], labels: Mapping[str, Sequence[object]], splits: Sequence[str] = ()
) -> Path:
    """A manifest of such rows."""
    splits = splits or [""] * len(ids)
    columns = {name: [str(value) for value in values] for name, values in labels.items()}
    write_manifest(
        path,
        [
            Clip(id, Path(), split=split, labels={name: values[row] for name, values in columns.items()})
            for row, (id, split) in enumerate(zip(ids, splits, strict=True))
        ],
    )
    return path


IMPORTED = Recipe({"imported": {"content": "x"}})


def write_cache(path: Path, ids: Sequence[str], values: np.ndarray, recipe: Recipe = IMPORTED) -> Path:
    """A cache of one row [D] a clip, of values [N, D]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_writer(path, recipe) as writer:
        for id, row in zip(ids, values.astype(np.float32), strict=True):
            writer.append(id, Rows(row[np.newaxis], np.array([[0.0, 1.0]])))
            writer.finish(id, Source(""))
        writer.commit()
    return path
