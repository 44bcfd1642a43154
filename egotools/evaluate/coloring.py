"""What colors the points of a map: numbers on a scale, or classes. Axes: N rows."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from egotools.errors import TableError
from egotools.evaluate.map_picture import MISSING, OTHER, Colors
from egotools.plots import COLORED
from egotools.tables.table import Mask, Table, Texts
from egotools.texts import alike, counted, named, similar_names
from egotools.types import FloatArray

OF_ROWS = ("time", "id", "split")  # what rows have beside the manifest's label columns
NAMED = 3  # ids that a remark names


def colors_of(table: Table, column: str | None) -> tuple[Colors, list[str]]:
    """The colors of a table's rows, and remarks on those without one.

    A column whose texts are all numbers is a scale. Otherwise its most frequent texts have a color each, and the rest
    is gray. `time` is the middle of a row, in seconds of its file.

    Args:
        table: the rows.
        column: a label column of the manifest, which wins over the others; `time`, `id` or `split`; None: no colors.

    Raises:
        TableError: there is no such column; similar names are suggested.
    """
    if column is None:
        return Colors("", [""] * len(table)), []
    if column == "time" and column not in table.labels:
        seconds = table.times.mean(axis=1)
        return Colors("time (seconds of the file)", [f"{second:g}" for second in seconds], numbers=seconds), []
    texts = _texts(table, column).tolist()
    remarks = []
    if column in table.labels and column in OF_ROWS:
        remarks.append(f"{column!r} is the manifest's column of that name")
    numbers = _numbers(texts)
    if numbers is not None:
        return Colors(column, texts, numbers=numbers), [
            *remarks,
            *_without(table, ~np.isfinite(numbers), column),
        ]
    counts = Counter(text for text in texts if text)
    if not counts:
        raise TableError(f"no clip with features has anything in the column {column!r}")
    classes = sorted(counts, key=lambda text: (-counts[text], text))
    remarks += alike(counts, f"values of {column!r}")
    place = {text: at if at < COLORED else OTHER for at, text in enumerate(classes)} | {"": MISSING}
    at = np.array([place[text] for text in texts], np.int64)
    if len(classes) > COLORED:
        rows = counted(int((at == OTHER).sum()), "row")
        remarks.append(f"the {COLORED} most frequent of {len(classes)} values of {column!r} have colors; gray: {rows}")
    remarks += _without(table, at == MISSING, column)
    return Colors(column, texts, tuple(classes[:COLORED]), at), remarks


def _texts(table: Table, column: str) -> Texts:
    """What the rows have in a column [N]."""
    if column in table.labels:
        return table.labels[column]
    if column in ("id", "split"):
        return table.ids if column == "id" else table.split
    columns = [*table.columns, *OF_ROWS]
    near = similar_names(column, columns)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from {', '.join(columns)}"
    raise TableError(f"the manifest has no column {column!r}; {hint}")


def _numbers(texts: Sequence[str]) -> FloatArray | None:
    """The numbers [N] that texts are, NaN for empty ones and for what is not finite; None if one is something else."""
    try:
        numbers = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return None
    numbers[~np.isfinite(numbers)] = np.nan
    return None if np.isnan(numbers).all() else numbers


def _without(table: Table, missing: Mask, column: str) -> list[str]:
    """A remark that counts and names rows without a value."""
    if not missing.any():
        return []
    ids = list(dict.fromkeys(map(repr, table.ids[missing].tolist())))
    return [f"without a value in {column!r}, and so gray: {counted(int(missing.sum()), 'row')} ({named(ids, NAMED)})"]
