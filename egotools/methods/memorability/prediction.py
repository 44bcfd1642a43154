"""Scores of new videos, straight from their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.extraction.request import Resources
from egotools.methods.memorability.normalizing import doubts
from egotools.methods.memorability.run import open_run
from egotools.methods.memorability.task import Member
from egotools.methods.new_videos import Failures, VideoFeatures, features_of_videos
from egotools.progress import Progress, no_progress
from egotools.tables.groups import one_hot

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scored:
    """A video's score: the mean over a run's networks, and how much they differ."""

    path: Path
    score: float
    deviation: float


@dataclass(frozen=True)
class Prediction:
    """Scores of the videos that could be read, in their order, and why the others could not."""

    scored: tuple[Scored, ...]
    failed: Failures
    networks: int
    remarks: tuple[str, ...] = ()


def predict_memorability(
    folder: Path,
    videos: Sequence[Path],
    *,
    trusted: frozenset[str] = frozenset(),
    resources: Resources = Resources(),  # noqa: B008 - frozen
    progress: Progress = no_progress,
) -> Prediction:
    """Computes the features that a run was trained on, in one decoding pass, and scores each video.

    Args:
        folder: the run.
        videos: files.
        trusted: the user's own extractors, files and packages, that may run: a run only names them.
        resources: what this machine gives.
        progress: told of videos and rows.

    Raises:
        RunError: no such run, or features that cannot be computed as the run's were; they are named.
    """
    trained = open_run(folder)
    found = features_of_videos(folder, trained.records, videos, trusted=trusted, resources=resources, progress=progress)
    columns = [
        values if group.classes is None else one_hot(values, group)
        for values, group in zip(found.columns, trained.groups, strict=bool(found.videos))
    ]
    remarks = (*doubts(trained.groups, trained.normalizing), *found.remarks)
    return Prediction(scored(found, columns, trained.members, resources), found.failed, len(trained.members), remarks)


def scored(
    features: VideoFeatures, columns: Sequence[Floats], members: Sequence[Member], resources: Resources
) -> tuple[Scored, ...]:
    """The mean scores of the videos, from the features [N, D] of each group."""
    if not features.videos:
        return ()
    device, _, _ = resources.chosen()
    values = np.concatenate(columns, axis=1)
    scores = np.array([member.scores(values, device) for member in members])  # [networks, N]
    numbers = zip(scores.mean(axis=0).tolist(), scores.std(axis=0).tolist(), strict=True)
    return tuple(Scored(video, *both) for video, both in zip(features.videos, numbers, strict=True))
