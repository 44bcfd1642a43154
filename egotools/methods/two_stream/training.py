"""Training of refiner and stream, from pooled chunks to networks.

Axes: V views (student first, then teacher, perhaps a third), B items, T slots, D features.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from egotools.losses.view_invariance import invariance_weight, slot_mse
from egotools.methods.two_stream.figures import Figures, Measured
from egotools.methods.two_stream.options import TwoStream
from egotools.nn.view_invariance import SIZES, PseudoStream, Refiner
from egotools.progress import Progress, no_progress
from egotools.tables.chunks import Values, draws, padded
from egotools.training.best import BestEpoch
from egotools.training.epochs import steps_of
from egotools.training.fit import autocast, fit
from egotools.training.how import How
from egotools.training.optimizers import OPTIMIZERS, step
from egotools.training.runs import Run

PAIR = 1 << 20  # keeps draws of pairs of views apart from those of orders and zooms


class Batch(NamedTuple):
    """Views [V, B, T, D] of the same times, and which slots [B, T] hold something; None: all."""

    views: Tensor
    mask: Tensor | None
    epoch: int  # from 0


@dataclass(frozen=True)
class Items:
    """Items by number: how many rows each has, and its chunks [K, D] of so many rows in each of V views."""

    lengths: Sequence[int]
    chunks: Callable[[int, int], Sequence[Values]]


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What an epoch was worth: before the first one, the last, the best; and the refiner's parameters of the best."""

    before: Figures
    last: Figures
    best: Figures
    weights: dict[str, Tensor]


class TwoStreams(nn.Module):
    """The refiner R, and the stream S that only training needs: what is minimized."""

    def __init__(self, width: int, config: TwoStream) -> None:
        super().__init__()
        sizes = SIZES[config.size]
        self.refiner = Refiner.of(sizes, width, dropout=config.dropout)
        self.stream = None
        if config.objective != "sync-kd":
            self.stream = PseudoStream(config.objective, width, sizes, dropout=config.dropout)
        self._config = config

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a batch."""
        return self.losses(batch, self.refined(batch))

    def losses(self, batch: Batch, refined: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses of what `refined` gave; `loss` is their sum, the mean over pairs of views outside of training."""
        found: dict[str, Tensor] = {}
        pairs = list(combinations(range(len(refined)), 2))
        for one, other in pairs:
            for name, value in self._losses_of(batch, refined, one, other).items():
                value = value if self.training else value / len(pairs)
                found[name] = found[name] + value if name in found else value
        return {"loss": torch.stack([*found.values()]).sum(), **found}

    def refined(self, batch: Batch) -> list[Tensor]:
        """What is to become alike: all views [B, T, D] refined, but for distillation the student's as it is."""
        first = batch.views[0] if self.stream is None else self._refine(batch.views[0], batch)
        return [first, *(self._refine(view, batch) for view in batch.views[1:])]

    def _refine(self, view: Tensor, batch: Batch) -> Tensor:
        return self.refiner(view, self._config.attention_axis, batch.mask)  # type: ignore[no-any-return]

    def _losses_of(self, batch: Batch, refined: Sequence[Tensor], one: int, other: int) -> dict[str, Tensor]:
        mask = batch.mask if self._config.mask_padding else None
        a, b = refined[one], refined[other]
        if self.stream is None:
            return {"distillation": slot_mse(a, b, mask)}
        offset = self._config.view_offset if self.training else 0.0  # as published: not in validation
        seen = torch.cat([batch.views[one] + offset, batch.views[other] - offset], dim=-1)
        joint = self.stream(seen, self._config.attention_axis, batch.mask)
        weight = invariance_weight(batch.epoch)
        return {
            "reconstruction": slot_mse(a, joint, mask) + slot_mse(b, joint, mask),
            "invariance": weight * slot_mse(a, b, mask),
        }


def pretrain(
    model: TwoStreams,
    train: Items,
    val: Items,
    config: TwoStream,
    *,
    seed: int,
    run: Run | None = None,
    how: How = How(),  # noqa: B008 - frozen
    progress: Progress = no_progress,
) -> Pretrained:
    """Trains both networks, changed in place, and validates them after every epoch.

    Args:
        model: on the device where it is trained.
        train: items to learn from.
        val: items to validate on, without zoom and offset.
        config: as the model's.
        seed: of orders, zooms and pairs of views; dropout draws from torch's own random state.
        run: keeps metrics and checkpoint, from which the same call resumes; None: nothing is kept.
        how: precision, gradients, logging; a line of the metrics is an epoch unless it says otherwise.
        progress: is told the epochs.

    Raises:
        TableError: batches of an epoch that --accumulate does not divide.
        TrainingError: as `fit`.
    """
    device, epochs = next(model.parameters()).device, config.passes
    steps = steps_of(len(train.lengths), config.batch_size, how)
    best = BestEpoch("loss" if model.stream is None else "reconstruction", is_lowest=True)
    measured = partial(measure, model, val, config, how=how)
    before = {"epoch": 0, **measured(epoch=0)}

    def after_step(done: int) -> Figures | None:
        if done % steps:
            return None
        epoch = done // steps
        progress("epochs", epoch, epochs)
        return best.take(measured(epoch=epoch - 1), model.refiner)

    fit(
        model.train(),
        partial(batches, items=train, config=config, seed=seed, device=device),
        optimizer_for(model, config),
        run,
        steps=steps * epochs,
        state={"progress": best},
        rate=lambda at: step(at // steps, every=config.rate_step, factor=config.rate_factor),
        after_step=after_step,
        how=replace(how, log_every=how.log_every or steps),
    )
    return Pretrained(before, best.last, best.best, best.weights)


def optimizer_for(model: TwoStreams, config: TwoStream) -> torch.optim.Optimizer:
    """Plain SGD, a group of parameters for each network."""
    rate = config.refiner_rate
    groups: list[dict[str, Any]] = [{"params": [*model.refiner.parameters()], "lr": rate}]
    if model.stream is not None:
        groups.append({"params": [*model.stream.parameters()], "lr": config.stream_rate or rate})
    optimizer: torch.optim.Optimizer = OPTIMIZERS["sgd"](groups, lr=rate)
    return optimizer


def batches(first: int, *, items: Items, config: TwoStream, seed: int, device: torch.device) -> Iterator[Batch]:
    """The batches from number `first` on, over all epochs."""
    drawn = draws(
        first,
        items.lengths,
        config.chunking,
        batch_size=config.batch_size,
        epochs=config.passes,
        seed=seed,
        sort=config.trim_padding and not config.joins_items,
    )
    for number, draw in enumerate(drawn, first):
        parts = [items.chunks(item, chunk) for item, chunk in zip(draw.items, draw.chunks, strict=True)]
        if len(parts[0]) > 2 and config.triple == "draw":
            pairs = list(combinations(range(len(parts[0])), 2))
            pair = pairs[np.random.default_rng([seed, PAIR, number]).integers(len(pairs))]
            parts = [[views[at] for at in pair] for views in parts]
        yield batch_of(parts, config, draw.epoch, device)


def batch_of(parts: Sequence[Sequence[Values]], config: TwoStream, epoch: int, device: torch.device) -> Batch:
    """Items, each as views [K, D], as one batch; those of which no slot looks at another follow each other."""
    by_view = list(zip(*parts, strict=True))
    if config.joins_items:
        joined = np.stack([np.concatenate(views) for views in by_view])[:, np.newaxis]
        return Batch(torch.from_numpy(joined).to(device), None, epoch)
    counts = np.array([len(views[0]) for views in parts])
    slots = int(counts.max()) if config.trim_padding else config.slots
    values = np.stack([padded(views, slots)[0] for views in by_view])
    mask: npt.NDArray[np.bool_] = np.arange(slots) < counts[:, np.newaxis]
    return Batch(torch.from_numpy(values).to(device), torch.from_numpy(mask).to(device), epoch)


@torch.no_grad()
def measure(model: TwoStreams, items: Items, config: TwoStream, *, epoch: int, how: How) -> Figures:
    """Losses without zoom and offset, and how the views lie to each other before and after refinement."""
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    measured = Measured()
    for at in range(0, len(items.lengths), config.batch_size):
        numbers = range(at, min(at + config.batch_size, len(items.lengths)))
        batch = batch_of([items.chunks(number, config.chunk) for number in numbers], config, epoch, device)
        with autocast(how, device):
            refined = model.refined(batch)
            losses = model.losses(batch, refined)
        mask = torch.ones(batch.views.shape[1:3], dtype=torch.bool, device=device) if batch.mask is None else batch.mask
        measured.add(losses, int(mask.sum()) if config.mask_padding else mask.numel(), "")
        measured.add_views(batch.views[:, mask], "raw_")
        measured.add_views(torch.stack([each.float() for each in refined])[:, mask], "")
    model.train(was_training)
    return measured.figures()
