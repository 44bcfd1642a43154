"""Pre-trains MemDPC on clips that are read from video, and validates it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from egotools.loading.loader import Tensors, loader
from egotools.loading.order import Order
from egotools.loading.spans import SpanExamples
from egotools.methods.memdpc.clips import clips_of
from egotools.methods.memdpc.network import WAYS, Pretraining
from egotools.methods.memdpc.options import MemDPCOptions, Training
from egotools.progress import Progress, no_progress
from egotools.training.fit import autocast
from egotools.training.how import How
from egotools.training.learning import Figures, Trained, learn
from egotools.training.optimizers import milestones, optimizer_of
from egotools.training.runs import Run
from egotools.training.world import ALONE, World

HELD = 512 << 20  # bytes of frames of validation that are kept in memory


def pretrain(
    model: Pretraining,
    train: SpanExamples,
    val: SpanExamples | None,
    options: MemDPCOptions,
    *,
    seed: int,
    run: Run | None = None,
    workers: int = 0,
    how: How = How(),  # noqa: B008 - frozen
    world: World = ALONE,
    progress: Progress = no_progress,
) -> Trained:
    """Trains a network, changed in place.

    Args:
        model: on the device where it is trained.
        train: clips to learn from.
        val: clips to validate on; None: there are none.
        options: as the examples'.
        seed: of the order of clips and of what is drawn for them; dropout draws from torch's own random state.
        run: keeps metrics and checkpoint, from which the same call resumes; None: nothing is kept.
        workers: processes that read; 0: this one.
        how: precision, gradients, logging.
        world: the processes that train together.
        progress: is told the steps.

    Raises:
        TrainingError: as `fit` and the loader; or too few clips for a batch, or a precision that would spoil gradients.
    """
    device = next(model.parameters()).device
    finish = partial(clips_of, sampling=options, device=device)
    return learn(
        model,
        train,
        None if val is None else Validation(val, options, world, how, finish, workers),
        options,
        optimizer_of(model, "adam", lr=options.learning_rate, weight_decay=options.weight_decay),
        finish=finish,
        rate=partial(rate_at, options=options),
        validate_every=options.validate_every,
        seed=seed,
        run=run,
        workers=workers,
        how=how,
        world=world,
        progress=progress,
    )


def rate_at(step: int, *, options: Training, epoch: float) -> float:
    """The factor of the learning rate in a step; epochs of so many steps."""
    places = [round(place * epoch) for place in options.schedule]
    return milestones(step, places=places, is_true=options.true_schedule)


class Validation:
    """Figures of clips that are not learned from, in eval mode, drawn as in training but alike each time.

    Args:
        examples: of these clips.
        options: as of the training.
        world: the processes that have a share each.
        how: the precision.
        finish: as the loader's.
        workers: processes that read.
        is_whole: each clip counts, in a smaller last batch, too (not with several processes). Otherwise batches have
            as many clips as in training, since a loss may depend on that: what is left over is not used, unless there
            are fewer clips than for one batch of each process. Then all are one batch.
    """

    def __init__(
        self,
        examples: SpanExamples,
        options: Training,
        world: World,
        how: How,
        finish: Callable[[Tensors], Any],  # Any: what the model takes
        workers: int,
        *,
        is_whole: bool = False,
    ) -> None:
        count, size = len(examples), options.batch_size
        if count < size * world.size:
            order = Order(count, min(size, count), seed=0, epochs=1, shuffle=False, drop_last=not is_whole)
        else:
            drops, rank = not is_whole, world.rank
            order = Order(count, size, 0, epochs=1, shuffle=False, drop_last=drops, rank=rank, size=world.size)
        self.clips = min(order.per_epoch * order.batch_size * order.size, count)
        self._world, self._how, self._finish = world, how, finish
        cpu = torch.device("cpu")
        self._read = loader(examples, order, seed=0, workers=workers, device=cpu, finish=lambda batch: batch)
        total = len(examples) * examples.spans.frames * examples.side**2 * 3
        self._held: list[Tensors] | None = [] if total < HELD else None

    def __call__(self, model: Pretraining) -> Figures:
        """Means over the clips; `top1` and `clip` are those of both directions, which decides what is best."""
        gathers, model.gathers_negatives = model.gathers_negatives, False
        figures = self.means(model)
        model.gathers_negatives = gathers
        return {**figures, **{name: sum(figures[f"{name}_{way}"] for way in WAYS) / 2 for name in ("top1", "clip")}}

    @torch.no_grad()
    def means(self, model: nn.Module) -> Figures:
        """Means over the clips of what the model returns."""
        device, was_training = next(model.parameters()).device, model.training
        sums: dict[str, Tensor] = {}
        count = 0
        for batch in self._batches():
            clips = len(batch["frames"])
            count += clips
            with autocast(self._how, device):
                found = model.eval()(self._finish(batch))
            sums = {name: clips * value.double() + sums.get(name, 0.0) for name, value in found.items()}
        model.train(was_training)
        return {name: self._world.mean(value).item() / count for name, value in sums.items()}

    def _batches(self) -> Iterator[Tensors]:
        if self._held:
            yield from self._held
            return
        for batch in self._read(0):
            if self._held is not None:
                self._held.append(batch)
            yield batch
