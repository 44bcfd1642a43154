"""Trains a network on examples that are read while it learns, whatever they show, and validates it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from egotools.errors import TrainingError
from egotools.loading.items import Examples
from egotools.loading.loader import Tensors, loader
from egotools.loading.order import Order
from egotools.progress import Progress, no_progress
from egotools.training.best import BestEpoch
from egotools.training.fit import fit
from egotools.training.gradients import check_precision
from egotools.training.how import LINE, How
from egotools.training.runs import Run
from egotools.training.stages import Stages
from egotools.training.world import ALONE, World

Figures = dict[str, Any]  # Any: numbers, JSON-ready
HERE = ("waiting", "finishing")  # stages beside the step itself that are not the readers'


class Passes(Protocol):
    """How often examples are learned from."""

    @property
    def batch_size(self) -> int:
        """Examples a batch, of each process."""

    @property
    def epochs(self) -> int:
        """Passes over the examples."""

    @property
    def steps(self) -> int | None:
        """Instead of epochs."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out: figures of the last validation and of the best, and the best one's tensors; empty without."""

    steps: int
    last: Figures
    best: Figures
    weights: dict[str, Tensor]


def learn(
    model: nn.Module,
    train: Examples,
    measured: Callable[[Any], Figures] | None,  # Any: the model
    options: Passes,
    optimizer: torch.optim.Optimizer,
    *,
    finish: Callable[[Tensors], Any],  # Any: what the model takes
    rate: Callable[..., float | Mapping[str, float]],
    seed: int,
    order: Order | None = None,
    validate_every: int = 1,
    run: Run | None = None,
    workers: int = 0,
    how: How = How(),  # noqa: B008 - frozen
    world: World = ALONE,
    progress: Progress = no_progress,
) -> Trained:
    """Trains a network, changed in place: what it minimizes, how it is validated, and its optimizer are told.

    Args:
        model: on the device where it is trained; `forward(finish(batch))` returns scalars, `loss` among them.
        train: what to learn from.
        measured: figures of a validation; the epoch with the highest `top1` is the best one. None: no validation.
        options: batches and epochs.
        optimizer: of what learns.
        finish: as the loader's.
        rate: as `fit`'s, told the steps of an `epoch`, too, which need not be whole.
        seed: of the order of examples and of what is drawn for them; dropout draws from torch's own random state.
        order: of the examples; None: `order_of` them.
        validate_every: epochs between two validations.
        run: keeps metrics and checkpoint, from which the same call resumes; None: nothing is kept.
        workers: processes that read; 0: this one.
        how: precision, gradients, logging.
        world: the processes that train together.
        progress: is told the steps.

    Raises:
        TrainingError: as `fit` and the loader; or too few examples for a batch, or a precision that would spoil
            gradients.
    """
    device = next(model.parameters()).device
    order = order_of(len(train), options, how, seed=seed, world=world) if order is None else order
    batches = loader(train, order, seed=seed, workers=workers, device=device, finish=finish)
    alone = loader(train, order, seed=seed, workers=0, device=device, finish=finish)
    progress("starting", 0, steps_of(order, options, how))
    check_precision(model, lambda: next(alone(0)), how)
    epoch, steps = order.per_epoch / how.accumulate, steps_of(order, options, how)
    best, spent = BestEpoch("top1"), Stages(batches.spent, HERE)
    line = how.log_every or max(min(round(epoch), LINE), 1)

    def after_step(done: int) -> Figures | None:
        progress("training", done, steps)
        spent.count()
        found: Figures = spent.figures() if done % line == 0 or done == steps else {}
        if measured is not None and (done == steps or is_due(done, order, validate_every, how)):
            with spent.aside():
                taken = best.take({**measured(model), "epoch": done / epoch}, model)
            found |= {**taken, "epoch": taken.pop("val_epoch")}
        return found or None

    done = fit(
        model.train(),
        batches,
        optimizer,
        run,
        steps=steps,
        state={"progress": best},
        rate=partial(rate, epoch=epoch),
        after_step=after_step,
        how=replace(how, log_every=line),
        world=world,
    )
    return Trained(done, best.last, best.best, best.weights)


def order_of(
    examples: int,
    options: Passes,
    how: How,
    *,
    seed: int,
    world: World = ALONE,
    draws: Literal["numpy", "torch"] = "numpy",
) -> Order:
    """The batches of all epochs; without end where steps are counted."""
    epochs = options.epochs if options.steps is None else None
    order = Order(examples, options.batch_size, seed=seed, epochs=epochs, rank=world.rank, size=world.size, draws=draws)
    if epochs is not None and epochs * order.per_epoch < how.accumulate:
        raise TrainingError(f"{epochs * order.per_epoch} batches make no step of --accumulate {how.accumulate}")
    return order


def steps_of(order: Order, options: Passes, how: How) -> int:
    """Steps of the whole training."""
    return options.epochs * order.per_epoch // how.accumulate if options.steps is None else options.steps


def is_due(done: int, order: Order, every: int, how: How) -> bool:
    """Whether as many epochs as lie between two validations end with the step that has just been done."""
    passed, before = ((step * how.accumulate) // order.per_epoch for step in (done, done - 1))
    return passed > before and passed // every > before // every
