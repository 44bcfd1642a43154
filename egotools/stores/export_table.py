"""Exports a cache as one table, one row per window: id, start, end, then the features."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from egotools.config import to_json
from egotools.errors import MissingExtra, StoreError
from egotools.files.disk import write_whole
from egotools.progress import Progress, no_progress
from egotools.stores.aside import aside
from egotools.stores.copying import copied_pieces
from egotools.stores.export import has_format, recipe_of
from egotools.stores.opening import open_store
from egotools.stores.store import Store

Kind = Literal["csv", "parquet"]
FORMAT = "egotools table"  # identifies the JSON file next to a table
BATCH = 16 << 20  # bytes of features converted at a time

# Ids, times [t, 2] and values [t, D] of some rows; t is bounded by `BATCH`, or by one piece of a clip.
RowsOfClips = tuple[list[str], npt.NDArray[np.float64], npt.NDArray[np.floating[Any]]]
Write = Callable[[RowsOfClips], None]


def export_table(
    path: Path,
    out: Path,
    kind: Kind,
    *,
    overwrite: bool = False,
    partial: bool = False,
    progress: Progress = no_progress,
) -> tuple[int, int]:
    """Writes the rows of a cache as a CSV or Parquet file, and `<out>.json` with its recipe.

    Columns are `id`, `start` and `end` (seconds), and `f0` to the last feature. In CSV numbers have all the digits of
    a double, so that they read back exactly; in Parquet they are float32 or float16 as in the cache.

    Args:
        path: a cache.
        out: the table.
        kind: csv or parquet.
        overwrite: whether to replace an existing table.
        partial: whether to include clips that are not finished; `<out>.json` names them.
        progress: reports clips.

    Returns:
        The number of clips, and the number of those without rows, which are not in the table.

    Raises:
        StoreError: the file exists, a clip is damaged, or it cannot be written.
        MissingExtra: Parquet needs pyarrow, which is not installed.
    """
    store = open_store(path, partial=partial)
    _check_free(out, overwrite=overwrite)
    columns = ["id", "start", "end", *(f"f{at}" for at in range(store.width))]
    with aside(out) as temporary:
        _check_free(out, overwrite=overwrite)
        table = temporary / "table"
        write, close = _parquet(table, columns, store) if kind == "parquet" else _csv(table, columns)
        try:
            for batch in _batches(store, progress):
                write(batch)
        finally:
            close()
        empty = [id for id in store if not len(store.stored(id))]
        said = {"format": FORMAT, "columns": 3 + store.width, "dtype": store.dtype.name, "clips_without_rows": empty}
        write_whole(_beside(out), to_json({**said, **recipe_of(store)}) + "\n")
        os.replace(table, out)
    return len(store), len(empty)


def _beside(out: Path) -> Path:
    return out.with_name(out.name + ".json")


def _check_free(out: Path, *, overwrite: bool) -> None:
    if os.path.lexists(out) and not (overwrite and os.path.isfile(out) and not os.path.islink(out)):
        raise StoreError(f"{out} exists; choose another --out, or overwrite it, if it is a file, with --overwrite")
    if os.path.lexists(_beside(out)) and not has_format(_beside(out), FORMAT):
        raise StoreError(f"{_beside(out)} exists and does not describe an exported table; choose another --out")


def _batches(store: Store, progress: Progress) -> Iterator[RowsOfClips]:
    ids: list[str] = []
    times, values = [], []
    waiting = 0
    for done, id in enumerate(store, 1):
        for piece in copied_pieces(store, id):
            ids += [id] * len(piece.values)
            times.append(piece.times)
            values.append(piece.values)
            waiting += piece.values.nbytes
            if waiting >= BATCH:
                yield ids, np.concatenate(times), np.concatenate(values)
                ids, times, values, waiting = [], [], [], 0
        progress(f"exporting {store.path.name}", done, len(store))
    if ids:
        yield ids, np.concatenate(times), np.concatenate(values)


def _csv(path: Path, columns: list[str]) -> tuple[Write, Callable[[], None]]:
    import csv

    import pandas as pd  # imported here because pandas is slow to import

    file = path.open("x", encoding="utf-8", newline="")
    file.write(",".join(columns) + "\n")

    def write(batch: RowsOfClips) -> None:
        ids, times, values = batch
        frame = pd.DataFrame(np.concatenate([times, values.astype(np.float64)], axis=1))
        frame.insert(0, "id", ids)
        # Quoted, as a lone carriage return in an id must be; NaN by name, so that it is not read as a missing value.
        frame.to_csv(file, header=False, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC, na_rep="nan")

    return write, file.close


def _parquet(path: Path, columns: list[str], store: Store) -> tuple[Write, Callable[[], None]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet") from error
    number = pa.float16() if store.dtype == np.float16 else pa.float32()
    kinds = [pa.string(), pa.float64(), pa.float64(), *[number] * store.width]
    schema = pa.schema(list(zip(columns, kinds, strict=True)), {"egotools": to_json(recipe_of(store), indent=None)})
    writer = parquet.ParquetWriter(path, schema)

    def write(batch: RowsOfClips) -> None:
        ids, times, values = batch
        numbers = [np.ascontiguousarray(column) for column in (*times.T, *values.T)]
        arrays = [pa.array(column, kind) for column, kind in zip([ids, *numbers], kinds, strict=True)]
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    return write, writer.close
