"""What rows of Ego4D's annotations become: clips of the files that are there, and why others are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from egotools.errors import ManifestError
from egotools.types import Clip

Of = Literal["video", "clip", "row"]  # the whole video, the clip of some minutes, a file of the row alone


class Stretch(NamedTuple):
    """A stretch of a file: what it is of, its name without suffix, seconds."""

    of: Of
    stem: str
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Listing:
    """What the rows of annotations become."""

    folder: Path
    suffix: str  # of the files, for messages
    there: Mapping[str, Path]  # files by their names without suffix
    of: Of | None = None  # only files of these; None: the first of a row's stretches that has a file
    clips: list[Clip] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # names of files, once for each row that needs it
    refused: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)  # ids of rows that are there again, the same
    points: list[str] = field(default_factory=list)  # ids of rows without length, which are refused
    known: dict[str, tuple[str, object]] = field(default_factory=dict)  # by id, where its first row is, and the row

    def is_new(self, where: str, id: str, row: object) -> bool:
        """Whether a row is the first with its id; of later ones, those that differ are refused."""
        place, first = self.known.setdefault(id, (where, row))
        if place == where:
            return True
        if first == row:
            self.repeated.append(id)
        else:
            self.refused.append(f"{where}: the id {id!r} is also that of {place.rpartition(' ')[2]}, which differs")
        return False

    def first(self, stretches: Sequence[Stretch]) -> Stretch | None:
        """The first that has a file."""
        return next((each for each in self._wanted(stretches) if each.stem in self.there), None)

    def _wanted(self, stretches: Sequence[Stretch]) -> list[Stretch]:
        return [each for each in stretches if self.of in (None, each.of)]

    def add(self, where: str, id: str, stretches: Sequence[Stretch], split: str, labels: Mapping[str, str]) -> None:
        """Adds a row's clip, or why there is none."""
        wanted, stretch = self._wanted(stretches), self.first(stretches)
        if not wanted:
            self.refused.append(f"{where}: it has no times in the {self.of}")
            return
        if stretch is None:
            self.missing.append(str(self.folder / f"{wanted[0].stem}{self.suffix}"))
            return
        if stretch.start == stretch.end:
            self.points.append(id)
            self.refused.append(f"{where}: it has no length, at {stretch.start:g} s")
            return
        try:
            clip = Clip(id, self.there[stretch.stem], stretch.start, stretch.end, split=split, labels=labels)
        except ManifestError as error:  # times out of order
            self.refused.append(f"{where}: {error}")
            return
        self.clips.append(clip)
