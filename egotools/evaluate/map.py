"""A map of cached features: each row a point of a plane, as a picture, a page, a table and a report. Axes: N rows."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egotools.config import finite, option, options_of, to_json
from egotools.errors import MissingExtra, OutputError
from egotools.evaluate import map_page, projection
from egotools.evaluate.coloring import colors_of
from egotools.evaluate.map_frames import read_thumbnails, spread
from egotools.evaluate.map_picture import Colors, MapPanel, map_picture
from egotools.evaluate.projection import TITLES, Projecting, Projection, projected
from egotools.files.disk import remove, write_whole
from egotools.progress import Progress, no_progress
from egotools.tables.table import Reduce, Table, read_table
from egotools.training.runs import provenance_of
from egotools.types import Frame, IntArray

PICTURE, PAGE, POINTS, REPORT = "map.png", "map.html", "map.csv", "report.json"
APART = 0.13  # of a panel's side: the picture's frames do not overlap; the page shows all that were read


@dataclass(frozen=True)
class Drawing:
    """What a map shows."""

    color: str | None = option(None, "What colors points: a manifest column, time, id or split.")
    most: int = option(20000, "Most rows; of more, so many are drawn by lot.")
    thumbnails: int | Literal["all"] = option(
        0, "Frames to show, spread over each map; map.html shows them under the pointer."
    )
    html: bool | None = option(None, "Write map.html, too (extra: map); by default if plotly is installed.")
    seed: int = option(0, "Seed of everything random.")

    def __post_init__(self) -> None:
        if self.most < 2:
            raise ValueError(f"--most must be 2 or more, not {self.most}")
        if self.thumbnails != "all" and self.thumbnails < 0:
            raise ValueError(f"--thumbnails must be 0 or more, or all, not {self.thumbnails}")
        if self.seed < 0:
            raise ValueError(f"--seed must be 0 or more, not {self.seed}")


def draw_map(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    projecting: Projecting,
    drawing: Drawing,
    *,
    reduce: Reduce | None = "mean",
    segments: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Writes map.png, map.csv, map.html if asked or possible, and report.json last; each whole or not at all.

    Args:
        folder: where.
        manifest: which clips.
        features: caches, joined by id.
        projecting: how rows become points.
        drawing: what is shown.
        reduce: one row a clip; None: one a window.
        segments: labels at times to color rows by, with `reduce` None.
        progress: receives how many files of frames are read.

    Returns:
        The report. Any: JSON values.

    Raises:
        TableError: rows that cannot be joined or drawn, or an unknown column.
        MissingExtra: a library that was asked for is not installed.
    """
    projection.check_installed(projecting)
    remarks = _remarks_on_page(drawing)
    labels = () if drawing.color is None else (drawing.color,)
    whole = read_table(manifest, features, reduce=reduce, labels=labels, segments=segments)
    colors_of(whole.without_values(), drawing.color)  # mistakes first: projecting may take minutes
    table, drawn_by_lot = _some(whole, drawing)
    colors, uncolored = colors_of(table, drawing.color)
    found = projected(table.values, projecting, seed=drawing.seed)
    panels, frames, unread = _panels(found, manifest, table, drawing, progress)
    told = [each for one in found for each in one.remarks]
    arguments = {"reduce": reduce, **options_of(projecting), **options_of(drawing)}
    figures = {
        "command": "eval map",
        "rows": len(table),
        "clips": len(set(table.ids.tolist())),
        "methods": [{"method": one.method, "title": TITLES[one.method], **one.facts} for one in found],
        "remarks": [*table.remarks, *drawn_by_lot, *uncolored, *told, *unread, *remarks],
        **provenance_of(arguments, manifest, features, segments),
    }
    content: dict[str, Any] = finite(figures)
    title = f"{' + '.join(path.name for path in features)}: {len(table)} rows of {content['clips']} clips"
    write_whole(folder / PICTURE, map_picture(panels, colors, title=title))
    if remarks or drawing.html is False:
        _forget(folder / PAGE)
    else:
        write_whole(folder / PAGE, map_page.map_page(table, panels, colors, frames, content))
    write_whole(folder / POINTS, _csv(table, found, colors))
    write_whole(folder / REPORT, to_json(content))
    return content


def _remarks_on_page(drawing: Drawing) -> list[str]:
    """A remark if there is to be no page because plotly is missing; an error if the page was asked for."""
    if drawing.html is False:
        return []
    try:
        map_page.check_installed()
    except MissingExtra as error:
        if drawing.html:
            raise
        return [f"no {PAGE}: {error}"]
    return []


def _some(table: Table, drawing: Drawing) -> tuple[Table, list[str]]:
    """The rows of a map: all, or some by lot, in their order."""
    if len(table) <= drawing.most:
        return table, []
    chosen = np.random.default_rng(drawing.seed).choice(len(table), drawing.most, replace=False)
    mask = np.zeros(len(table), bool)
    mask[chosen] = True
    remark = f"{drawing.most} of {len(table)} rows, drawn by lot (--most, --seed)"
    return table.only(mask), [remark]


def _panels(
    found: Sequence[Projection], manifest: Path, table: Table, drawing: Drawing, progress: Progress
) -> tuple[list[MapPanel], dict[int, Frame], list[str]]:
    """The projections with the frames that the picture shows, all frames that were read, and remarks on the others."""
    count = len(table) if drawing.thumbnails == "all" else min(drawing.thumbnails, len(table))
    shown: list[IntArray] = [spread(one.points, count, APART) if count else np.zeros(0, np.int64) for one in found]
    wanted = [*shown, *(spread(one.points, count) for one in found if 0 < count < len(table))]
    rows = range(len(table)) if count == len(table) else np.unique(np.concatenate(wanted)).tolist()
    frames, remarks = read_thumbnails(manifest, table, rows, progress) if count else ({}, [])
    panels = [
        MapPanel(TITLES[one.method], one.axes, one.points, {row: frames[row] for row in at.tolist() if row in frames})
        for one, at in zip(found, shown, strict=True)
    ]
    return panels, frames, remarks


def _csv(table: Table, found: Sequence[Projection], colors: Colors) -> str:
    """id, start, end, two coordinates a method, and what colors the row, if anything."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"{one.method}_{axis}" for one in found for axis in "xy"]
    writer.writerow(["id", "start", "end", *names, *(["color"] if colors.name else [])])
    coordinates = np.concatenate([one.points for one in found], axis=1).tolist()
    for id, times, places, said in zip(table.ids, table.times.tolist(), coordinates, colors.texts, strict=True):
        writer.writerow([id, *times, *(f"{place:.7g}" for place in places), *([said] if colors.name else [])])
    return text.getvalue()


def _forget(page: Path) -> None:
    """Removes the page of an earlier map, which would show other points.

    Raises:
        OutputError: it cannot be removed.
    """
    try:
        remove(page)
    except OSError as error:
        raise OutputError(f"{page} cannot be removed: {error.strerror}") from error
