"""Trains Memory Storyboard on a stream: the loop, and the segments that are found between its steps.

Axes: B images of a batch, n frames, F features.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from egotools.errors import TrainingError
from egotools.linear.change_points import change_points
from egotools.methods.storyboard.batches import Batches, new_memory
from egotools.methods.storyboard.evaluation import learner_features
from egotools.methods.storyboard.held import LabelsOf, State
from egotools.methods.storyboard.labels import Storyboard, Window
from egotools.methods.storyboard.learners import Learner, Views, learner_optimizer
from egotools.methods.storyboard.memories import TwoTier
from egotools.methods.storyboard.merging import Merging
from egotools.methods.storyboard.minred import MinRed
from egotools.methods.storyboard.options import StoryboardOptions
from egotools.methods.storyboard.stream import Stream
from egotools.progress import Progress, no_progress
from egotools.training.fit import fit
from egotools.training.gradients import check_precision
from egotools.training.how import LINE, How
from egotools.training.runs import Run
from egotools.training.stages import Stages
from egotools.types import Frame, IntArray

Figures = dict[str, Any]  # Any: numbers, JSON-ready
Evaluation = Callable[[Learner], Figures]
HERE = (
    "waiting",
    "views",
    "segmenting",
)  # stages beside the step itself that are not the reader's


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out beside the learner, which was changed in place."""

    steps: int
    windows: list[Window]  # those that were segmented, in order
    mapping: dict[int, int]  # merged classes, and the classes whose label they have
    unreadable: dict[int, str]  # why frames were left out, by id


def learn(
    learner: Learner,
    stream: Stream,
    options: StoryboardOptions,
    *,
    default: LabelsOf,
    seed: int,
    run: Run | None = None,
    workers: int = 0,
    skip_unreadable: bool = False,
    how: How = How(),  # noqa: B008 - frozen
    evaluation: Evaluation | None = None,
    eval_every: int | None = None,
    progress: Progress = no_progress,
) -> Trained:
    """Trains a learner on a stream, once.

    Args:
        learner: on the device where it is trained; changed in place.
        stream: what it sees.
        options: of memories, views and segments.
        default: labels of frames as they arrive.
        seed: of memories and views.
        run: keeps metrics and checkpoint, from which the same call resumes; None: nothing is kept.
        workers: 1: another process decodes; 0: this one.
        skip_unreadable: frames that cannot be decoded are left out, and told.
        how: precision, gradients, logging.
        evaluation: figures of the learner, which it leaves as it was.
        eval_every: steps between two evaluations, beside the one at the end.
        progress: is told the steps.

    Raises:
        TrainingError: as `fit`; the stream is too short; a frame cannot be read; features that are not finite.
    """
    device = next(learner.parameters()).device
    memory, random = new_memory(options, len(stream), default, seed, device)
    batches = Batches(
        stream, memory, options, seed=seed, device=device, workers=workers, skip_unreadable=skip_unreadable
    )
    check_precision(learner, lambda: noise(options, device), how)
    if isinstance(memory, MinRed):
        learner.tell = lambda features: memory.seen(batches.drawn.ids, features.sum(0))
    segments = None
    if options.segments and isinstance(memory, TwoTier):
        storyboard = Storyboard(memory, default, segment_from=options.segment_from)
        merging = new_merging(options, memory, random)
        segments = Segments(learner, batches, storyboard, merging, how, freezes=options.merge_freezes_norm)
    steps = memory.steps * options.num_grads // how.accumulate
    line = how.log_every or min(LINE, max(steps, 1))
    stages = Stages(batches.spent, HERE)

    def after_step(done: int) -> Figures | None:
        progress("training", done, steps)
        stages.count()
        if segments is not None and (done * how.accumulate) % options.num_grads == 0:
            segments.update()
        found: Figures = {}
        if done % line == 0 or done == steps:
            found = {**stages.figures(), **(segments.figures() if segments is not None else {})}
        if evaluation is not None and (done == steps or (eval_every and done % eval_every == 0)):
            with stages.aside():
                found |= evaluation(learner)
        return found or None

    done = fit(
        learner.train(),
        batches,
        learner_optimizer(learner, options.rate),
        run,
        steps=steps,
        state={"batches": batches, **({"segments": segments} if segments is not None else {})},
        after_step=after_step,
        how=replace(how, log_every=line),
    )
    learner.tell = None
    found = ([], {}) if segments is None else (segments.windows, segments.mapping)
    return Trained(done, *found, batches.unreadable)


def new_merging(options: StoryboardOptions, memory: TwoTier, random: Random) -> Merging | None:
    """What merges classes, if that is asked for."""
    if options.merge_from == "never":
        return None
    return Merging(memory.long, random, merge_from=options.merge_from, threshold=options.merge_threshold)


def noise(options: StoryboardOptions, device: torch.device) -> Views:
    """A batch of the shapes of the training, for the check of gradients."""
    size, side = options.batch_size, options.crop_size
    with torch.random.fork_rng(devices=[]):
        views = torch.randn(2, size, 3, side, side).to(device)
    labels = torch.zeros(size, dtype=torch.int64, device=device)
    return Views(views, labels, options.current)


@dataclass(eq=False)
class Segments:
    """Segments of the short-term memory become the labels of both memories, and classes that look alike are merged."""

    learner: Learner
    batches: Batches
    storyboard: Storyboard
    merging: Merging | None
    how: How
    freezes: bool  # leave the network in eval mode after merging, as the reference does
    windows: list[Window] = field(default_factory=list)

    @property
    def mapping(self) -> dict[int, int]:
        """Merged classes, and the classes whose label they have."""
        return {} if self.merging is None else self.merging.mapping

    def update(self) -> None:
        """To be called after each step: does something when a window of the stream is complete."""
        began = time.perf_counter()
        if self.storyboard.due():
            self._find()
        self.batches.seconds["segmenting"] += time.perf_counter() - began

    def _find(self) -> None:
        window = self.storyboard.update(self._change_points)
        if len(window.starts) > 1:
            self.windows.append(window)
        if self.merging is not None:
            merged = self.merging.update(window, self._images, self._embedded)
            if merged is not None and self.freezes:
                self.learner.eval()

    def figures(self) -> Figures:
        """What is logged."""
        last = self.windows[-1].last if self.windows else 0
        return {"classes": last + 1, "merged_classes": len(self.mapping)}

    def state_dict(self) -> State:
        windows = [(each.first, each.last, torch.from_numpy(each.starts.copy())) for each in self.windows]
        merging = {} if self.merging is None else self.merging.state_dict()
        is_frozen = not self.learner.training
        return {
            "storyboard": self.storyboard.state_dict(),
            "merging": merging,
            "windows": windows,
            "is_frozen": is_frozen,
        }

    def load_state_dict(self, state_dict: State) -> None:
        self.storyboard.load_state_dict(state_dict["storyboard"])
        if self.merging is not None:
            self.merging.load_state_dict(state_dict["merging"])
        self.windows = [Window(first, last, starts.numpy()) for first, last, starts in state_dict["windows"]]
        self.learner.train(not state_dict["is_frozen"])

    def _change_points(self, segments: int) -> IntArray:
        ids = self._short_ids()
        places = np.flatnonzero(self.batches.readable(ids))
        ids = ids[places]
        if segments >= len(ids):
            raise TrainingError(
                f"{segments} classes are in the short-term memory of {len(ids)} frames: raise --class-length, or lower"
                " --subsample"
            )
        features = self._embedded(self._images(ids))
        wrong = np.flatnonzero(~np.isfinite(features).all(1))
        if len(wrong):
            raise TrainingError(
                f"the network's features of frame {ids[wrong[0]]} of the stream are not finite: lower --learning-rate"
            )
        return places[change_points(features, segments)]

    def _short_ids(self) -> IntArray:
        memory = self.batches.memory
        assert isinstance(memory, TwoTier)
        return memory.short.ids

    def _images(self, ids: IntArray) -> Frame:
        """Frames [n, S, S, 3] uint8 as the segmentation sees them, not normalized; unreadable ones are missing."""
        ids = ids[self.batches.readable(ids)]
        return self.batches.viewing.clustering_pixels(self.batches.frames(ids))

    def _embedded(self, pixels: Frame) -> npt.NDArray[np.float32]:
        """Features of the backbone [n, F], in eval mode."""
        return learner_features(self.learner, pixels, self.batches.viewing, self.how)
