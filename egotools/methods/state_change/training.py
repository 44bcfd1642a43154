"""One training of the heads, and what they say of clips. Axes: C clips, P positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from egotools.linear.standardize import Standardization, fit_standardization
from egotools.methods.state_change.examples import Examples, Values
from egotools.methods.state_change.frames import POSITIONS
from egotools.methods.state_change.network import MOMENTUM, Clips, Learning, StateChangeHeads
from egotools.methods.state_change.options import StateChange
from egotools.metrics.keyframes import keyframe_errors, mean_of, share
from egotools.progress import Progress, no_progress
from egotools.training.best import BestEpoch, Figures
from egotools.training.epochs import batches, steps_of
from egotools.training.fit import fit
from egotools.training.how import How
from egotools.training.optimizers import cosine, optimizer_of
from egotools.training.runs import Run
from egotools.training.seeding import seeded
from egotools.types import FloatArray, IntArray

ROWS = 1024  # clips at a time where nothing is learned


@dataclass(frozen=True, eq=False)
class Said:
    """What heads say of clips."""

    change: FloatArray  # [C] the probability of a change
    positions: IntArray  # [C] where it is, if there is one

    @property
    def states(self) -> IntArray:
        """1: the state changes, 0: it does not [C]."""
        return (self.change > 0.5).astype(np.int64)


def train_heads(
    train: Examples,
    val: Examples,
    config: StateChange,
    *,
    how: How,
    seed: int,
    device: torch.device,
    run: Run | None = None,
    progress: Progress = no_progress,
) -> tuple[StateChangeHeads, BestEpoch]:
    """Trains heads on labeled clips, and validates them after every epoch if there is something to validate on.

    Args:
        train: labeled clips; whole ones in every epoch, since a cache has no rows of random parts of them.
        val: labeled clips, or none.
        config: what is learned.
        how: precision, gradients, logging.
        seed: of the heads, the orders and dropout.
        device: where it is trained.
        run: keeps metrics and checkpoint, from which the same call resumes; None: nothing is kept.
        progress: of epochs.

    Returns:
        The heads with the weights of the best epoch on `val`, else of the last; and what the epochs were worth.

    Raises:
        TableError: the batches cannot be divided into steps.
        TrainingError: as `fit`.
    """
    content = _tensors(train, device)
    with seeded(seed, device):
        heads = new_heads(train, config).to(device)
        model = Learning(heads, state_weight=config.state_weight, keyframe_weight=config.keyframe_weight)
        best = _fitted(model, content, val, config, how=how, seed=seed, run=run, progress=progress)
    if best.weights:
        heads.load_state_dict(best.weights)
    return heads.eval(), best


def new_heads(train: Examples, config: StateChange) -> StateChangeHeads:
    """Heads of random weights for the features of the training clips."""
    width = train.features.shape[2]
    standard: Standardization | None = None
    if config.standardize:
        standard = fit_standardization(torch.from_numpy(train.features.reshape(-1, width)))
    channels = config.width if config.temporal else None
    return StateChangeHeads(width, channels=channels, dropout=config.dropout, standard=standard)


def _tensors(examples: Examples, device: torch.device) -> Clips:
    arrays = examples.features, examples.states, examples.positions
    return Clips(*(torch.from_numpy(each).to(device) for each in arrays))


def _fitted(
    model: Learning,
    content: Clips,
    val: Examples,
    config: StateChange,
    *,
    how: How,
    seed: int,
    run: Run | None,
    progress: Progress,
) -> BestEpoch:
    steps, best = steps_of(len(content.states), config.batch_size, how), BestEpoch("accuracy")
    total = steps * config.epochs
    rows = torch.arange(len(content.states), device=content.states.device)
    numbered = partial(batches, rows=rows, batch_size=config.batch_size, epochs=config.epochs, seed=seed)

    def of(first: int) -> Iterator[Clips]:
        for batch in numbered(first):
            yield Clips(*(each[batch.rows] for each in content))

    def after_step(done: int) -> Figures | None:
        if done % steps:
            return None
        progress("epochs", done // steps, config.epochs)
        if not len(val):
            best.epochs += 1
            return {"epoch": best.epochs}
        return best.take(figures_of(val, said_by(model.heads, val)), model.heads)

    fit(
        model.train(),
        of,
        optimizer_of(
            model,
            "sgd",
            lr=config.learning_rate,
            momentum=MOMENTUM,
            nesterov=True,
            weight_decay=config.weight_decay,
        ),
        run,
        steps=total,
        state={"progress": best},
        rate=lambda at: cosine(at, total=total),
        after_step=after_step,
        how=replace(how, log_every=how.log_every or steps),
    )
    return best


@torch.no_grad()
def said_by(heads: StateChangeHeads, examples: Examples) -> Said:
    """What heads say of clips."""
    was_training, device = heads.training, heads.mean.device
    heads.eval()
    change, positions = [np.empty(0)], [np.empty(0, np.int64)]
    for at in range(0, len(examples), ROWS):
        state, keyframe = heads(torch.from_numpy(examples.features[at : at + ROWS]).to(device))
        change.append(state.double().softmax(dim=1)[:, 1].cpu().numpy())
        positions.append(keyframe.argmax(dim=1).cpu().numpy())
    heads.train(was_training)
    return Said(np.concatenate(change), np.concatenate(positions))


def figures_of(examples: Examples, said: Said) -> Figures:
    """Over all labeled clips: the share of right states, and the mean error in seconds of those with a change."""
    errors = errors_of(examples, said.positions)
    is_labeled = examples.is_labeled
    return {
        "accuracy": share((said.states == examples.states)[is_labeled]),
        "pnr_error": mean_of(errors),
    }


def errors_of(examples: Examples, positions: IntArray | float) -> Values:
    """How far chosen positions lie from the change in seconds [C]; NaN where there is none."""
    chosen = np.broadcast_to(positions, len(examples))
    arrays = examples.start, examples.end, examples.keyframe, examples.fps
    return keyframe_errors(chosen, POSITIONS, *arrays)
