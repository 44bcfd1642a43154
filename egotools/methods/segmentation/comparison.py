"""Predicted segments against true ones: figures by view, of rare classes, and by video. Axes: S segments."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egotools.errors import TableError
from egotools.manifests.classes import read_classes
from egotools.manifests.segments import Segment, by_sequence
from egotools.methods.segmentation.options import Scoring
from egotools.methods.segmentation.predictions import Prediction, numbered_segments
from egotools.metrics.segmentation import Segments, accuracy, cut, scores
from egotools.texts import named

Content = dict[str, Any]  # a report; Any: JSON values
Key = tuple[str, str]  # id or recording, and sequence

JOINT = "all"
NAMED = 5
NOTICED = 1e-6  # seconds


@dataclass(frozen=True, eq=False)
class Compared:
    """Predicted and true segments of a video, both cut to the time that both cover."""

    prediction: Prediction
    predicted: Segments
    true: Segments
    uncovered: float  # seconds of truth that nothing was predicted for, before or after all predictions


@dataclass(frozen=True, eq=False)
class Comparison:
    """All videos, and which of the true sequences have none."""

    videos: tuple[Compared, ...]
    classes: tuple[str, ...]
    missing: tuple[Key, ...]  # that had to be predicted
    others: tuple[Key, ...]
    strangers: tuple[Key, ...]  # predictions without truth


def compare(
    predictions: Sequence[Prediction], truth: Sequence[Segment], where: str, *, wanted: Collection[Key] | None = None
) -> Comparison:
    """Pairs predictions with the truth by id or recording, and sequence; each view is a video of its own.

    Args:
        predictions: of clips.
        truth: true segments, of clips or of recordings.
        where: what errors name.
        wanted: true sequences that have to be predicted; None: all of the recordings that predictions are of.

    Raises:
        TableError: no prediction has truth.
    """
    true = by_sequence(truth)
    labels = {each.label for each in truth} | {each.label for video in predictions for each in video.segments}
    classes = tuple(sorted(labels))
    numbers = {name: number for number, name in enumerate(classes)}
    videos, met, strangers = [], set(), []
    for each in predictions:
        key = _key(each, true)
        if key is None:
            strangers.append((each.id, each.name))
            continue
        met.add(key)
        videos.append(_compared(each, numbered_segments(true[key], numbers), numbers))
    if not videos:
        raise TableError(
            f"{where}: no prediction meets true segments; predictions are of ids like {predictions[0].id!r} and"
            f" sequences like {predictions[0].name!r}, the truth is of {' and '.join(map(repr, next(iter(true))))}"
        )
    ids = {id for id, _ in met}
    left = [key for key in true if key not in met]
    missing = [key for key in left if (key[0] in ids if wanted is None else key in wanted)]
    others = [key for key in left if key not in missing]
    return Comparison(tuple(videos), classes, tuple(missing), tuple(others), tuple(strangers))


def _key(prediction: Prediction, true: Collection[Key]) -> Key | None:
    """The true sequence of a prediction; one that names no sequence is of the only one of its recording."""
    owners = dict.fromkeys((prediction.id, prediction.recording))
    for owner in owners:
        if (owner, prediction.name) in true:
            return owner, prediction.name
    if prediction.name != prediction.id:
        return None
    own = [key for key in true if key[0] in owners]
    return own[0] if len(own) == 1 else None


def _compared(prediction: Prediction, true: Segments, numbers: dict[str, int]) -> Compared:
    predicted = prediction.numbered(numbers)
    begin, end = max(predicted.starts[0], true.starts[0]), min(predicted.ends[-1], true.ends[-1])
    kept = cut(true, begin, end)
    lost = float(np.sum(true.ends - true.starts) - np.sum(kept.ends - kept.starts))
    return Compared(prediction, cut(predicted, begin, end), kept, lost)


def comparison_figures(found: Comparison, background: Sequence[str], scoring: Scoring) -> Content:
    """Figures of each view and of all videos together, and of each video; JSON-ready.

    Raises:
        TableError: a class that is named is none.
    """
    numbers = {name: number for number, name in enumerate(found.classes)}
    if unknown := [name for name in background if name not in numbers]:
        raise TableError(
            f"--background {unknown[0]!r} is no class of truth or predictions, which are {named(found.classes, 12)}"
        )
    hidden = [numbers[name] for name in background]
    tail = None if scoring.tail is None else _tail(scoring.tail, numbers)
    views = sorted({video.prediction.view for video in found.videos})
    by_view = {view: [each for each in found.videos if each.prediction.view == view] for view in views}

    def figures(videos: Sequence[Compared]) -> Content:
        pairs = [(each.predicted, each.true) for each in videos]
        own: Content = {"videos": len(videos), **scores(pairs, average=scoring.average, background=hidden)}
        if tail is not None:
            own["mof_tail"] = accuracy(pairs, tail)
            own["mof_head"] = accuracy(pairs, {*numbers.values()} - {*tail})
        return own

    return {
        **figures(found.videos),
        "views": [{"view": view, **figures(videos)} for view, videos in by_view.items()] if len(views) > 1 else [],
        "by_video": [
            {"id": each.prediction.id, "sequence": each.prediction.name, "view": each.prediction.view}
            | scores([(each.predicted, each.true)], average="video", background=hidden)
            for each in found.videos
        ],
        "uncovered_seconds": sum(each.uncovered for each in found.videos),
        "missing": [list(key) for key in found.missing],
    }


def remarks_of(found: Comparison) -> list[str]:
    """What could not be compared, counted and named; sequences that are missing are failures, and not here."""
    remarks = []
    if short := [each for each in found.videos if each.uncovered > NOTICED]:
        seconds = sum(each.uncovered for each in short)
        names = named([each.prediction.id for each in short], NAMED)
        remarks.append(f"{seconds:.3f} s of truth of {len(short)} videos left out, as nothing was predicted: {names}")
    if found.others:
        names = named([name for _, name in found.others], NAMED)
        remarks.append(
            f"{len(found.others)} true sequences without predictions are of other recordings: left out: {names}"
        )
    if found.strangers:
        names = named([f"{name} in {id}" for id, name in found.strangers], NAMED)
        remarks.append(f"{len(found.strangers)} predicted sequences without truth left out: {names}")
    return remarks


def _tail(path: Path, numbers: dict[str, int]) -> list[int]:
    """Numbers of the rare classes of a file; those that no video has are left out."""
    names = read_classes(path)
    found = [numbers[name] for name in names if name in numbers]
    if not found:
        raise TableError(f"{path}: none of its {len(names)} classes, such as {names[0]!r}, is in the truth")
    return found
