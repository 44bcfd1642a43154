"""Tables with a video, a start, an end or a duration, and labels in a row; and tables of moments."""

from egotools.annotations.columns import SUBJECTS, Columns, Time, columns_of, words_of
from egotools.annotations.contents import Grid, whole_rows
from egotools.annotations.events import Annotations, Event, Reading
from egotools.annotations.frames import read_runs
from egotools.annotations.times import time_of
from egotools.annotations.videos import Videos
from egotools.errors import ManifestError
from egotools.files.csv_files import DELIMITERS


def read_table(grid: Grid, options: Reading, videos: Videos, *, around: float | None, where: str) -> Annotations:
    """The segments, the moments, or the per-frame labels of a table.

    Raises:
        ManifestError: its columns are missing or ambiguous; names the option.
    """
    columns = columns_of(grid, options, videos)
    found = Annotations()
    has_spans = columns.end is not None or columns.duration is not None
    if not has_spans and not columns.is_frames and around is None and options.format != "frames":
        raise ManifestError(
            f"{grid.path}: {columns.start.column!r} is the only time of a row: --around SECONDS if the rows are"
            " moments, --format frames if they label every moment, --end-column or --duration-column otherwise"
        )
    between = DELIMITERS.get(grid.delimiter, repr(grid.delimiter))
    found.remarks.append(f"{grid.path}: a table separated by {between}s; {columns.said(options.fps)}")
    if columns.video is None:
        found.remarks.append(
            f"{grid.path}: no column of videos (--video-column), so the video is {_video(grid, options)!r} (--video)"
        )
    if not has_spans and (options.format == "frames" or (columns.is_frames and around is None)):
        read_runs(grid, columns, options, _video(grid, options), where, found)
    else:
        _read_rows(grid, columns, options, where, found)
    return found


def _video(grid: Grid, options: Reading) -> str:
    return grid.path.stem if options.video is None else options.video


def _read_rows(grid: Grid, columns: Columns, options: Reading, where: str, found: Annotations) -> None:
    used = {each.column for each in (columns.start, columns.end, columns.duration) if each} | {columns.video}
    labels = [name for name in grid.columns if name not in used]
    bare = 0
    subjects = [name for name in labels if " ".join(words_of(name)) in SUBJECTS]
    for number, cells in whole_rows(grid, where, found):
        place = f"{where}row {number}"
        row = dict(zip(grid.columns, cells, strict=True))
        try:
            start, end, in_frames = _times(row, columns, options, grid.delimiter)
        except ManifestError as error:
            raise ManifestError(f"{grid.path}, row {number}: {error}") from error
        except ValueError as error:
            found.lose("rows whose times cannot be used", f"{place}: {error}")
            continue
        video = _video(grid, options) if columns.video is None else row[columns.video]
        track = ", ".join(row[name] for name in subjects)
        texts = {name: row[name] for name in labels}
        bare += bool(columns.label) and not any(row[name] for name in columns.label)
        found.events.append(Event(video, start, end, texts, place, track, in_frames))
    if bare:
        found.remarks.append(f"{grid.path}: segments without a label: {bare}")


def _times(row: dict[str, str], columns: Columns, options: Reading, delimiter: str) -> tuple[float, float | None, bool]:
    def of(time: Time) -> tuple[float, bool]:
        return time_of(row[time.column], time.unit, fps=options.fps, decimal_comma=delimiter != ",")

    start, in_frames = of(columns.start)
    if columns.end is not None:
        end, also = of(columns.end)
    elif columns.duration is not None:
        length, also = of(columns.duration)
        end = start + length
    else:
        return start, None, in_frames
    if also != in_frames:
        raise ValueError("one time is in frames, the other in seconds: give --fps")
    return start, end, in_frames
