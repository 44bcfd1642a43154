"""Reading files of annotations, whose format their content says."""

from collections.abc import Sequence
from pathlib import Path

from egotools.annotations.boris import read_project
from egotools.annotations.boris_tables import is_aggregated, is_exported, is_tabular, read_boris_table
from egotools.annotations.columns import is_known
from egotools.annotations.contents import Grid, content_of, grid_of, text_of
from egotools.annotations.datavyu import is_long, is_wide, read_datavyu_table, read_spreadsheet
from egotools.annotations.elan import read_elan
from egotools.annotations.events import Annotations, Format, Reading
from egotools.annotations.tables import read_table
from egotools.annotations.textgrid import is_textgrid, read_textgrid
from egotools.annotations.videos import Videos
from egotools.errors import ManifestError

OF_TABLES = ("video_column", "start_column", "end_column", "duration_column", "label_column", "unit")
ZIP = b"PK\x03\x04"


def read_annotations(
    paths: Sequence[Path], options: Reading, videos: Videos, *, around: float | None = None
) -> Annotations:
    """The annotations of several files.

    Args:
        paths: the files; places in messages begin with a name if there are several.
        options: how they are read.
        videos: those that may be meant, which help to find the column that names them.
        around: whether rows with one time may be moments.

    Raises:
        ManifestError: a file cannot be read, or does not say what is needed; names the option.
    """
    if options.video is not None and len(paths) > 1:
        raise ManifestError(f"--video {options.video!r} is one video, but there are {len(paths)} files of annotations")
    found = Annotations()
    for path in paths:
        part = _read(path, options, videos, around, f"{path}, " if len(paths) > 1 else "")
        found.events += part.events
        found.remarks += part.remarks
        for kind, each in part.lost.items():
            found.lost.setdefault(kind, []).extend(each)
    found.remarks = list(dict.fromkeys(found.remarks))
    return found


def _read(path: Path, options: Reading, videos: Videos, around: float | None, where: str) -> Annotations:
    content = content_of(path)
    if content.startswith(ZIP):
        found = read_spreadsheet(path, content, options, where)  # or it is one of Excel, which is said
        _check(path, options, "datavyu")
        return found
    start = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<") or b"A\0N\0N\0O\0T\0A\0T\0I\0O\0N" in start:  # XML says its encoding itself
        found = read_elan(path, content, options, videos, where)
        _check(path, options, "elan")
        return found
    text = text_of(path, content)
    if is_textgrid(text):
        _check(path, options, "textgrid")
        return read_textgrid(path, text, options, where)
    if text.lstrip().startswith("{"):
        _check(path, options, "boris")
        return read_project(path, text, where)
    if b"ooBinaryFile" in start:
        raise ManifestError(f"{path}: a binary file of Praat; save it as a text file")
    return _read_grid(path, text, options, videos, around, where)


def _read_grid(
    path: Path, text: str, options: Reading, videos: Videos, around: float | None, where: str
) -> Annotations:
    named = {options.video_column, options.start_column, options.end_column, options.duration_column}
    named |= set(options.label_column)
    grid = grid_of(path, text, lambda name: name in named or is_known(name))
    kind = options.format or _kind(grid, named - {None})
    if kind == "boris":
        if not (is_aggregated(grid) or is_tabular(grid)):
            raise ManifestError(f"{path}: not an exported table of BORIS: it has no Behavior with Start (s) or Time")
        _check(path, options, "boris")
        return read_boris_table(grid, options, where)
    if kind == "datavyu":
        if not (is_long(grid) or is_wide(grid)):
            raise ManifestError(f"{path}: not a table of Datavyu: it has no columns of onset and offset")
        _check(path, options, "datavyu")
        return read_datavyu_table(grid, options, where)
    _check(path, options, "table", "frames")
    return read_table(grid, options, videos, around=around, where=where)


def _kind(grid: Grid, named: set[str | None]) -> Format:
    """What a table is; columns that are named by options make it a table of the user's own."""
    if not named and is_exported(grid):
        return "boris"
    return "datavyu" if not named and (is_long(grid) or is_wide(grid)) else "table"


def _check(path: Path, options: Reading, *is_a: Format) -> None:
    """Refuses another format than the file's, and options that mean nothing in it."""
    if options.format is not None and options.format not in is_a:
        raise ManifestError(f"{path}: its content is that of the format {is_a[0]}, not of {options.format} (--format)")
    flags = [*(OF_TABLES if "table" not in is_a else ()), *(("tier",) if is_a[0] in ("table", "boris") else ())]
    if given := [flag for flag in flags if getattr(options, flag)]:
        flag = given[0].replace("_", "-")
        raise ManifestError(f"{path}: --{flag} means nothing in files of the format {is_a[0]}; leave it out")
