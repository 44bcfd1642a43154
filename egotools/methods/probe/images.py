"""Linear probes end to end: images, cropped and mirrored at random, through a frozen backbone.

Axes: B batch, S side, D features, N images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from egotools.config import options_of, to_json
from egotools.errors import ExtractorError
from egotools.evaluate.classification import Predictions, Result
from egotools.evaluate.report import Shown, report, save_predictions
from egotools.evaluate.splits import Partition
from egotools.evaluate.trials import Task, Trial, remarks_on, summary
from egotools.extraction.forward import Network, runnable
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import CacheRequest
from egotools.extractors.lookup import find_extractor
from egotools.loading.files import Files
from egotools.loading.kept_files import FILES
from egotools.loading.loader import Tensors, loader
from egotools.loading.middle_frames import MiddleFrames, Prepare, files_of_videos
from egotools.loading.order import Order
from egotools.machine import choose_device, reading_processes
from egotools.manifests.table import label_columns, read_manifest
from egotools.methods.probe.head import Head
from egotools.methods.probe.normalized import Labeled, NormalizedLinear, learn_head, new_head
from egotools.methods.probe.probe import Probe
from egotools.methods.probe.run import METHOD, WEIGHTS, Content
from egotools.methods.records import FILE
from egotools.metrics.classification import accuracy_score
from egotools.pixels.crops import cropped
from egotools.pixels.preprocessing import Preprocessing
from egotools.pixels.random_boxes import draw_resized_boxes
from egotools.progress import Progress, no_progress
from egotools.stores.store import Recipe
from egotools.tables.matching import Record
from egotools.tables.table import Mask, table_of_clips
from egotools.training import learned_from
from egotools.training.runs import Run, once, run_recipe
from egotools.types import Clip, FloatArray, Frame, IntArray

SCALE = (0.08, 1.0)  # of a frame's area, that a box has
FLIP = 0.5
AT_ONCE = 128  # images through the backbone


@dataclass(frozen=True, eq=False)
class Backbone:
    """A frozen network and how images are prepared for it."""

    name: str  # as a cache of it would be called
    recipe: Recipe  # of such a cache
    network: Network  # uint8 [B, 1, S, S, 3] to float32 [B, D]
    side: int  # S
    prepare: Prepare  # an image to evaluate on
    device: torch.device

    def features(self, batch: Tensors) -> Tensor:
        """Features [B, D] of `pixels`, on the device."""
        parts = [self.network(part[:, None]) for part in torch.split(batch["pixels"], AT_ONCE)]
        return torch.cat(parts).clone()  # inside of inference mode nothing could learn from them

    def labeled(self, batch: Tensors) -> Labeled:
        """As a head takes them."""
        return Labeled(self.features(batch), batch["label"].to(self.device))


def find_backbone(name: str, device: torch.device) -> Backbone:
    """The backbone of a run, or another network of single frames, in float32.

    Raises:
        ExtractorError: there is none, or it takes no single square frames.
        WeightsError: its weights do not fit.
    """
    found = find_extractor(name)
    try:
        extractor: Any = found.built(frames=1)  # Any: what networks of frames have beside the protocol
    except TypeError:
        extractor = None
    preprocessing = getattr(extractor, "preprocessing", None)
    if not isinstance(preprocessing, Preprocessing) or extractor.window_length != 1:
        raise ExtractorError(f"--backbone {name}: not a network of single frames")
    height, width = preprocessing.size
    if height != width:
        raise ExtractorError(f"--backbone {name}: takes frames of {height}x{width}; random crops are square")
    request = CacheRequest(Path(f"{found.cache_name}.lmdb"), extractor, found)
    network = runnable(extractor.network(), device, "float32")
    return Backbone(found.cache_name, recipe_of(request), network, height, partial(_plainly, extractor), device)


def train_on_images(
    folder: Path,
    manifest: Path,
    backbone: str,
    config: Probe,
    partition: Partition,
    *,
    label: str,
    head: Head,
    workers: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Trains a normalized head on images, each cropped and mirrored anew every epoch, kept as a run in `folder`.

    Of a clip of video the frame in the middle is the image. Evaluated is what `backbone` itself makes of an image,
    once for all epochs.

    Args:
        folder: of the run.
        manifest: of images, or clips of video.
        backbone: `run:DIR`, or another extractor of single frames; it stays as it is.
        config: hold-out where the manifest has no splits.
        partition: which rows are for what.
        label: the column to predict.
        head: "normalized", and its training.
        workers: processes that read; None: what suits the machine.
        seed: of everything random.
        device: to compute on.
        progress: told images and steps.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TrainingError: an image cannot be read.
        ExtractorError, WeightsError: as `find_backbone`.
        TableError: an unknown label or split, one class only, or classes that leave nothing to hold out.
    """
    trunk = find_backbone(backbone, choose_device(device))
    options = {"held_out": config.held_out, **options_of(partition), **head.arguments, "is_augmented": True}
    arguments = {"label": label, "reduce": "mean", "seed": seed, **options}
    recipe = run_recipe(METHOD, arguments, manifest, [], {"1": {**trunk.recipe.identity}}, backbone=backbone)
    readers = reading_processes() if workers is None else workers

    def make(run: Run) -> Content:
        clips = read_manifest(manifest, labels=partition.columns(label))
        task = Task.of(
            table_of_clips(clips, columns=label_columns(manifest)), label, partition, held_out=config.held_out
        )
        train, test = task.divided(np.random.default_rng([seed, 0]))
        files = files_of_videos(clips, run.path / FILES, workers=readers, progress=progress)
        images = _Images({clip.id: clip for clip in clips}, task, files, trunk, readers, seed, progress)
        trial, classifier = images.fitted(train, test, head, run)
        figures, predictions = summary(task, [trial], {"is_augmented": True})
        figures["protocol"] += "; images cropped and mirrored at random"
        result = Result(figures, predictions, remarks_on(task, trial, predictions))
        content = report("train probe", {"backbone": backbone, **arguments}, result, manifest=manifest, features=[])
        record = Record(
            identity={**trunk.recipe.identity},  # type: ignore[typeddict-item]  # as recipes have it
            origin={**trunk.recipe.origin},  # type: ignore[typeddict-item]
            cache=f"{trunk.name}.lmdb",
            inputs={},
            file=None,
        )
        run.write(FILE, to_json({"records": {trunk.name: record}}))
        run.write(WEIGHTS, classifier.to_bytes())
        learned_from.keep(run, {"": task.learned(train)})
        save_predictions(folder, content, result)
        return content

    return once(folder, recipe, make, Shown)


@dataclass(frozen=True, eq=False)
class _Images:
    """The images of a task, and what they are shown to."""

    clips: dict[str, Clip]
    task: Task
    files: Files
    trunk: Backbone
    workers: int
    seed: int
    progress: Progress

    def fitted(self, train: Mask, test: Mask, head: Head, run: Run) -> tuple[Trial, Any]:  # Any: a Classifier
        """A head on the train rows [N], and what it says of the test rows [N]."""
        task = self.task
        known, labels = np.unique(task.labels[train], return_inverse=True)
        names, shown = tuple(task.classes[number] for number in known), self._features(test)
        examples = self._examples(train, labels, partial(random_crop, side=self.trunk.side))
        order = Order(len(examples), head.batch_size, seed=self.seed, epochs=head.epochs, drop_last=False)
        read = loader(
            examples,
            order,
            seed=self.seed,
            workers=self.workers,
            device=self.trunk.device,
            finish=self.trunk.labeled,
        )

        def measured(model: NormalizedLinear) -> dict[str, Any]:
            predicted, _ = model.classifier(names).predict(shown)
            return {"test_accuracy": accuracy_score(task.labels[test], known[predicted])}

        model = new_head(shown.shape[1], len(known), self.seed, self.trunk.device)
        count = order.per_epoch
        learn_head(model, read, head, run, per_epoch=count, measured=measured, progress=self.progress)
        classifier = model.classifier(names)
        predicted, scores = classifier.predict(shown)
        details = {"seed": [str(self.seed)] * len(predicted)}
        rows = task.table.only(test)
        found = Predictions(task.classes, rows, task.labels[test], known[predicted], scores, details)
        more = {"epochs": head.epochs, "loss": run.metrics()[-1]["loss"]}
        return Trial(names, found, train, task.labels[train], more), classifier

    def _examples(self, rows: Mask, labels: IntArray, prepare: Prepare) -> MiddleFrames:
        clips = [self.clips[id] for id in self.task.table.ids[rows].tolist()]
        return MiddleFrames(clips, labels.astype(np.int64), prepare, self.files)

    def _features(self, rows: Mask) -> FloatArray:
        """Of images to evaluate on [N, D]."""
        examples = self._examples(rows, self.task.labels[rows], self.trunk.prepare)
        order = Order(len(examples), AT_ONCE, seed=0, epochs=1, shuffle=False, drop_last=False)
        read = loader(
            examples, order, seed=0, workers=self.workers, device=self.trunk.device, finish=self.trunk.features
        )
        found = []
        for number, part in enumerate(read(0), 1):
            found.append(part.cpu().numpy())
            self.progress("images to evaluate on", min(number * AT_ONCE, len(examples)), len(examples))
        return np.concatenate(found)


def random_crop(frame: Frame, random: np.random.Generator, *, side: int) -> Frame:
    """A random box of an image [H, W, 3] resized to a square [side, side, 3], mirrored half of the time."""
    height, width = frame.shape[:2]
    boxes = draw_resized_boxes(np.array([height]), np.array([width]), random, scale=SCALE)
    found: Frame = cropped(frame[None], boxes, random.random(1) < FLIP, side, between=side)[0]
    return found


def _plainly(extractor: Any, frame: Frame, _: np.random.Generator) -> Frame:  # Any: an extractor
    """As the extractor prepares an image, without chance."""
    prepared: Frame = extractor.prepare(frame)
    return prepared
