"""Pre-trains MemDPC on clips that are read from video, and validates it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from egotools.errors import TrainingError
from egotools.loading.loader import Loader, Tensors, loader
from egotools.loading.order import Order
from egotools.loading.spans import SpanExamples
from egotools.machine import has_fast_bf16
from egotools.methods.memdpc.clips import clips_of
from egotools.methods.memdpc.network import WAYS, Pretraining
from egotools.methods.memdpc.options import MemDPCOptions
from egotools.nn.mixed_precision import LIMIT, weight_gradient_errors
from egotools.progress import Progress, no_progress
from egotools.training.best import BestEpoch
from egotools.training.fit import autocast, fit
from egotools.training.how import LINE, How
from egotools.training.optimizers import milestones, optimizer_of
from egotools.training.runs import Run
from egotools.training.world import ALONE, World

Figures = dict[str, Any]  # Any: numbers, JSON-ready
HELD = 512 << 20  # bytes of frames of validation that are kept in memory


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out: figures of the last validation and of the best, and the best one's tensors; empty without."""

    steps: int
    last: Figures
    best: Figures
    weights: dict[str, Tensor]


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
    order = order_of(train, options, how, seed=seed, world=world)
    batches = loader(train, order, seed=seed, workers=workers, device=device, finish=finish)
    alone = loader(train, order, seed=seed, workers=0, device=device, finish=finish)
    check_precision(model, lambda: next(alone(0)), how)
    epoch, steps = order.per_epoch / how.accumulate, steps_of(order, options, how)
    best, spent = BestEpoch("top1"), Spent(batches)
    measured = None if val is None else Validation(val, options, world, how, finish, workers)
    line = how.log_every or max(min(round(epoch), LINE), 1)

    def after_step(done: int) -> Figures | None:
        progress("steps", done, steps)
        spent.count()
        found: Figures = spent.figures() if done % line == 0 or done == steps else {}
        if measured is not None and (done == steps or is_due(done, order, options, how)):
            with spent.aside():
                taken = best.take({**measured(model), "epoch": done / epoch}, model)
            found |= {**taken, "epoch": taken.pop("val_epoch")}
        return found or None

    done = fit(
        model.train(),
        batches,
        optimizer_of(model, "adam", lr=options.learning_rate, weight_decay=options.weight_decay),
        run,
        steps=steps,
        state={"progress": best},
        rate=partial(rate_at, options=options, epoch=epoch),
        after_step=after_step,
        how=replace(how, log_every=line),
        world=world,
    )
    return Trained(done, best.last, best.best, best.weights)


def order_of(examples: SpanExamples, options: MemDPCOptions, how: How, *, seed: int, world: World = ALONE) -> Order:
    """The batches of all epochs; without end where steps are counted."""
    epochs = options.epochs if options.steps is None else None
    order = Order(len(examples), options.batch_size, seed=seed, epochs=epochs, rank=world.rank, size=world.size)
    if epochs is not None and epochs * order.per_epoch < how.accumulate:
        raise TrainingError(f"{epochs * order.per_epoch} batches make no step of --accumulate {how.accumulate}")
    return order


def steps_of(order: Order, options: MemDPCOptions, how: How) -> int:
    """Steps of the whole training."""
    return options.epochs * order.per_epoch // how.accumulate if options.steps is None else options.steps


def is_due(done: int, order: Order, options: MemDPCOptions, how: How) -> bool:
    """Whether as many epochs as lie between two validations end with the step that has just been done."""
    passed, before = ((step * how.accumulate) // order.per_epoch for step in (done, done - 1))
    return passed > before and passed // options.validate_every > before // options.validate_every


def rate_at(step: int, *, options: MemDPCOptions, epoch: float) -> float:
    """The factor of the learning rate in a step; epochs of so many steps."""
    places = [round(place * epoch) for place in options.schedule]
    return milestones(step, places=places, is_true=options.true_schedule)


def check_precision(model: torch.nn.Module, batch: Callable[[], Any], how: How) -> None:
    """Refuses bf16 where it is slow, or where a convolution's gradient of a batch (Any) is wrong with it.

    Raises:
        TrainingError: says which.
    """
    device = next(model.parameters()).device
    if how.precision != "bf16":
        return
    if not has_fast_bf16(device):
        raise TrainingError(
            f"--precision bf16: this {device.type} does not compute bf16 in hardware, so it would be slower;"
            " use float32"
        )
    errors = weight_gradient_errors(model.train(), batch())
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= LIMIT:
        raise TrainingError(
            f"--precision bf16: the gradient of {worst} is off by {errors[worst]:.1%} of its largest entry, more than"
            f" {LIMIT:.0%}; this version of PyTorch computes it wrongly: use float32"
        )


class Spent:
    """Seconds per step of each stage since they were last asked for."""

    def __init__(self, batches: Loader[Tensor]) -> None:
        self._batches, self._steps, self._began = batches, 0, time.perf_counter()

    def count(self) -> None:
        """One more step is done."""
        self._steps += 1

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done here belongs to no step."""
        began = time.perf_counter()
        yield
        self._began += time.perf_counter() - began

    def figures(self) -> Figures:
        """By stage: `waiting` for examples, `finishing` (colors), `step`, and what the reading processes spent."""
        now, spent = time.perf_counter(), self._batches.spent()
        spent["step"] = max(now - self._began - spent.get("waiting", 0.0) - spent.get("finishing", 0.0), 0.0)
        steps, self._steps, self._began = max(self._steps, 1), 0, now
        return {f"seconds_{name}": value / steps for name, value in spent.items()}


class Validation:
    """Figures of clips that are not learned from, in eval mode, drawn as in training but alike each time.

    Batches have as many clips as in training, since the loss depends on that: what is left over is not used, unless
    there are fewer clips than for one batch of each process. Then all are one batch.
    """

    def __init__(
        self,
        examples: SpanExamples,
        options: MemDPCOptions,
        world: World,
        how: How,
        finish: Callable[[Tensors], Tensor],
        workers: int,
    ) -> None:
        count, size = len(examples), options.batch_size
        if count < size * world.size:
            order = Order(count, min(size, count), seed=0, epochs=1, shuffle=False)
        else:
            order = Order(count, size, seed=0, epochs=1, shuffle=False, rank=world.rank, size=world.size)
        self.clips = order.per_epoch * order.batch_size * order.size
        self._world, self._how, self._finish = world, how, finish
        cpu = torch.device("cpu")
        self._read = loader(examples, order, seed=0, workers=workers, device=cpu, finish=lambda batch: batch)
        total = len(examples) * examples.spans.frames * examples.side**2 * 3
        self._held: list[Tensors] | None = [] if total < HELD else None

    @torch.no_grad()
    def __call__(self, model: Pretraining) -> Figures:
        """Means over the clips; `top1` and `clip` are those of both directions, which decides what is best."""
        device, was_training = next(model.parameters()).device, model.training
        gathers, model.gathers_negatives = model.gathers_negatives, False
        sums: dict[str, Tensor] = {}
        count = 0
        for batch in self._batches():
            count += 1
            with autocast(self._how, device):
                found = model.eval()(self._finish(batch))
            sums = {name: value.double() + sums.get(name, 0.0) for name, value in found.items()}
        model.train(was_training).gathers_negatives = gathers
        figures: Figures = {name: self._world.mean(value).item() / count for name, value in sums.items()}
        return {**figures, **{name: sum(figures[f"{name}_{way}"] for way in WAYS) / 2 for name in ("top1", "clip")}}

    def _batches(self) -> Iterator[Tensors]:
        if self._held:
            yield from self._held
            return
        for batch in self._read(0):
            if self._held is not None:
                self._held.append(batch)
            yield batch
