"""Evaluates a network in training on labeled images: nearest neighbors and linear support vector machines.

Axes: N images, S side, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from egotools.errors import ManifestError, TrainingError
from egotools.evaluate.labelled_sets import labelled_set_figures
from egotools.loading.loader import loader
from egotools.loading.middle_frames import MiddleFrames, files_of_videos
from egotools.loading.order import Order
from egotools.manifests.table import column_of, read_manifest
from egotools.methods.storyboard.learners import Learner
from egotools.methods.storyboard.views import Viewing
from egotools.texts import split_name
from egotools.training.fit import autocast
from egotools.training.how import How
from egotools.types import Frame

BATCH = 64

Figures = dict[str, Any]  # Any: numbers, JSON-ready


@dataclass(frozen=True)
class EvalSet:
    """Labeled images that a network is evaluated on while it learns."""

    manifest: Path
    label: str


@dataclass(frozen=True, eq=False)
class LabeledSet:
    """Images with labels and splits, as the network is shown them."""

    name: str
    pixels: Frame  # uint8 [N, S, S, 3]
    labels: list[str]
    splits: list[str]


def set_names(evaluate: Sequence[EvalSet]) -> list[str]:
    """Names of labeled images in metrics: of their manifests, with the columns where a manifest is there twice.

    Raises:
        TrainingError: two would have the same.
    """
    stems = [each.manifest.stem for each in evaluate]
    names = [
        f"{stem}_{each.label}" if stems.count(stem) > 1 else stem for stem, each in zip(stems, evaluate, strict=True)
    ]
    if twice := [name for name in names if names.count(name) > 1]:
        raise TrainingError(f"--eval-manifest: two sets would be named {twice[0]!r}; rename a file")
    return names


def read_labeled_set(asked: EvalSet, name: str, viewing: Viewing, *, workers: int) -> LabeledSet:
    """The middle frame of each clip of a manifest, with the splits `train` and `test` or `val`; all in memory.

    Args:
        asked: a manifest of images, or clips, and the column of their classes.
        name: of the set.
        viewing: how they become what the network is shown.
        workers: processes that read; 0: this one.

    Raises:
        ManifestError: the manifest cannot be used.
        TrainingError: no such column, an image that cannot be read, or nothing to learn from or to evaluate on.
    """
    manifest, label = asked.manifest, asked.label
    every = read_manifest(manifest)
    try:
        column = column_of(every, label)
    except ManifestError as error:
        raise TrainingError(f"--eval-manifest {manifest}: {error}") from None
    labeled = [(clip, text) for clip, text in zip(every, column, strict=True) if text]
    clips = [clip for clip, _ in labeled]
    classes, numbers = np.unique([text for _, text in labeled], return_inverse=True)
    splits = [split_name(clip.split) for clip in clips]
    if not {"train", "test"} <= {*splits} and not {"train", "val"} <= {*splits}:
        raise TrainingError(f"--eval-manifest {manifest}: needs images of the splits train and test, or val")
    if len({number for number, split in zip(numbers.tolist(), splits, strict=True) if split == "train"}) < 2:
        raise TrainingError(f"--eval-manifest {manifest}: all of train are of one class of {label!r}")
    files = files_of_videos(clips, None, workers=workers)
    read = loader(
        MiddleFrames(clips, numbers.astype(np.int64), partial(_shown, viewing), files),
        Order(len(clips), BATCH, seed=0, epochs=1, shuffle=False, drop_last=False),
        seed=0,
        workers=workers,
        device=torch.device("cpu"),
        finish=lambda batch: batch["pixels"].numpy(),
    )
    return LabeledSet(name, np.concatenate([*read(0)]), classes[numbers].tolist(), splits)


def _shown(viewing: Viewing, frame: Frame, _: np.random.Generator) -> Frame:
    pixels: Frame = viewing.evaluation_pixels([frame])[0]
    return pixels


def evaluation_of(
    sets: Sequence[LabeledSet], viewing: Viewing, how: How, seed: int
) -> Callable[[Learner], Figures] | None:
    """Figures of a learner, with the sets' names before them; None without sets."""
    if not sets:
        return None

    def evaluated(learner: Learner) -> Figures:
        found: Figures = {}
        for each in sets:
            features = learner_features(learner, each.pixels, viewing, how)
            figures = labelled_set_figures(features, each.labels, each.splits, seed=seed)
            found |= {f"{each.name}_{name}": value for name, value in figures.items()}
        return found

    return evaluated


@torch.no_grad()
def learner_features(learner: Learner, pixels: Frame, viewing: Viewing, how: How) -> npt.NDArray[np.float32]:
    """Features of the backbone [N, F] of images [N, S, S, 3], in eval mode."""
    was_training, device = learner.training, next(learner.parameters()).device
    learner.eval()
    found = []
    for first in range(0, len(pixels), BATCH):
        images = viewing.normalized(pixels[first : first + BATCH], device)
        with autocast(how, device):
            found.append(learner.backbone(images).float().cpu())
    learner.train(was_training)
    return torch.cat(found).numpy()
