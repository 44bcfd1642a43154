"""Which rows of a table are of which clip. Axes: N rows, C clips."""

import numpy as np

from egotools.tables.table import Table
from egotools.types import IntArray


def first_rows(table: Table) -> IntArray:
    """The number [C] of each clip's first row, in a table in which the rows of a clip follow each other."""
    found: IntArray = np.flatnonzero(np.append(True, table.ids[1:] != table.ids[:-1])[: len(table)])
    return found


def clip_rows(table: Table) -> dict[str, slice]:
    """The rows of each clip, which follow each other in a table that is not reduced; in the table's order."""
    begins = first_rows(table).tolist()
    ends = [*begins[1:], len(table)]
    return {str(table.ids[begin]): slice(begin, end) for begin, end in zip(begins, ends, strict=True)}
