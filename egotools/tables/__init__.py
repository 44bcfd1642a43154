"""Features and labels in memory, joined by id."""

from egotools.tables.table import Table, read_table

__all__ = ["Table", "read_table"]
