"""Tables of per-frame labels, or of labels at a regular clock: runs of equal labels are segments."""

from itertools import groupby, pairwise
from statistics import median

from egotools.annotations.columns import Columns
from egotools.annotations.contents import Grid, whole_rows
from egotools.annotations.events import Annotations, Event, Reading
from egotools.annotations.times import time_of
from egotools.errors import ManifestError

MOST_APART = 30  # frames
Row = tuple[float, tuple[str, ...], int, bool]  # time or frame, labels, number of the row, whether it is a frame


def read_runs(grid: Grid, columns: Columns, options: Reading, video: str, where: str, found: Annotations) -> None:
    """Adds the runs of equal labels of each video to `found`.

    A row lasts until the next one, the last as long as rows usually do; where rows are missing a run ends. Rows
    without a label belong to no segment.

    Raises:
        ManifestError: no column of labels.
    """
    if not columns.label:
        raise ManifestError(f"{grid.path}: which column has the label of a frame? Name it with --label-column")
    used = {columns.start.column, columns.video, *columns.label}
    if others := [name for name in grid.columns if name not in used]:
        found.remarks.append(f"{grid.path}: a label a row; not kept: {', '.join(map(repr, others))}")
    rows_of = _rows_of_videos(grid, columns, options, video, where, found)
    if options.format != "frames" and not _are_regular(list(rows_of.values())):
        raise ManifestError(
            f"{grid.path}: its frames do not follow each other: --around SECONDS if the rows are moments, --format"
            " frames if each label holds until the next row"
        )
    for name, rows in rows_of.items():
        _add_runs(name, rows, columns.label, where, found)


def _are_regular(videos: list[list[Row]]) -> bool:
    """Whether most rows are at most `MOST_APART` frames and equally far apart, as labels of frames are."""
    apart = [[after[0] - before[0] for before, after in pairwise(sorted(rows))] for rows in videos]
    steps = [(step, median(each)) for each in apart for step in each]
    regular = sum(0.5 * usual <= step <= 1.5 * usual and step <= MOST_APART for step, usual in steps)
    return regular >= 0.8 * len(steps)


def _rows_of_videos(
    grid: Grid, columns: Columns, options: Reading, video: str, where: str, found: Annotations
) -> dict[str, list[Row]]:
    at_time, at_labels = grid.column(columns.start.column), [grid.column(name) for name in columns.label]
    at_video = None if columns.video is None else grid.column(columns.video)
    rows: dict[str, list[Row]] = {}
    comma = grid.delimiter != ","
    for number, cells in whole_rows(grid, where, found):
        try:
            time, is_frame = time_of(cells[at_time], columns.start.unit, fps=options.fps, decimal_comma=comma)
        except ManifestError as error:
            raise ManifestError(f"{grid.path}, row {number}: {error}") from error
        except ValueError as error:
            found.lose("rows whose times cannot be used", f"{where}row {number}: {error}")
            continue
        name = video if at_video is None else cells[at_video]
        rows.setdefault(name, []).append((time, tuple(cells[at] for at in at_labels), number, is_frame))
    return rows


def _add_runs(video: str, rows: list[Row], names: list[str], where: str, found: Annotations) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    steps = [after[0] - before[0] for before, after in pairwise(rows) if after[0] > before[0]]
    if not steps and not rows[0][3]:
        found.lose("videos with one time only, whose length is not known", f"{where}row {rows[0][2]}: {video!r}")
        return
    step = median(steps) if steps else 1.0
    kept: list[tuple[float, float, Row]] = []  # each row with its span
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        if after is not None and after[0] == row[0]:
            found.lose("frames with two rows, of which the last counts", f"{where}rows {row[2]} and {after[2]}")
            continue
        is_near = after is not None and after[0] - row[0] <= 1.5 * step
        kept.append((row[0], after[0] if after is not None and is_near else row[0] + step, row))
    starts: list[int] = []  # the number of the run that each row belongs to
    for at, (begin, _, row) in enumerate(kept):
        is_same = at > 0 and kept[at - 1][2][1] == row[1] and kept[at - 1][1] == begin
        starts.append(starts[-1] if is_same else at)
    for _, run in groupby(zip(starts, kept, strict=True), key=lambda each: each[0]):
        spans = [each for _, each in run]
        first = spans[0][2]
        if any(first[1]):
            place = f"{where}rows {first[2]} to {spans[-1][2][2]}"
            labels = dict(zip(names, first[1], strict=True))
            found.events.append(Event(video, spans[0][0], spans[-1][1], labels, place, "", first[3]))
