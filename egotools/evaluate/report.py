"""A result as files: `predictions.csv`, `confusion.png`, and `report.json` last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from egotools.config import finite, to_json
from egotools.evaluate.classification import Result
from egotools.files import write_whole
from egotools.plots import confusion_picture
from egotools.runs import versions
from egotools.tables import input_digests


def report(
    command: str, arguments: Mapping[str, Any], result: Result, *, manifest: Path, features: Sequence[Path]
) -> dict[str, Any]:
    """All that is to be known of a result, JSON-ready (hence Any): figures (None for what is undefined),
    remarks, and what they came from."""
    content: dict[str, Any] = {
        "command": command,
        **finite(result.figures),
        "remarks": list(result.remarks),
        "arguments": dict(arguments),
        "inputs": input_digests(manifest, features),
        "versions": versions(),
    }
    return content


def save(folder: Path, content: Mapping[str, Any], result: Result) -> None:
    """Writes a report, the predictions and a picture of the confusions; each file whole or not at all."""
    predictions = result.predictions
    title = f"{content['command']}: {content['arguments']['label']}"
    write_whole(folder / "predictions.csv", predictions.to_csv())
    write_whole(folder / "confusion.png", confusion_picture(predictions.confusion, predictions.classes, title=title))
    write_whole(folder / "report.json", to_json(content))
