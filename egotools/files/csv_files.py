"""Reading CSV files: separated by commas, semicolons, tabs or bars, in UTF-8 or in Excel's UTF-16 "Unicode text"."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from egotools.errors import ManifestError
from egotools.files.disk import open_file

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# Columns of our own tables; the delimiter that yields one of them is the right one.
KNOWN = {"id", "path", "start", "end", "split", "fps", "root", "label", "file", "filename", "video"}
ANNOUNCED = re.compile(r"sep=(.)\r?\n?")  # a first line in which Excel declares the delimiter

Row = tuple[int, dict[str, str]]  # its number (the first line is row 1), and its cells by column


def read_csv(path: Path, *, known: Sequence[str] | None = None) -> tuple[list[str], list[Row]]:
    """The columns of a table, and its rows with their numbers (the header is row 1; blank lines are skipped).

    Args:
        path: the file.
        known: column names that a table from another program may have; they identify its delimiter.
            None: the delimiter is a comma.

    Raises:
        ManifestError: the file is missing, empty or not text, or its rows do not match its header.
    """
    columns, rows = open_csv(path, known=known)
    return columns, list(rows)


def open_csv(path: Path, *, known: Sequence[str] | None = None) -> tuple[list[str], Iterator[Row]]:
    """Like `read_csv`, but yields the rows lazily; errors in a row are raised when it is reached."""
    text = _text(path)
    delimiter, skipped = (",", 0) if known is None else _delimiter(text, {*KNOWN, *known})
    stream = io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8", newline="")  # StringIO takes 4 bytes per character
    lines = _lines(path, csv.reader(stream, strict=True, delimiter=delimiter), skipped)
    _, cells = next(lines, (0, []))
    if not cells:
        raise ManifestError(f"{path}: the file is empty")
    columns = _columns(path, cells)
    return columns, _rows(path, columns, lines, DELIMITERS.get(delimiter, delimiter))


def _lines(path: Path, reader: Iterator[list[str]], skipped: int) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not blank, with their numbers."""
    number = 0
    try:
        for number, cells in enumerate(reader, 1):
            if cells and number > skipped:
                yield number, cells
    except csv.Error as error:
        raise ManifestError(f"{path}, row {number + 1}: not CSV: {error}; is a quote left open?") from error


def _rows(path: Path, columns: Sequence[str], lines: Iterator[tuple[int, list[str]]], delimiter: str) -> Iterator[Row]:
    for number, cells in lines:
        if len(cells) != len(columns):
            raise ManifestError(
                f"{path}, row {number}: {len(cells)} cells where the first line has {len(columns)} columns; "
                f"quote cells that hold a {delimiter}"
            )
        yield number, dict(zip(columns, cells, strict=True))


def another_delimiter(columns: Sequence[str]) -> str:
    """A hint for a message if the table seems to use another delimiter than the comma; otherwise empty."""
    candidates = [each for each in DELIMITERS if len(columns) == 1 and each in columns[0]]
    return f"; the header has no comma but {candidates[0]!r}: save the table with commas" if candidates else ""


def _delimiter(text: str, known: set[str]) -> tuple[str, int]:
    """The delimiter, guessed from the first line that is not blank; and how many lines come before the header."""
    if announced := ANNOUNCED.match(text):
        return announced[1], 1
    first = next((line for line in text.splitlines() if line.strip()), "")
    candidates = [each for each in DELIMITERS if each in first] or [","]
    names = {each: {cell.strip().strip('"').strip().lower() for cell in first.split(each)} for each in candidates}
    return next((each for each in candidates if names[each] & known), candidates[0]), 0


def _text(path: Path) -> str:
    try:
        with open_file(path) as file:
            raw = file.read()
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error
    is_wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # Excel's "Unicode text"
    try:
        text = raw.decode("utf-16" if is_wide else "utf-8-sig")  # spreadsheets put a byte order mark in front
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path}: not a text file in UTF-8 (byte {error.start}); save the table as CSV in UTF-8"
            " (Excel: 'CSV UTF-8')"
        ) from error
    if "\0" in text:
        row = text[: text.index("\0")].count("\n") + 1
        raise ManifestError(f"{path}, row {row}: not a text file: it contains a NUL byte; save the table as CSV")
    return text


def _columns(path: Path, cells: Sequence[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    for index, column in enumerate(columns, 1):
        if not column:
            raise ManifestError(f"{path}: column {index} has no name (pandas writes one so unless index=False)")
        if columns.index(column) != index - 1:
            raise ManifestError(f"{path}: two columns are named {column!r}")
    return columns
