"""Which rows of a table are of which clip. Axes: N rows, C clips."""

import numpy as np

from egotools.tables.table import Table


def clip_rows(table: Table) -> dict[str, slice]:
    """The rows of each clip, which follow each other in a table that is not reduced; in the table's order."""
    if not len(table):
        return {}
    begins = np.flatnonzero(np.append(True, table.ids[1:] != table.ids[:-1])).tolist()
    ends = [*begins[1:], len(table)]
    return {str(table.ids[begin]): slice(begin, end) for begin, end in zip(begins, ends, strict=True)}
