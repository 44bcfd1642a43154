"""Classes of new videos, straight from their files. Axes: V videos, N rows, K classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from egotools.extraction.request import Resources
from egotools.methods.new_videos import Failures, features_of_videos
from egotools.methods.probe.run import open_probe
from egotools.methods.records import read_records
from egotools.progress import Progress, no_progress


@dataclass(frozen=True)
class Classified:
    """The most probable class of a video, and its probability."""

    path: Path
    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """Classes of the videos that could be read, in their order, and why the others could not."""

    classified: tuple[Classified, ...]
    failed: Failures
    label: str  # what the classes are: the manifest column that the run learned
    remarks: tuple[str, ...] = ()


def predict_probe(
    folder: Path,
    videos: Sequence[Path],
    *,
    trusted: frozenset[str] = frozenset(),
    resources: Resources = Resources(),  # noqa: B008 - frozen
    progress: Progress = no_progress,
) -> Prediction:
    """Computes the features that a run was fitted on, in one decoding pass, and classifies each video.

    Of a run that was fitted on windows (`reduce` None), the probabilities of a video are the mean over its windows.

    Args:
        folder: the run.
        videos: files.
        trusted: the user's own extractors, files and packages, that may run: a run only names them.
        resources: what this machine gives.
        progress: told of videos and rows.

    Raises:
        RunError: no such run, or features that cannot be computed as the run's were; they are named.
    """
    run, classifier = open_probe(folder)
    identity = run.recipe.identity
    found = features_of_videos(
        folder,
        read_records(run),
        videos,
        reduce=identity["reduce"],
        trusted=trusted,
        resources=resources,
        progress=progress,
    )
    classified = []
    for video, parts in zip(found.videos, found.rows, strict=True):
        probabilities = classifier.probabilities(np.concatenate(parts, axis=1)).mean(axis=0)
        best = int(probabilities.argmax())
        classified.append(Classified(video, classifier.classes[best], float(probabilities[best])))
    return Prediction(tuple(classified), found.failed, identity["label"], found.remarks)
