"""Rows that have features only: the columns of a `.npz` or a CSV as clips without a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from egotools.datasets.clips import DatasetClips, check_differ
from egotools.errors import ManifestError
from egotools.files.csv_files import read_csv
from egotools.manifests.table import RESERVED
from egotools.stores.arrays import array_of, ids_of, open_arrays, texts_of
from egotools.types import Clip


@dataclass(frozen=True)
class _Columns:
    rows: int
    texts: dict[str, list[str]]  # by name, one text a row
    left: list[str]  # names of what is no column


def clips_of_table(path: Path, *, id: str, split: str | None = None) -> DatasetClips:
    """One clip without a file a row; every column becomes a label, those of a `.npz` that have one number a row.

    Args:
        path: `.npz` or CSV.
        id: the column of ids.
        split: the column of splits; None: the one that is called `split`, if there is one.

    Raises:
        ManifestError: the file cannot be read, an id comes twice, or there is no such column.
        StoreError: the same of a `.npz`.
    """
    columns = _of_npz(path, id) if path.suffix.lower() == ".npz" else _of_csv(path, [id, *([split] if split else [])])
    for name in (id, *([split] if split else [])):
        if name not in columns.texts:
            raise ManifestError(f"{path}: no column {name!r}; there are {', '.join(columns.texts)}")
    splits = columns.texts.get(split or "split", [""] * columns.rows)
    own = {*RESERVED, id, split}
    labels = {name: texts for name, texts in columns.texts.items() if name not in own}
    left = [*columns.left, *(name for name in columns.texts if name in RESERVED and name not in (id, split, "split"))]
    clips = [
        Clip(name, Path(), split=splits[at], labels={label: texts[at] for label, texts in labels.items()})
        for at, name in enumerate(columns.texts[id])
    ]
    if not clips:
        raise ManifestError(f"{path}: it has no rows")
    check_differ(clips, path)
    return DatasetClips(clips, remarks=[f"no label: {', '.join(left)}"] if left else [])


def _of_npz(path: Path, id: str) -> _Columns:
    with open_arrays(path) as arrays:
        ids = ids_of(arrays, id, path, each="row")
        found = {name: array_of(arrays, name, path) for name in arrays.names()}
    texts = {name: texts_of(array, name, path) for name, array in found.items() if array.shape == (len(ids),)}
    return _Columns(len(ids), texts, [name for name in found if name not in texts])


def _of_csv(path: Path, known: Sequence[str]) -> _Columns:
    columns, rows = read_csv(path, known=known)
    return _Columns(len(rows), {name: [values[name] for _, values in rows] for name in columns}, [])
