"""Lists of classes, whose order numbers them: tables with a column of names, mapping files, or one name a line."""

import re
from collections.abc import Sequence
from pathlib import Path

from egotools.errors import ManifestError
from egotools.files.csv_files import read_csv
from egotools.files.text_files import numbered_lines
from egotools.texts import is_whole, named, tidy

NAMES = ("action_cls", "name", "label", "class", "key")  # columns that hold a class's name, the first that there is
NUMBERS = ("action_id", "id")
MAPPED = re.compile(r"(\d+)\s+(\S.*)")  # a line of a mapping file, such as `3 take`

Entry = tuple[int, int | None, str]  # row of the file, the class's number if the file says it, name


def read_classes(path: Path) -> list[str]:
    """The names of classes, in the order of their numbers.

    A `.csv` has a column action_cls (Assembly101's actions.csv), name, label, class or key, and may have action_id or
    id. In other files each line is a name, or if the first line begins with a number, a number and a name.

    Raises:
        ManifestError: the file cannot be read or has no classes, a name comes twice, or numbers are not 0, 1, 2, ...
    """
    entries = _of_table(path) if path.suffix.lower() == ".csv" else _of_lines(path)
    if not entries:
        raise ManifestError(f"{path}: no classes")
    rows: dict[str, int] = {}
    for row, _, name in entries:
        if not name:
            raise ManifestError(f"{path}, row {row}: a class needs a name")
        if name in rows:
            raise ManifestError(f"{path}, row {row}: the class {name!r} is also that of row {rows[name]}")
        rows[name] = row
    return [name for _, _, name in _in_order(path, entries)]


def _in_order(path: Path, entries: Sequence[Entry]) -> Sequence[Entry]:
    numbers = [number for _, number, _ in entries]
    if None in numbers:
        return entries
    ordered = sorted(entries, key=lambda entry: entry[1] or 0)
    for at, (row, number, name) in enumerate(ordered):
        if number != at:
            raise ManifestError(
                f"{path}, row {row}: {name!r} has the number {number} where {at} is next; classes are numbered"
                f" 0 to {len(entries) - 1}, each number once"
            )
    return ordered


def _of_table(path: Path) -> list[Entry]:
    columns, rows = read_csv(path, known=NAMES)
    column = next((each for each in NAMES if each in columns), None)
    if column is None:
        raise ManifestError(f"{path}: no column of names, {', '.join(NAMES)}; there are {named(columns, 8)}")
    number = next((each for each in NUMBERS if each in columns), None)
    return [
        (row, None if number is None else _number(cells[number], f"{path}, row {row}"), tidy(cells[column]))
        for row, cells in rows
    ]


def _of_lines(path: Path) -> list[Entry]:
    lines = [(row, tidy(line)) for row, line in numbered_lines(path) if line.strip()]
    if not lines or not MAPPED.fullmatch(lines[0][1]):
        return [(row, None, line) for row, line in lines]
    found: list[Entry] = []
    for row, line in lines:
        parts = MAPPED.fullmatch(line)
        if parts is None:
            raise ManifestError(f"{path}, row {row}: {line!r} is not a number and a name, as in {lines[0][1]!r}")
        found.append((row, int(parts[1]), parts[2]))
    return found


def _number(text: str, where: str) -> int:
    if not is_whole(text.strip()):
        raise ManifestError(f"{where}: {text!r} is not the number of a class")
    return int(text)
