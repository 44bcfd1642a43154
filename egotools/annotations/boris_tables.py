"""Tables that BORIS exports: aggregated events (a row a state) and tabular events (a row a start, stop or point).

Source:
    Exports of BORIS 4 to 9. Times count through the media files of an observation, plus its time offset.
"""

import re
from dataclasses import dataclass

from egotools.annotations.contents import Grid, whole_rows
from egotools.annotations.events import Annotations, Reading
from egotools.annotations.media import (
    Mark,
    Media,
    Status,
    add_event,
    add_paired,
    other_players,
    track_of,
    variable_name,
)
from egotools.annotations.times import time_of
from egotools.errors import ManifestError

BOOKKEEPING = {
    *("observation date", "description", "observation type", "source", "time offset (s)", "coding duration", "time"),
    *("observation duration", "observation duration by subject by observation", "media duration (s)", "total length"),
    *(
        "fps",
        "fps (frame/s)",
        "media file",
        "media file name",
        "media file path",
        "behavior type",
        "status",
        "start (s)",
    ),
    *("stop (s)", "duration (s)", "image index", "image file path", "image index start", "image index stop"),
    *("image file path start", "image file path stop", "start time", "stop time", "duration", "media file(s)"),
}
FILES = ("media file name", "media file path", "media file")
NONE = ("", "na", "n/a", "nan", "none", "not found")
STATUSES: dict[str, Status] = {"START": "START", "STOP": "STOP", "POINT": "POINT", "STATE": "TOGGLE"}
NO_TIME = "rows that cannot be used"


def is_aggregated(grid: Grid) -> bool:
    """Whether these are aggregated events."""
    return grid.has("Behavior", "Start (s)", "Stop (s)")


def is_tabular(grid: Grid) -> bool:
    """Whether these are tabular events."""
    return grid.has("Behavior", "Time") and (grid.has("Behavior type") or grid.has("Status"))


def is_exported(grid: Grid) -> bool:
    """Whether a table has the columns of either kind, and those that only BORIS writes beside them."""
    is_of_boris = grid.has("Observation id") or any(grid.has(name) for name in FILES)
    return is_of_boris and (is_aggregated(grid) or is_tabular(grid))


def read_boris_table(grid: Grid, options: Reading, where: str) -> Annotations:
    """The events of an exported table; see `is_aggregated` and `is_tabular`."""
    kind = "aggregated" if is_aggregated(grid) else "tabular"
    found = Annotations(remarks=[f"{grid.path}: {kind} events of BORIS; label column: 'behavior'"])
    lower = [name.lower() for name in grid.columns]  # independent variables come before columns of their names
    columns = [variable_name(name, lower[at + 1 :]) for at, name in enumerate(lower)]
    observations: dict[str, _Observation] = {}
    for number, cells in whole_rows(grid, where, found):
        place = f"{where}row {number}"
        row = dict(zip(columns, cells, strict=True))
        id = row.get("observation id", "")
        observation = observations.setdefault(id, _Observation(grid, options))
        try:
            observation.take(row, place)
        except ValueError as error:
            found.lose(NO_TIME, f"{place}: {error}")
    for observation in observations.values():
        observation.add_to(found)
    return found


@dataclass(frozen=True)
class _Row:
    row: dict[str, str]
    where: str
    start: float
    end: float | None
    file: str
    labels: dict[str, str]

    @property
    def track(self) -> str:
        return track_of(self.row.get("subject", ""), self.row.get("behavioral category", ""))


class _Observation:
    """The rows of one observation, until its media files are known."""

    def __init__(self, grid: Grid, options: Reading) -> None:
        self._grid, self._options = grid, options
        self._rows: list[_Row] = []

    def take(self, row: dict[str, str], where: str) -> None:
        """One row.

        Raises:
            ValueError: its times cannot be used.
        """
        if "live" in row.get("observation type", "").lower():
            raise ValueError("of a live observation, which has no video")
        start = self._time(row.get("start (s)", row.get("time", "")))
        is_point = row.get("behavior type", row.get("status", "")).upper() == "POINT"
        end = None if is_point or "stop (s)" not in row else self._time(row["stop (s)"])
        file = next((row[name] for name in FILES if row.get(name, "").lower() not in NONE), "")
        labels = {name: cell for name, cell in row.items() if name not in BOOKKEEPING}
        self._rows.append(_Row(row, where, start, end, file, labels))

    def add_to(self, found: Annotations) -> None:
        """Adds the events."""
        if not self._rows:
            return
        media = self._stated_media()
        if media is None:
            self._add_by_file(found)
        else:
            source = self._rows[0].row.get("source", "")
            if others := re.findall(r"\|player #(\d+):[^|]", source):
                found.remarks.append(
                    f"observation {self._rows[0].row.get('observation id', '')!r}: {other_players(others)}"
                )
            self._add(self._rows, media, found)

    def _add(self, rows: list[_Row], media: Media, found: Annotations) -> None:
        if is_aggregated(self._grid):
            for each in rows:
                mark = Mark(each.start, (), "POINT", each.labels, each.where, each.track)
                add_event(mark, each.end, media, found)
            return
        marks = []
        for each in rows:
            text = each.row.get("behavior type") or each.row.get("status", "")
            if text.upper() not in STATUSES:
                found.lose("rows that are no START, STOP or POINT", f"{each.where}: {text!r}")
                continue
            key = (each.row.get("subject", ""), each.row["behavior"], _modifiers(each.row))
            marks.append(Mark(each.start, key, STATUSES[text.upper()], each.labels, each.where, each.track))
        add_paired(marks, media, found)

    def _stated_media(self) -> Media | None:
        """The files as newer tables state them: `player #1:a.mp4;b.mp4|player #2:...`, and their lengths."""
        row = self._rows[0].row
        match = re.match(r"player #1:([^|]*)", row.get("source", ""))
        if match is None:
            return None
        files = [file.strip() for file in match[1].split(";") if file.strip()]
        texts = row.get("media duration (s)", "").split("|")[0].split(";")
        lengths = [self._float(text) for text in texts]
        if not files or (len(files) > 1 and len(lengths) != len(files)):
            return None
        return Media(files, lengths, self._offset(row))

    def _add_by_file(self, found: Annotations) -> None:
        """Adds the events of older tables, which give each row a file but not the lengths of all of them."""
        files = dict.fromkeys(each.file for each in self._rows)
        if len(files) > 1:
            for each in self._rows:
                found.lose(
                    "rows of observations of several files, whose lengths the table does not state; read the project"
                    " file (.boris) instead",
                    each.where,
                )
            return
        row = self._rows[0].row
        total = self._float(row.get("total length", "")) or self._float(row.get("media duration (s)", ""))
        name = next(iter(files)) or self._options.video or self._of_preamble("player #1")
        if not name:
            name = self._grid.path.stem
            found.remarks.append(f"{self._grid.path}: no media file in it, so the video is {name!r} (--video)")
        self._add(self._rows, Media([name], [None], self._offset(row), total), found)

    def _offset(self, row: dict[str, str]) -> float:
        stated = row.get("time offset (s)") or self._of_preamble("time offset (s)") or "0"
        offset = self._float(stated)
        if offset is None:
            raise ManifestError(f"{self._grid.path}: the time offset {stated!r} of an observation is not in seconds")
        return offset

    def _of_preamble(self, name: str) -> str:
        lines = (cells for cells in self._grid.preamble if cells[0].strip().lower() == name)
        return next((cells[1].strip() for cells in lines if len(cells) > 1), "")

    def _time(self, text: str) -> float:
        comma = self._grid.delimiter != ","
        return time_of(text, "seconds", fps=self._options.fps, decimal_comma=comma)[0]

    def _float(self, text: str) -> float | None:
        try:
            value = float(text if self._grid.delimiter == "," else text.replace(",", "."))
        except ValueError:
            return None
        return value if abs(value) < 1e9 else None


def _modifiers(row: dict[str, str]) -> str:
    return "|".join(cell for name, cell in row.items() if name.startswith("modifier"))
