"""Predictions of whole sequences as values and as CSV files. Axes: S segments."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from egotools.errors import ManifestError
from egotools.files.csv_files import read_csv
from egotools.manifests.segments import SEQUENCE, Segment, by_sequence, read_segments, write_segments
from egotools.metrics.segmentation import Segments
from egotools.tables.sequences import RECORDING, VIEW
from egotools.texts import composed, tidy

FILE = "predictions.csv"


@dataclass(frozen=True, eq=False)
class Prediction:
    """Labeled segments of a sequence, in seconds of the annotation."""

    name: str  # of the sequence
    id: str  # of the clip
    recording: str
    view: str
    segments: tuple[Segment, ...]  # in order of time

    def numbered(self, numbers: dict[str, int]) -> Segments:
        """As numbers of classes."""
        return numbered_segments(self.segments, numbers)


def numbered_segments(segments: Sequence[Segment], numbers: dict[str, int]) -> Segments:
    """Segments in order of time as arrays, their labels as numbers of classes."""
    times = np.array([[each.start, each.end] for each in segments], np.float64).reshape(-1, 2)
    return Segments(np.array([numbers[each.label] for each in segments], np.int64), times[:, 0], times[:, 1])


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Segments of all sequences as CSV, with the columns recording and view.

    Raises:
        OutputError: the file cannot be written.
    """
    owners = [(each, segment) for each in predictions for segment in each.segments]
    columns = {RECORDING: [each.recording for each, _ in owners], VIEW: [each.view for each, _ in owners]}
    write_segments(path, [segment for _, segment in owners], columns)


def read_predictions(path: Path) -> list[Prediction]:
    """What `write_predictions` wrote, or another program: segments, whose columns recording and view may be missing.

    Without a recording, that of a clip `<recording>/<camera>` is what its id says.

    Raises:
        ManifestError: the file cannot be read, a row is invalid, or two segments of one sequence overlap.
    """
    found = by_sequence(read_segments(path))
    _, rows = read_csv(path)
    facts: dict[tuple[str, str], tuple[str, str]] = {}
    for number, cells in rows:
        id = composed(cells["id"])
        own = composed(cells.get(RECORDING, "")) or id.rpartition("/")[0] or id, tidy(cells.get(VIEW, ""))
        key = id, tidy(cells.get(SEQUENCE, "")) or id
        if facts.setdefault(key, own) != own:
            raise ManifestError(f"{path}, row {number}: {key[1]!r} in {id!r} has another recording or view than before")
    return [Prediction(name, id, *facts[id, name], tuple(parts)) for (id, name), parts in found.items()]
