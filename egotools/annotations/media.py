"""Observations of BORIS: states that start and stop, and times that count through several files."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from egotools.annotations.events import Annotations, Event
from egotools.texts import named

Status = Literal["START", "STOP", "POINT", "TOGGLE"]
UNPAIRED = "states that start or stop only"


@dataclass(frozen=True)
class Media:
    """The files of an observation, played one after another; lengths are seconds, None where they are not known.

    The time of an event is that of the media plus `offset`. `total` is the length of all of them.
    """

    files: Sequence[str]
    lengths: Sequence[float | None]
    offset: float = 0.0
    total: float | None = None

    def parts(self, start: float, end: float | None) -> list[tuple[str, float, float | None]]:
        """The files that an event is in, with its times in each; a state that goes on in the next file has two.

        Raises:
            ValueError: it is in none, or the lengths are not known.
        """
        start, end = start - self.offset, None if end is None else end - self.offset
        if start < -1e-6:
            raise ValueError(f"{start:g} s is before the video, at a time offset of {self.offset:g} s")
        start = max(start, 0.0)
        if len(self.files) == 1:
            return [(self.files[0], start, end)]
        found: list[tuple[str, float, float | None]] = []
        begin = 0.0
        for number, file in enumerate(self.files):
            length = self.lengths[number] if number < len(self.lengths) else None
            is_last = number == len(self.files) - 1
            if length is None and not is_last:
                raise ValueError(f"the length of {file!r} is not stated, by which times in later files are known")
            border = float("inf") if is_last or length is None else begin + length
            if end is None or end <= start:
                if begin <= start < border:
                    found.append((file, start - begin, None if end is None else end - begin))
            elif max(start, begin) < min(end, border):
                found.append((file, max(start, begin) - begin, min(end, border) - begin))
            begin = border
        return found


@dataclass(frozen=True)
class Mark:
    """A row of an observation at one time. Marks of one key are starts and stops of one state."""

    time: float
    key: tuple[str, ...]
    status: Status
    labels: Mapping[str, str]
    where: str
    track: str


def variable_name(name: str, taken: Container[str]) -> str:
    """The column of an independent variable; one that is called like a column of the events is not taken for it."""
    return f"variable {name}" if name.strip().lower() in taken else name


def track_of(subject: str, category: str) -> str:
    """What is not expected to overlap: BORIS excludes behaviors of one category, and others only if it is told to."""
    return ", ".join(each for each in (subject, category) if each)


def other_players(players: Sequence[str]) -> str:
    """A remark on files that were played beside the first."""
    return f"segments are of player 1; the files of {named([f'player {each}' for each in players], 3)} are left out"


def add_paired(marks: Sequence[Mark], media: Media, found: Annotations) -> None:
    """Adds the states, from each start to the next stop of its key, and the points of an observation."""
    running: dict[tuple[str, ...], Mark] = {}
    events: list[tuple[Mark, float | None]] = []
    for mark in sorted(marks, key=lambda each: each.time):
        name = " ".join(each for each in mark.key if each)
        before = running.pop(mark.key, None) if mark.status != "POINT" else None
        if mark.status == "POINT":
            events.append((mark, None))
        elif mark.status == "START" or (mark.status == "TOGGLE" and before is None):
            running[mark.key] = mark
            if before is not None:
                found.lose(UNPAIRED, f"{before.where}: {name!r} starts at {before.time:g} s and does not stop")
        elif before is None:
            found.lose(UNPAIRED, f"{mark.where}: {name!r} stops at {mark.time:g} s and has not started")
        else:
            events.append((before, mark.time))
    for mark in running.values():
        name = " ".join(each for each in mark.key if each)
        found.lose(UNPAIRED, f"{mark.where}: {name!r} starts at {mark.time:g} s and does not stop")
    for mark, end in sorted(events, key=lambda each: each[0].time):
        add_event(mark, end, media, found)


def add_event(mark: Mark, end: float | None, media: Media, found: Annotations) -> None:
    """Adds an event from a mark to its end in the files that it is in."""
    try:
        parts = media.parts(mark.time, end)
    except ValueError as error:
        found.lose("events at times that are in no file", f"{mark.where}: {error}")
        return
    lengths = dict(zip(media.files, media.lengths, strict=False))
    for file, begin, stop in parts:
        length = lengths.get(file)
        event = Event(file, begin, stop, mark.labels, mark.where, mark.track, length=length, total=media.total)
        found.events.append(event)
