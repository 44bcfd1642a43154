"""Evaluates a network in training on labeled images: nearest neighbors and linear support vector machines.

Axes: N images, S side, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from egotools.errors import ManifestError, TableError, TrainingError
from egotools.evaluate.labelled_sets import labelled_set_figures, learned_and_evaluated
from egotools.loading.files import OpenFiles
from egotools.loading.kept_files import files_of
from egotools.loading.loader import loader
from egotools.loading.order import Order
from egotools.loading.spans import Spans, Stretch, read_frames, stretches
from egotools.manifests.table import column_of, read_manifest
from egotools.methods.storyboard.learners import Learner
from egotools.methods.storyboard.views import Viewing
from egotools.texts import named
from egotools.training.fit import autocast
from egotools.training.how import How
from egotools.types import Frame

BATCH = 64
ONE_FRAME = Spans(frames=1, stride=1, short="pad")

Figures = dict[str, Any]  # Any: numbers, JSON-ready


@dataclass(frozen=True, eq=False)
class LabeledSet:
    """Images with labels and splits, as the network is shown them."""

    name: str
    pixels: Frame  # uint8 [N, S, S, 3]
    labels: list[str]
    splits: list[str]


def read_labeled_set(manifest: Path, label: str, name: str, viewing: Viewing, *, workers: int) -> LabeledSet:
    """The middle frame of each clip of a manifest, with the splits `train` and `test`; all in memory.

    Args:
        manifest: of images, or clips.
        label: the column of their classes.
        name: of the set.
        viewing: how they become what the network is shown.
        workers: processes that read; 0: this one.

    Raises:
        ManifestError: the manifest cannot be used.
        TrainingError: it has no such column, an image cannot be read, a split is missing, or there is one class only.
    """
    clips = read_manifest(manifest)
    try:
        column_of(clips, label)
        clips = [clip for clip in clips if clip.labels.get(label)]
        train, _ = learned_and_evaluated([clip.split for clip in clips])
    except (ManifestError, TableError) as error:
        raise TrainingError(f"--eval-manifest {manifest}: {error}") from None
    if len({clip.labels[label] for clip, learned in zip(clips, train, strict=True) if learned}) < 2:
        raise TrainingError(f"--eval-manifest {manifest}: images to learn from have one {label!r} only; 2 are needed")
    files = files_of(clips, None, workers=workers)
    found, _, failed = stretches(clips, files, ONE_FRAME)
    if failed:
        raise TrainingError(f"--eval-manifest {manifest}: {named([*failed.values()], 3, between='; ')}")
    order = Order(len(found), BATCH, seed=0, epochs=1, shuffle=False, drop_last=False)
    read = loader(
        MiddleFrames(found, viewing),
        order,
        seed=0,
        workers=workers,
        device=torch.device("cpu"),
        finish=lambda batch: batch["pixels"].numpy(),
    )
    pixels = np.concatenate([*read(0)])
    return LabeledSet(name, pixels, [each.clip.labels[label] for each in found], [c.clip.split for c in found])


@dataclass(frozen=True, eq=False)
class MiddleFrames:
    """Examples of the middle frame of each clip, as in evaluation: `pixels` uint8 [S, S, 3]."""

    stretches: Sequence[Stretch]
    viewing: Viewing
    _open: OpenFiles = field(default_factory=OpenFiles, repr=False)

    def __len__(self) -> int:
        return len(self.stretches)

    def example(self, index: int, _: np.random.Generator) -> Mapping[str, npt.NDArray[Any]]:  # Any: of any type
        """As `Examples.example`."""
        stretch = self.stretches[index]
        frames = read_frames(stretch, np.array([stretch.count // 2]), self._open)
        return {"pixels": self.viewing.evaluation_pixels([*frames])[0]}


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
