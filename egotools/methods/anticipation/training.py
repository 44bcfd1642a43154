"""One training of anticipation, and what a network says of windows.

Axes: W windows, N observed and Z coming actions, K candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from egotools.errors import TrainingError
from egotools.losses.sequences import summed_cross_entropy
from egotools.methods.anticipation.options import Anticipation
from egotools.methods.anticipation.windows import Actions, Windows
from egotools.metrics.edit_distance import EditDistances, edit_distances
from egotools.nn.anticipation import Anticipator, sampled
from egotools.progress import Progress, no_progress
from egotools.training.best import BestEpoch, Figures
from egotools.training.epochs import batches, steps_of
from egotools.training.fit import fit
from egotools.training.how import How
from egotools.training.optimizers import optimizer_of
from egotools.training.runs import Run
from egotools.training.schedules import warmup_cosine
from egotools.training.seeding import seeded
from egotools.types import IntArray

ROWS = 256  # windows at a time where nothing is learned
DRAW = 1  # of which row an action shows in an epoch
BETAS = (0.9, 0.999)


class Batch(NamedTuple):
    """Features of the observed actions [B, N, D], and verbs and nouns of the coming ones [B, Z]."""

    features: Tensor
    verbs: Tensor
    nouns: Tensor


@dataclass(frozen=True, eq=False)
class Sequences:
    """Candidates [W, Z, K]."""

    verbs: IntArray
    nouns: IntArray


class Learning(nn.Module):
    """What is minimized: 2 Z cross-entropies, added up."""

    def __init__(self, network: Anticipator) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`loss`, and its parts."""
        verbs, nouns = self.network(batch.features)
        verb, noun = summed_cross_entropy(verbs, batch.verbs), summed_cross_entropy(nouns, batch.nouns)
        return {"loss": verb + noun, "verb": verb, "noun": noun}


def new_network(features: int, classes: tuple[int, int], config: Anticipation) -> Anticipator:
    """A network of random weights."""
    return Anticipator(
        features,
        classes,
        inputs=config.inputs,
        steps=config.steps,
        width=config.width,
        aggregator=config.aggregator,
        layers=config.layers,
        heads=config.heads,
        feedforward=config.feedforward,
        dropout=config.dropout,
    )


def train_network(
    train: Windows,
    val: Windows,
    classes: tuple[int, int],
    config: Anticipation,
    *,
    how: How,
    seed: int,
    device: torch.device,
    run: Run | None = None,
    progress: Progress = no_progress,
) -> tuple[Anticipator, BestEpoch]:
    """Trains a network on labeled windows, and validates it after every epoch if there is something to validate on.

    In each epoch an action shows one of its cached rows, drawn at random, in all windows that observe it.

    Args:
        train: labeled windows.
        val: labeled windows, or none.
        classes: of verbs, and of nouns.
        config: what is learned.
        how: precision, gradients, logging.
        seed: of the network, the orders, the rows and dropout.
        device: where it is trained.
        run: keeps metrics and checkpoint, from which the same call resumes; None: nothing is kept.
        progress: of epochs.

    Returns:
        The network with the weights of the best epoch on `val`, else of the last; and what the epochs were worth.

    Raises:
        TableError: the batches cannot be divided into steps.
        TrainingError: as `fit`.
    """
    with seeded(seed, device):
        network = new_network(train.actions.rows.shape[1], classes, config).to(device)
        best = _fitted(network, train, val, config, how=how, seed=seed, run=run, progress=progress)
    if best.weights:
        network.load_state_dict(best.weights)
    return network.eval(), best


def _fitted(
    network: Anticipator,
    train: Windows,
    val: Windows,
    config: Anticipation,
    *,
    how: How,
    seed: int,
    run: Run | None,
    progress: Progress,
) -> BestEpoch:
    steps, best = steps_of(len(train), config.batch_size, how), BestEpoch("verb_ed", is_lowest=True)
    total, device = steps * config.epochs, network.projection.weight.device

    def after_step(done: int) -> Figures | None:
        if done % steps:
            return None
        progress("epochs", done // steps, config.epochs)
        if not len(val):
            best.epochs += 1
            return {"epoch": best.epochs}
        verbs, nouns = measured(val, draw_sequences(network, val, config.candidates, seed=seed))
        figures = {"verb_ed": float(verbs.by_length[-1]), "noun_ed": float(nouns.by_length[-1])}
        return best.take(figures, network)

    fit(
        Learning(network).train(),
        partial(_batches, windows=train, config=config, seed=seed, device=device),
        optimizer_of(network, "adam", lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay),
        run,
        steps=total,
        state={"progress": best},
        rate=lambda at: warmup_cosine(at, config.warm_up, total),
        after_step=after_step,
        how=replace(how, log_every=how.log_every or steps),
    )
    return best


def _batches(first: int, *, windows: Windows, config: Anticipation, seed: int, device: torch.device) -> Iterator[Batch]:
    """The batches from number `first` on."""
    rows = torch.from_numpy(windows.actions.rows).to(device)
    inputs, labels = (torch.from_numpy(each).to(device) for each in (windows.inputs, windows.labels))
    per_epoch, shown, epoch = -(-len(windows) // config.batch_size), None, -1
    numbers = torch.arange(len(windows), device=device)
    drawn = batches(first, rows=numbers, batch_size=config.batch_size, epochs=config.epochs, seed=seed)
    for number, batch in enumerate(drawn, first):
        if shown is None or number // per_epoch != epoch:
            epoch = number // per_epoch
            shown = torch.from_numpy(drawn_rows(windows.actions, seed, epoch)).to(device)
        found = labels[batch.rows]
        yield Batch(rows[shown[inputs[batch.rows]]], found[..., 0], found[..., 1])


def drawn_rows(actions: Actions, seed: int, epoch: int) -> IntArray:
    """The row [A] that each action shows in an epoch; of an action without rows any."""
    share = np.random.default_rng([seed, DRAW, epoch]).random(len(actions.first))
    return actions.first + (share * actions.count).astype(np.int64)


def middle_rows(actions: Actions) -> IntArray:
    """The row [A] in the middle of each action, which is shown where nothing is learned."""
    return actions.first + actions.count // 2


@torch.no_grad()
def draw_sequences(network: Anticipator, windows: Windows, candidates: int, *, seed: int) -> Sequences:
    """Candidates of windows, drawn by a seed from what a network says of the middle row of each observed action.

    Raises:
        TrainingError: what it says is not finite.
    """
    was_training, device = network.training, network.projection.weight.device
    network.eval()
    generator = torch.Generator(device).manual_seed(seed)
    shown, rows = middle_rows(windows.actions), windows.actions.rows
    found: tuple[list[IntArray], list[IntArray]] = ([], [])
    for at in range(0, len(windows), ROWS):
        features = rows[shown[windows.inputs[at : at + ROWS]]]
        for part, logits in zip(found, network(torch.from_numpy(features).to(device)), strict=True):
            if not logits.isfinite().all():
                raise TrainingError("the network's output is not finite; train it with a lower --learning-rate")
            part.append(sampled(logits, candidates, generator).cpu().numpy())
    network.train(was_training)
    verbs, nouns = (np.concatenate(part) for part in found)
    return Sequences(verbs, nouns)


def measured(windows: Windows, sequences: Sequences) -> tuple[EditDistances, EditDistances]:
    """Edit distances of verbs and of nouns, over all windows together."""
    verbs, nouns = windows.labels[..., 0], windows.labels[..., 1]
    return edit_distances(sequences.verbs, verbs), edit_distances(sequences.nouns, nouns)
