"""Which columns of a table hold the video, the times and the label, guessed from usual names."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from egotools.annotations.contents import Grid
from egotools.annotations.events import Reading, Unit
from egotools.annotations.videos import Videos
from egotools.errors import ManifestError

STARTS = {"start", "begin", "onset", "from", "starttime", "begintime", "startsec", "tmin"}
ENDS = {"end", "stop", "offset", "to", "finish", "endtime", "stoptime", "endsec", "tmax"}
DURATIONS = {"duration", "length", "dur"}
VIDEOS = {
    *("video", "videos", "clip", "file", "filename", "file name", "file path", "filepath", "path", "movie", "film"),
    *("video file", "video name", "video id", "video path", "videoid", "videoname", "videofile", "recording"),
    *("media", "media file", "media name", "media file name", "media file path", "clip id", "clip name", "id"),
}
LABELS = (
    *("label", "labels", "behavior", "behaviour", "action", "activity", "class", "category", "annotation", "event"),
    *("code", "state", "name", "verb", "value", "text"),
)
SUBJECTS = {"subject", "individual", "animal", "person", "participant", "actor", "tier", "track", "sequence"}
UNITS: dict[str, Unit] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "ss"), "seconds"),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds", "millis"), "milliseconds"),
    **dict.fromkeys(("frame", "frames", "framenum"), "frames"),
}
TIMES = {"time", "timestamp", "t"}
FILLERS = {*TIMES, "hh", "mm", "ff", "stamp", "at", "in", "number", "num", "no", "nr", "idx", "index", "id"}
PREFERRED: Sequence[Unit] = ("seconds", "frames", "milliseconds")


@dataclass(frozen=True)
class Time:
    """A column of times: its name, and the unit of its plain numbers."""

    column: str
    unit: Unit


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they hold; a table of moments or frames has `start` only."""

    video: str | None
    start: Time
    end: Time | None
    duration: Time | None
    label: list[str]
    is_frames: bool  # whether `start` is the number of a frame that the row is about

    def said(self, fps: float | None) -> str:
        """What was found, for a remark."""
        found = [("video column", self.video), ("start" if self.end or self.duration else "time", _said(self.start))]
        found += [(what, _said(each)) for what, each in (("end", self.end), ("duration", self.duration)) if each]
        found += [("label", ", ".join(map(repr, self.label)))] if self.label else []
        parts = [f"{what}: {each if what != 'video column' else repr(each)}" for what, each in found if each]
        units = {each.unit for each in (self.start, self.end, self.duration) if each}
        rate = f"; frames at {fps:g} a second" if "frames" in units and fps else ""
        last = "; an end frame is the first one after its segment" if self.end and self.end.unit == "frames" else ""
        return ", ".join(parts) + rate + last


def _said(time: Time | None) -> str:
    return f"{time.column!r} ({time.unit})" if time else ""


def words_of(name: str) -> list[str]:
    """The words of a column's name in lower case: `startFrame`, `Start (s)`, `t_start`."""
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def time_role(name: str) -> tuple[str, Unit]:
    """What a column of times is (`start`, `end`, `duration`, `time`, `frame`, or nothing), and its unit."""
    words = words_of(name)
    unit: Unit = next((UNITS[word] for word in words if word in UNITS), "seconds")
    base = " ".join(word for word in words if word not in UNITS and word not in FILLERS)
    for role, names in (("start", STARTS), ("end", ENDS), ("duration", DURATIONS)):
        if base in names:
            return role, unit
    if not base and unit == "frames":
        return "frame", unit
    return ("time", unit) if not base and TIMES & set(words) else ("", unit)


def is_known(name: str) -> bool:
    """Whether a column has one of the usual names."""
    plain = " ".join(words_of(name))
    return bool(time_role(name)[0]) or plain in VIDEOS or plain in LABELS or name.lower().endswith(".onset")


def columns_of(grid: Grid, options: Reading, videos: Videos) -> Columns:
    """The columns of a table, by options or usual names.

    Raises:
        ManifestError: some are missing or ambiguous; names the option.
    """
    start = _time(grid, "start", options.start_column, options)
    end = _time(grid, "end", options.end_column, options)
    duration = _time(grid, "duration", options.duration_column, options)
    if start is None:
        start = _time(grid, "frame", None, options) or _time(grid, "time", None, options)
    if start is None:
        raise ManifestError(
            f"{grid.path}: no column of start times among {_all(grid)}: name it with --start-column, if this line is"
            " the header"
        )
    if end is not None and options.duration_column is None:
        duration = None
    elif duration is not None:
        end = None
    taken = {each.column for each in (start, end, duration) if each}
    video = _video(grid, options, videos, taken)
    label = [grid.columns[grid.column(name)] for name in options.label_column] or _label(grid, {*taken, video})
    return Columns(video, start, end, duration, label, time_role(start.column)[0] == "frame")


def _time(grid: Grid, role: str, named: str | None, options: Reading) -> Time | None:
    if named is not None:
        column = grid.columns[grid.column(named)]
        return Time(column, options.unit or time_role(column)[1])
    given = {options.video_column, options.start_column, options.end_column, options.duration_column}
    free = [name for name in grid.columns if name not in given and name not in options.label_column]
    found = [Time(name, unit) for name in free for is_a, unit in [time_role(name)] if is_a == role]
    for unit in PREFERRED:  # EPIC-KITCHENS has start_timestamp and start_frame, which say the same
        same = [each for each in found if each.unit == unit]
        if len(same) > 1 and not _are_clocks(same):
            names = " or ".join(repr(each.column) for each in same)
            flag = "start" if role in ("time", "frame") else role
            raise ManifestError(f"{grid.path}: the {role} may be {names}: choose with --{flag}-column")
        if same:
            return Time(same[0].column, options.unit or unit)
    return None


def _are_clocks(times: Sequence[Time]) -> bool:
    """Whether columns differ in how they write one time: ELAN exports `hh:mm:ss.ms` beside `ss.msec`."""
    return len({" ".join(words_of(each.column)).split(" hh")[0].split(" ss")[0] for each in times}) == 1


def _video(grid: Grid, options: Reading, videos: Videos, taken: set[str]) -> str | None:
    if options.video_column is not None:
        return grid.columns[grid.column(options.video_column)]
    free = [name for name in grid.columns if name not in taken and name not in options.label_column]
    found = [name for name in free if " ".join(words_of(name)) in VIDEOS]
    if options.video is not None:
        if naming := [name for name in found if _names_videos(grid, name, videos)]:
            raise ManifestError(f"{grid.path}: its column {naming[0]!r} names videos, so --video cannot; leave it out")
        return None
    if len(found) > 1:
        found = [name for name in found if _names_videos(grid, name, videos)] or found
    if len(found) > 1 and "id" in [name.lower() for name in found]:
        found = [name for name in found if name.lower() != "id"]
    if len(found) > 1:
        names = " or ".join(map(repr, found))
        raise ManifestError(f"{grid.path}: the video may be {names}: choose with --video-column")
    return found[0] if found else None


def _names_videos(grid: Grid, name: str, videos: Videos) -> bool:
    at = grid.columns.index(name)
    return any(videos.has(text) for text in {cells[at] for _, cells in grid.records() if cells})


def _label(grid: Grid, taken: Iterable[str | None]) -> list[str]:
    free = [name for name in grid.columns if name not in set(taken)]
    usual = {" ".join(words_of(name)): name for name in reversed(free)}
    for name in LABELS:
        if name in usual:
            return [usual[name]]
    others = [name for name in free if not time_role(name)[0]]
    return others if len(others) == 1 else []


def _all(grid: Grid) -> str:
    return ", ".join(map(repr, grid.columns))
