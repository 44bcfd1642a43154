"""Datavyu: its spreadsheets (`.opf`), and tables that it and its scripts export.

Source:
    Datavyu 1.3's ExportDatabaseFile and the scripts that come with it, and datavyu2csv. In a spreadsheet the file `db`
    has a line `column (MATRIX,true,)-code01|NOMINAL,...` for a column, and `onset,offset,(value,...)` for each cell;
    times are HH:MM:SS:mmm. In tables times are milliseconds.
"""

import csv
import io
import re
import zipfile
import zlib
from pathlib import Path

from egotools.annotations.contents import Grid, text_of, whole_rows
from egotools.annotations.events import Annotations, Reading
from egotools.annotations.tiers import Note, add_tiers
from egotools.errors import ManifestError, first_line

LARGEST = 64 << 20  # bytes of a spreadsheet
COLUMN = re.compile(r"(.*?) \((\w+),(?:true|false),.*?\)(?:-(.*))?")
CELL = re.compile(r"(\d{1,6}):(\d\d):(\d\d):(\d{3}),(\d{1,6}):(\d\d):(\d\d):(\d{3}),(.*)")
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)  # the last: encrypted, or an unknown method
NO_TIME = "cells whose times cannot be used"


def is_long(grid: Grid) -> bool:
    """Whether a table has a cell a row, as datavyu2csv writes it."""
    return grid.has("column", "ordinal", "onset", "offset")


def is_wide(grid: Grid) -> bool:
    """Whether a table has the cells of all columns beside each other."""
    names = {name.lower() for name in grid.columns}
    return any(name.endswith(".onset") and name.replace(".onset", ".offset") in names for name in names)


def read_datavyu_table(grid: Grid, options: Reading, where: str) -> Annotations:
    """The cells of an exported table; frame by frame exports repeat them, and count once.

    Raises:
        ManifestError: no such column.
    """
    found = Annotations(remarks=[f"{grid.path}: a table of Datavyu; times are milliseconds"])
    default = grid.path.stem if options.video is None else options.video
    cells: dict[str, list[Note]] = {}
    seen: set[tuple[object, ...]] = set()
    for number, row in whole_rows(grid, where, found):
        pairs = dict(zip(grid.columns, row, strict=True))
        for video, column, onset, offset, codes in _cells(pairs, default, is_long(grid)):
            key = (video, column, onset, offset, *codes.values())
            if key not in seen:
                seen.add(key)
                times = _milliseconds(onset), _milliseconds(offset)
                _add(column, times, codes, f"{where}row {number}", found, cells.setdefault(video, []))
    there = {note.tier for notes in cells.values() for note in notes}
    for video, notes in cells.items():
        chosen = [tier for tier in options.tier if tier not in there or any(note.tier == tier for note in notes)]
        if notes and (chosen or not options.tier):
            add_tiers(grid.path, video, notes, chosen, found)
    return found


def read_spreadsheet(path: Path, content: bytes, options: Reading, where: str) -> Annotations:
    """The cells of a spreadsheet.

    Raises:
        ManifestError: it is damaged or no spreadsheet of Datavyu, or has no such column.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            names = file.namelist()
            if "db" not in names:
                if any(name.startswith("xl/") or name == "content.xml" for name in names):
                    raise ManifestError(f"{path}: a spreadsheet of Excel or OpenOffice: save it as CSV")
                raise ManifestError(f"{path}: not a spreadsheet of Datavyu: it has no file 'db'")
            if file.getinfo("db").file_size > LARGEST:
                raise ManifestError(f"{path}: its table is larger than {LARGEST >> 20} MB")
            text = text_of(path, file.read("db"))
            small = [name for name in names if name != "db" and file.getinfo(name).file_size < 1 << 20]
            others = b"\n".join(file.read(name) for name in small[:20])
    except DAMAGED as error:
        raise ManifestError(f"{path}: a damaged zip file: {first_line(error)}") from error
    found = Annotations(remarks=[f"{path}: a spreadsheet of Datavyu"])
    notes = _notes(text, where, found)
    if not notes:
        raise ManifestError(f"{path}: no cells in it")
    shifts = {int(each) for each in re.findall(rb"offset\s*[=:]\s*'?(-?\d{1,12})\b", others)} - {0}
    if shifts:
        found.remarks.append(
            f"{path}: it moves a video by {', '.join(map(str, sorted(shifts)))} ms against its clock, whose times are"
            " taken as those of the video; if they are not, add --offset"
        )
    add_tiers(path, path.stem if options.video is None else options.video, notes, options.tier, found)
    return found


def _notes(text: str, where: str, found: Annotations) -> list[Note]:
    notes: list[Note] = []
    column, codes = "", [""]
    for number, line in enumerate(text.splitlines(), 1):
        if cell := CELL.fullmatch(line):
            times = tuple(
                int(cell[at]) * 3600 + int(cell[at + 1]) * 60 + int(cell[at + 2]) + int(cell[at + 3]) / 1000
                for at in (1, 5)
            )
            values = _values(cell[9])
            if not column or len(values) != len(codes):
                found.lose("cells with more or fewer values than their column", f"{where}line {number}")
                continue
            named = dict(zip(codes, values, strict=True))
            _add(column, (times[0], times[1]), named, f"{where}line {number}", found, notes)
        elif head := COLUMN.fullmatch(line):
            column = head[1].replace("\\", "")
            codes = [part.rpartition("|")[0].replace("\\", "") for part in (head[3] or "value|").split(",")]
        elif line.strip() and not line.startswith("#"):
            found.lose("lines that are no column and no cell", f"{where}line {number}")
    return notes


def _values(text: str) -> list[str]:
    """The values of a cell; a backslash or quotes keep a comma."""
    inner = text[1:-1] if text.startswith("(") and text.endswith(")") else text
    try:
        return next(csv.reader([inner], escapechar="\\"), [""]) or [""]
    except csv.Error:
        return []


def _cells(row: dict[str, str], video: str, is_a_cell: bool) -> list[tuple[str, str, str, str, dict[str, str]]]:
    """The cells of a row: video, column, onset and offset as text, and the codes."""
    lower = {name.lower(): cell for name, cell in row.items()}
    if is_a_cell:
        own = {"file", "column", "ordinal", "onset", "offset"}
        codes = {name: cell for name, cell in row.items() if name.lower() not in own}
        return [(lower.get("file") or video, lower["column"], lower["onset"], lower["offset"], codes)]
    found = []
    for name in row:
        column, dot, last = name.rpartition(".")
        if not dot or last.lower() != "onset" or not row[name]:
            continue
        prefix, own = f"{column}.", {"ordinal", "onset", "offset"}
        codes = {each[len(prefix) :]: row[each] for each in row if each.startswith(prefix)}
        codes = {code: cell for code, cell in codes.items() if code.lower() not in own and "." not in code}
        offset = lower.get(f"{column}.offset".lower(), "")
        found.append((lower.get("file") or video, column, row[name], offset, codes))
    return found


def _add(
    column: str,
    times: tuple[float | None, float | None],
    codes: dict[str, str],
    where: str,
    found: Annotations,
    notes: list[Note],
) -> None:
    """A cell; one without a length, or without an offset (0), is a moment."""
    start, end = times
    if start is None or end is None:
        found.lose(NO_TIME, where)
        return
    values = {f"{column}.{code}": "" if text == f"<{code}>" else text for code, text in codes.items()}
    notes.append(Note(column, start, None if end in (start, 0) else end, values, where))


def _milliseconds(text: str) -> float | None:
    return int(text) / 1000 if re.fullmatch(r"\d{1,12}", text) else None
