"""The content of annotation files: bytes, text, and the cells of tables."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from egotools.annotations.events import Annotations
from egotools.errors import ManifestError
from egotools.files.csv_files import ANNOUNCED, DELIMITERS
from egotools.files.disk import open_file

LARGEST = 256 << 20  # bytes; annotations of a day have a few MB
LONGEST_LINE = 100_000  # characters of a header
OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # .xls
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Grid:
    """The cells of a table: the header, what comes before it, and the rows with their numbers from 1 in the file."""

    path: Path
    delimiter: str
    columns: list[str]
    preamble: list[list[str]]
    rows: list[tuple[int, list[str]]]

    def column(self, name: str) -> int:
        """The place of a column by its name, whatever its case.

        Raises:
            ManifestError: there is none.
        """
        for names, wanted in ((self.columns, name), ([each.lower() for each in self.columns], name.lower())):
            if wanted in names:
                return names.index(wanted)
        raise ManifestError(f"{self.path}: no column {name!r}; its columns are {', '.join(self.columns)}")

    def has(self, *names: str) -> bool:
        """Whether it has columns of these names, whatever their case."""
        there = {each.lower() for each in self.columns}
        return all(name.lower() in there for name in names)

    def records(self) -> Iterator[tuple[int, list[str] | None]]:
        """The cells of each row with its number; None for a row of another length than the header."""
        wide = len(self.columns)
        for number, cells in self.rows:
            is_padded = len(cells) > wide and not any(cell.strip() for cell in cells[wide:])
            fits = len(cells) == wide or is_padded
            yield number, [cell.strip() for cell in cells[:wide]] if fits else None


def whole_rows(grid: Grid, where: str, found: Annotations) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row with its number; rows of another length than the header are counted in `found`."""
    for number, cells in grid.records():
        if cells is None:
            found.lose("rows with more or fewer cells than the header", f"{where}row {number}")
        else:
            yield number, cells


def content_of(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        ManifestError: it cannot be read, is empty, or far larger than annotations are.
    """
    try:
        with open_file(path) as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise ManifestError(f"{path}: larger than {LARGEST >> 20} MB, so these are not annotations at times")
    if not content.strip():
        raise ManifestError(f"{path}: the file is empty")
    if content.startswith(b"\x1f\x8b"):
        raise ManifestError(f"{path}: compressed; expand it with gunzip first")
    if content.startswith(OLD_EXCEL):
        raise ManifestError(f"{path}: a spreadsheet of Excel: save it as CSV")
    return content


def text_of(path: Path, content: bytes) -> str:
    """Text in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        ManifestError: it is not.
    """
    try:
        text = content.decode("utf-16" if content.startswith(WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path}: not text in UTF-8 or UTF-16 (byte {error.start}); save it as UTF-8 (Excel: 'CSV UTF-8')"
        ) from error
    if "\0" in text:
        raise ManifestError(f"{path}: not a text file: it contains a NUL byte")
    return text


def grid_of(path: Path, text: str, is_known: Callable[[str], bool]) -> Grid:
    """The cells of a table; its delimiter is the one that yields most columns of known names.

    Raises:
        ManifestError: it is not a table, or a column has no name or that of another.
    """
    announced = ANNOUNCED.match(text)
    candidates = [announced[1]] if announced else list(DELIMITERS)
    body = text[announced.end() :] if announced else text
    if len(_line(body)) > LONGEST_LINE:
        raise ManifestError(f"{path}: no table: its first line has more than {LONGEST_LINE} characters")
    best: tuple[int, int] | None = None
    delimiter = candidates[0]
    for each in candidates:
        cells = _first(body, each)
        score = (sum(map(is_known, cells)), len(cells))
        if best is None or score > best:
            best, delimiter = score, each
    rows = _rows(path, body, delimiter, 1 if announced else 0)
    if not rows:
        raise ManifestError(f"{path}: the file is empty")
    at = _header(rows)
    columns = _named(path, rows[at][1])
    return Grid(path, delimiter, columns, [cells for _, cells in rows[:at]], rows[at + 1 :])


def _first(text: str, delimiter: str) -> list[str]:
    """The cells of the first line that is not blank."""
    return [cell.strip().strip('"') for cell in _line(text).split(delimiter)]


def _line(text: str) -> str:
    """The first line that is not blank."""
    match = re.search(r"[^\r\n]*\S[^\r\n]*", text)
    return match[0] if match else ""


def _rows(path: Path, text: str, delimiter: str, skipped: int) -> list[tuple[int, list[str]]]:
    number, found = skipped, []
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), 1):
            if any(cell.strip() for cell in cells):
                found.append((number + skipped, cells))
    except csv.Error as error:
        raise ManifestError(
            f"{path}, row {number + skipped + 1}: not a table: {error}; is a quote left open?"
        ) from error
    return found


def _header(rows: Sequence[tuple[int, list[str]]]) -> int:
    """Where the header is: older tables of BORIS have lines on the observation before it."""
    first = [cell.strip().lower() for cell in rows[0][1]]
    if first[0] == "observation id" and "behavior" not in first:
        for at, (_, cells) in enumerate(rows):
            names = {cell.strip().lower() for cell in cells}
            if {"time", "behavior"} <= names:
                return at
    return 0


def _named(path: Path, cells: Sequence[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    while len(columns) > 1 and not columns[-1]:  # Datavyu ends lines with a comma
        columns.pop()
    if len(columns) == 1 and len(columns[0]) > 80:
        raise ManifestError(f"{path}: no table: its first line has no delimiter (comma, semicolon, tab or bar)")
    for index, column in enumerate(columns):
        if not column and index == 0:
            columns[0] = "index"  # pandas writes one so unless index=False
        elif not column:
            raise ManifestError(f"{path}: column {index + 1} has no name; give it one, or remove it")
        elif columns.index(column) != index:
            raise ManifestError(f"{path}: two columns are named {column!r}")
    return columns
