"""A result as files: `predictions.csv`, `confusion.png`, and `report.json` last."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from egotools.config import finite, to_json
from egotools.evaluate.classification import Predictions, Result
from egotools.files.disk import write_whole
from egotools.metrics.classification import confusion
from egotools.plots import confusion_picture
from egotools.training.runs import provenance_of
from egotools.types import IntArray

SHOWN = 400  # classes of a picture
_Row = TypedDict(
    "_Row", {"class": str, "train_rows": int, "rows": int, "recall": float | None, "precision": float | None}
)


class _Arguments(TypedDict):
    label: str


class Shown(TypedDict):
    """The report of a probe, as far as it is shown."""

    command: str
    protocol: str
    remarks: list[str]
    arguments: _Arguments
    accuracy: float | None
    rows: int
    seeds: int
    classes: list[_Row]


def report(
    command: str,
    arguments: Mapping[str, Any],
    result: Result,
    *,
    manifest: Path,
    features: Sequence[Path],
    segments: Path | None = None,
) -> dict[str, Any]:
    """A result in JSON (hence Any): figures (None for what is undefined), remarks, and provenance."""
    remarks = {"remarks": list(result.remarks)}
    return {
        "command": command,
        **finite(result.figures),
        **remarks,
        **provenance_of(dict(arguments), manifest, features, segments),
    }


def save(folder: Path, content: Mapping[str, Any], result: Result) -> None:
    """Writes the predictions, a picture of the confusions, and the report; each file whole or not at all."""
    save_predictions(folder, content, result)
    write_whole(folder / "report.json", to_json(content))


def save_predictions(folder: Path, content: Mapping[str, Any], result: Result) -> None:
    """As `save`, without the report, which a run writes itself."""
    predictions = result.predictions
    title = f"{content['command']}: {content['arguments']['label']}"
    write_whole(folder / "predictions.csv", predictions.to_csv())
    counts, names, left = shown_confusions(predictions)
    write_whole(folder / "confusion.png", confusion_picture(counts, names, title=title + left))


def shown_confusions(predictions: Predictions, most: int = SHOWN) -> tuple[IntArray, list[str], str]:
    """What a picture shows: counts [K, K or K + 1] of the evaluated classes, their names, and what is left out.

    The last column counts predictions of other classes, if there are any; of more than `most` classes those with most
    rows are shown.
    """
    rows = predictions.hits.rows
    evaluated = np.flatnonzero(rows)
    shown = np.sort(evaluated[np.argsort(-rows[evaluated], kind="stable")[:most]])
    place = np.full(len(rows), len(shown))
    place[shown] = np.arange(len(shown))
    counts = confusion(place[predictions.labels], place[predictions.predicted], len(shown) + 1)[:-1]
    names = [predictions.classes[number] for number in shown]
    if not counts[:, -1].any():
        counts = counts[:, :-1]
    left_out = f" (the {most} most frequent of {len(evaluated)} classes)" if len(shown) < len(evaluated) else ""
    return counts, names, left_out
