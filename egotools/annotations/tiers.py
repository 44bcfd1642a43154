"""Tiers of annotations: which make segments, and which describe the segments of the others."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from egotools.annotations.events import Annotations, Event
from egotools.errors import ManifestError
from egotools.texts import named


@dataclass(frozen=True)
class Note:
    """An annotation of a tier, with a value for each of its columns; a moment has no end.

    `parent` is the annotation that it belongs to: it has the same time, and describes it.
    """

    tier: str
    start: float
    end: float | None
    values: Mapping[str, str]
    where: str
    id: str = ""
    parent: str = ""
    about: str = ""  # whom, such as a participant


def add_tiers(path: Path, video: str, notes: Sequence[Note], chosen: Sequence[str], found: Annotations) -> None:
    """Adds a segment for each annotation of the chosen tiers, by default all that have times of their own.

    A segment has the values of its own tier. Tiers that make no segments describe those of the others: by belonging to
    them, or by what they say in the middle of the segment.

    Raises:
        ManifestError: no such tier.
    """
    tiers: dict[str, list[Note]] = {}
    for note in notes:
        tiers.setdefault(note.tier, []).append(note)
    if missing := [name for name in chosen if name not in tiers]:
        raise ManifestError(f"{path}: no annotations in a tier {missing[0]!r}; there are {', '.join(map(repr, tiers))}")
    own = [name for name in tiers if any(not note.parent for note in tiers[name])]
    making = list(chosen) or own
    others = {name: _Lane.of(each) for name, each in tiers.items() if name not in making}
    by_id = {note.id: note for note in notes if note.id}
    children: dict[str, list[Note]] = {}
    for note in notes:
        if note.parent:
            children.setdefault(note.parent, []).append(note)
    found.remarks.append(f"{path}: segments are of the tiers {named([*map(repr, making)], 8)}{_described(others)}")
    for note in notes:
        if note.tier in making:
            values = dict(note.values)
            for name, each in _related(note, others, by_id, children).items():
                values.setdefault(name, each)
            texts = {_column(name): text for name, text in values.items()}
            about = {"participant": note.about} if note.about else {}
            labels = {**texts, "tier": note.tier, **about}
            found.events.append(Event(video, note.start, note.end, labels, note.where, note.tier))


def _column(tier: str) -> str:
    """The column of a tier, or of a code; those that say which tier and whom it is about are not overwritten."""
    return f"table {tier}" if tier.strip().lower() in ("tier", "participant") else tier


def _described(others: Mapping[str, object]) -> str:
    return f"; described by {named([*map(repr, others)], 8)}" if others else "; --tier chooses"


@dataclass(frozen=True)
class _Lane:
    """The annotations of a tier in the order of their starts."""

    starts: list[float]
    notes: list[Note]

    @classmethod
    def of(cls, notes: Sequence[Note]) -> "_Lane":
        ordered = sorted(notes, key=lambda note: note.start)
        return cls([note.start for note in ordered], ordered)

    def at(self, time: float) -> Note | None:
        """The last one that has begun and not ended."""
        place = bisect_right(self.starts, time) - 1
        note = self.notes[place] if place >= 0 else None
        return note if note is not None and note.end is not None and time < note.end else None


def _related(
    note: Note,
    others: Mapping[str, _Lane],
    by_id: Mapping[str, Note],
    children: Mapping[str, Sequence[Note]],
) -> dict[str, str]:
    """The values of tiers that make no segments, at one that does."""
    found: dict[str, list[str]] = {}
    family = [*_above(note, by_id), *_below(note, children)]
    for each in family:
        if each.tier in others:
            for name, value in each.values.items():
                found.setdefault(name, []).append(value)
    related = {each.tier for each in family}
    middle = note.start if note.end is None else (note.start + note.end) / 2
    for tier, lane in others.items():
        there = None if tier in related else lane.at(middle)
        if there is not None:
            found |= {name: [value] for name, value in there.values.items()}
    return {name: " ".join(value for value in values if value) for name, values in found.items()}


def _above(note: Note, by_id: Mapping[str, Note]) -> list[Note]:
    found: list[Note] = []
    while note.parent in by_id and len(found) < 20:  # tiers nest a few levels; damaged files may go in circles
        note = by_id[note.parent]
        found.append(note)
    return found


def _below(note: Note, children: Mapping[str, Sequence[Note]]) -> list[Note]:
    """All that belong to an annotation; damaged files, whose ids are not unique, may go in circles."""
    found: list[Note] = []
    seen, waiting = {note.id}, [note.id] if note.id else []
    while waiting:
        for child in children.get(waiting.pop(), ()):
            found.append(child)
            if child.id and child.id not in seen:
                seen.add(child.id)
                waiting.append(child.id)
    return found
