"""Predictions compared with the truth: reports, files and pictures. Does not import torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egotools.config import finite, options_of, to_json
from egotools.errors import TableError
from egotools.files.disk import write_whole
from egotools.manifests.segments import Segment, read_segments
from egotools.manifests.table import read_manifest
from egotools.methods.segmentation.comparison import Comparison, Key, compare, comparison_figures, remarks_of
from egotools.methods.segmentation.options import Scoring
from egotools.methods.segmentation.predictions import FILE, Prediction, read_predictions, write_predictions
from egotools.plots import Band, bands_picture
from egotools.provenance import versions
from egotools.tables.sequences import RECORDING
from egotools.texts import split_name

Content = dict[str, Any]  # a report; Any: JSON values

SHOWN = 4  # videos of a picture: the first ones, and as many with the fewest right frames


def evaluate_predictions(
    files: Sequence[Path],
    segments: Path,
    scoring: Scoring,
    *,
    background: Sequence[str] = (),
    manifest: Path | None = None,
    split: str | None = None,
) -> tuple[Content, Comparison, list[Prediction]]:
    """Compares predictions in files with the truth.

    Args:
        files: CSV of predicted segments.
        segments: the truth.
        scoring: averages and rare classes.
        background: classes that are no segments for edit and F1.
        manifest: whose clips have to be predicted; None: the other sequences of recordings that have a prediction.
        split: only those of this split.

    Returns:
        The report, the compared videos, and all predictions.

    Raises:
        ManifestError: a file cannot be read, or holds overlapping segments.
        TableError: no prediction has truth, or a sequence is predicted twice.
    """
    predictions: dict[tuple[str, str], Prediction] = {}
    for path in files:
        for each in read_predictions(path):
            if predictions.setdefault((each.id, each.name), each) is not each:
                raise TableError(f"{path}: the sequence {each.name!r} of {each.id!r} is predicted in two files")
    truth = read_segments(segments)
    wanted = None if manifest is None else _wanted(manifest, split, truth)
    comparison = compare([*predictions.values()], truth, str(segments), wanted=wanted)
    arguments = {**options_of(scoring), "background": list(background), "predictions": [str(path) for path in files]}
    arguments |= {"manifest": None if manifest is None else str(manifest), "split": split}
    content = {
        "command": "eval segmentation",
        "protocol": f"predictions of {len(comparison.videos)} videos",
        **comparison_report(comparison, background, scoring),
        "remarks": remarks_of(comparison),
        "arguments": {**arguments, "segments": str(segments)},
        "versions": versions(),
    }
    return content, comparison, [*predictions.values()]


def save(folder: Path, content: Content, comparison: Comparison, predictions: Sequence[Prediction]) -> None:
    """Writes predictions, a picture of some of them, and the report, each whole or not at all."""
    write_predictions(folder / FILE, predictions)
    title = f"eval segmentation: {content['protocol']}"
    write_whole(folder / "segments.png", bands_picture(_bands(comparison, content), comparison.classes, title=title))
    write_whole(folder / "report.json", to_json(content))


def comparison_report(comparison: Comparison, background: Sequence[str], scoring: Scoring) -> Content:
    """The figures of a report, None for what is undefined.

    Raises:
        TableError: a class that is named is none.
    """
    found: Content = finite(comparison_figures(comparison, background, scoring))
    return found


def _wanted(manifest: Path, split: str | None, truth: Sequence[Segment]) -> set[Key]:
    """The true sequences of the clips of a split."""
    clips = read_manifest(manifest)
    name = None if split is None else split_name(split)
    kept = [clip for clip in clips if name is None or split_name(clip.split) == name]
    if not kept:
        raise TableError(f"{manifest}: no clip has the split {split!r}")
    ids = {clip.id for clip in kept} | {clip.labels.get(RECORDING, "") for clip in kept}
    return {(each.id, each.sequence) for each in truth if each.id in ids}


def _bands(comparison: Comparison, content: Content) -> list[Band]:
    """The first videos, and those with the fewest right frames."""
    by_video = content["by_video"]
    worst = sorted(range(len(by_video)), key=lambda at: by_video[at]["mof"] or 0.0)
    order = dict.fromkeys([*range(min(SHOWN, len(by_video))), *worst[:SHOWN]])
    bands = []
    for at in order:
        video, mof = comparison.videos[at], by_video[at]["mof"]
        view = f", {video.prediction.view}" if video.prediction.view else ""
        name = f"{video.prediction.name}{view}: {'no' if mof is None else f'{mof:.0f} %'} frames right"
        bands.append(Band(name, video.true, video.predicted))
    return bands
