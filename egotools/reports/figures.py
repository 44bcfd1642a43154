"""JSON values as HTML: numbers and texts by dotted names, lists of objects as tables. Everything is escaped."""

from collections.abc import Mapping, Sequence
from typing import Any

from egotools.files import html
from egotools.stores.summary import dotted

MOST = 200  # rows of a table
LONGEST = 400  # characters of a cell


def figures(values: Mapping[str, Any]) -> str:
    """One table of all single values, then one for each list of objects; Any: JSON values."""
    flat = dotted(values)
    lists = {name: value for name, value in flat.items() if _is_table(value)}
    single = [(name, cell(value)) for name, value in flat.items() if name not in lists]
    return "".join([rows(single), *(_listed(name, value) for name, value in lists.items())])


def rows(values: Sequence[Sequence[object]], columns: Sequence[str] = (), most: int = MOST) -> str:
    """A table of the first rows, and how many more there are; nothing for none."""
    if not values:
        return ""
    more = html.element("p", f"and {len(values) - most} more", "small") if len(values) > most else ""
    return html.table(values[:most], columns) + more


def cell(value: Any) -> Any:
    """A JSON value as a table shows it: lists with commas, long texts cut; Any: JSON values."""
    if value in ([], {}):
        return None
    if isinstance(value, list):
        value = ", ".join(str(cell(each)) for each in value)
    elif isinstance(value, float):
        return value
    if isinstance(value, (str, Mapping)):
        text = str(value)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}\u2026 ({len(text):,} characters)"
    return value


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _listed(name: str, values: Sequence[Mapping[str, Any]]) -> str:
    """A list of objects: a line each, a column for each of their entries."""
    flat = [dotted(each) for each in values]
    columns = list(dict.fromkeys(column for each in flat for column in each))
    return html.element("h3", name) + rows([[cell(each.get(column)) for column in columns] for each in flat], columns)
