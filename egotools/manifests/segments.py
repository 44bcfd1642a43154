"""Labeled segments of clips: CSV with the columns id, start, end, label, and sequence if a clip has several parts.

`id` is a clip's id, or the recording that several views share. Times are seconds of the file; a segment lasts from
`start` up to, but not including, `end`.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from egotools.errors import ManifestError
from egotools.files.csv_files import another_delimiter, open_csv
from egotools.files.disk import write_whole
from egotools.texts import composed, tidy

COLUMNS = ("id", "start", "end", "label")
SEQUENCE = "sequence"
TOUCHING = 1e-6  # seconds by which written times may overlap


@dataclass(frozen=True)
class Segment:
    """A labeled stretch of a clip, in seconds; `sequence` names the part of the clip that is annotated as one."""

    id: str
    start: float
    end: float
    label: str
    sequence: str


def read_segments(path: Path | str) -> list[Segment]:
    """The segments of a file, in its order; `sequence` is the id where the file does not say.

    Raises:
        ManifestError: the file cannot be read, a row is invalid, or two segments of one sequence overlap; names rows.
    """
    path = Path(path)
    columns, rows = open_csv(path)
    if missing := [name for name in COLUMNS if name not in columns]:
        raise ManifestError(
            f"{path}: no column {missing[0]!r}; segments need {', '.join(COLUMNS)}{another_delimiter(columns)}"
        )
    found = [(number, _segment(f"{path}, row {number}", cells)) for number, cells in rows]
    if not found:
        raise ManifestError(f"{path}: no segments, only a header")
    _check_overlaps(path, found)
    return [segment for _, segment in found]


def by_sequence(segments: Iterable[Segment]) -> dict[tuple[str, str], list[Segment]]:
    """The segments of each sequence by (id, sequence), sorted by time; in order of first appearance."""
    found: dict[tuple[str, str], list[Segment]] = {}
    for segment in segments:
        found.setdefault((segment.id, segment.sequence), []).append(segment)
    return {key: sorted(each, key=lambda segment: segment.start) for key, each in found.items()}


def write_segments(
    path: Path | str, segments: Sequence[Segment], extra: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Writes segments so that `read_segments` returns them again, with further columns, one text a segment.

    Raises:
        OutputError: the file cannot be written.
    """
    columns, text = dict(extra or {}), io.StringIO()
    has_sequences = any(segment.sequence != segment.id for segment in segments)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *([SEQUENCE] if has_sequences else []), *columns])
    for number, each in enumerate(segments):
        own = [each.id, repr(float(each.start)), repr(float(each.end)), each.label]
        more = [values[number] for values in columns.values()]
        writer.writerow([*own, *([each.sequence] if has_sequences else []), *more])
    write_whole(Path(path), text.getvalue())


def _segment(where: str, cells: Mapping[str, str]) -> Segment:
    id, label = composed(cells["id"]), tidy(cells["label"])
    if not id or not label:
        raise ManifestError(f"{where}: a segment needs an id and a label")
    start, end = (_seconds(cells[name], f"{where}: {name}") for name in ("start", "end"))
    if end <= start:
        raise ManifestError(f"{where}: the end {end:g} s is not after the start {start:g} s")
    return Segment(id, start, end, label, tidy(cells.get(SEQUENCE, "")) or id)


def _seconds(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise ManifestError(f"{where} {text!r} is not a time in seconds, 0 or more")
    return value


def _check_overlaps(path: Path, found: Sequence[tuple[int, Segment]]) -> None:
    ordered = sorted(found, key=lambda each: (each[1].id, each[1].sequence, each[1].start, each[1].end))
    for (one, before), (other, after) in pairwise(ordered):
        is_same = (before.id, before.sequence) == (after.id, after.sequence)
        if is_same and after.start < before.end - TOUCHING:
            raise ManifestError(
                f"{path}, rows {min(one, other)} and {max(one, other)}: segments of {after.sequence!r} overlap:"
                f" {before.start:g} to {before.end:g} s, and {after.start:g} to {after.end:g} s"
            )
