"""One training of M3-S on the device, from tensors to a network. Axes: N clips, D features, B batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from egotools.losses.regression import l1, mse, mse_tails
from egotools.losses.spearman import mse_to_spearman, spearman
from egotools.methods.memorability.options import Training
from egotools.metrics.regression import (
    absolute_error,
    js_divergence,
    kendall_score,
    kl_divergence,
    pearson_score,
    r2_score,
    spearman_score,
    squared_error,
)
from egotools.nn.mlp import ScoreMLP
from egotools.training.fit import fit
from egotools.training.how import How
from egotools.training.runs import Run
from egotools.types import FloatArray

METRICS = {
    "spearman": spearman_score,
    "pearson": pearson_score,
    "kendall": kendall_score,
    "mse": squared_error,
    "mae": absolute_error,
    "r2": r2_score,
    "kl": kl_divergence,
    "js": js_divergence,
}
OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
}
FUSED = ("adam", "adamw")  # one pass over the parameters instead of ten

Figures = dict[str, Any]  # Any: numbers, JSON-ready


class Batch(NamedTuple):
    """Numbers [B] of the clips, and the share of the training that is behind them, 0 in the first epoch to 1."""

    rows: Tensor
    progress: float


class Memorability(nn.Module):
    """The network beside the whole table of clips on the device: a batch is a list of row numbers."""

    values: Tensor
    scores: Tensor

    def __init__(self, network: ScoreMLP, values: Tensor, scores: Tensor, config: Training, center: float) -> None:
        super().__init__()
        self.network, self._config, self._center = network, config, center
        self.register_buffer("values", values, persistent=False)  # [N, D]
        self.register_buffer("scores", scores, persistent=False)  # [N]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch."""
        predicted = self.network(self.values[batch.rows]).squeeze(1)
        return {"loss": self.loss(predicted, self.scores[batch.rows], batch.progress)}

    def loss(self, predicted: Tensor, target: Tensor, progress: float) -> Tensor:
        """What is minimized, of scores [B]."""
        config = self._config
        strength = config.spearman_strength
        if config.loss == "mse-to-spearman":
            return mse_to_spearman(predicted, target, share=progress, strength=strength)
        if config.loss == "mse-tails":
            return mse_tails(
                predicted,
                target,
                power=config.mse_tails_power,
                factor=config.mse_tails_factor,
                center=self._center if config.mse_tails_center is None else config.mse_tails_center,
            )
        if config.loss == "spearman":
            return spearman(predicted, target, strength=strength)
        return mse(predicted, target) if config.loss == "mse" else l1(predicted, target)

    @torch.no_grad()
    def predict(self, rows: Tensor) -> Tensor:
        """Scores [B] without dropout."""
        was_training = self.training
        self.eval()
        predicted: Tensor = self.network(self.values[rows]).squeeze(1)
        self.train(was_training)
        return predicted


@dataclass(frozen=True, eq=False)
class Examples:
    """All clips on the device, normalized, and the numbers of those that are learned from and judged."""

    values: Tensor  # [N, D] float32
    scores: Tensor  # [N] float32
    train: Tensor  # int64
    test: Tensor  # int64


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, and what it was worth in its last epoch and in its best."""

    network: ScoreMLP  # of the epoch that was to be kept
    last: Figures
    best: Figures


@dataclass(eq=False)
class _BestEpoch:
    """What is known of the epochs so far; saved with the checkpoint."""

    epochs: int = 0
    last: Figures = field(default_factory=dict)
    best: Figures = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)  # of the best epoch

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)

    def take(self, figures: Figures, network: ScoreMLP) -> Figures:
        """One more epoch is over; what is to be logged of it."""
        self.epochs += 1
        self.last = {"epoch": self.epochs, **figures}
        best = self.best.get("spearman", math.nan)
        if not self.best or figures["spearman"] > best or (math.isnan(best) and not math.isnan(figures["spearman"])):
            self.best = self.last
            self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return {"epoch": self.epochs, **{f"val_{name}": value for name, value in figures.items()}}

    def is_over(self, patience: int | None) -> bool:
        return bool(patience and self.epochs - self.best.get("epoch", 0) >= patience)


def train_network(
    examples: Examples,
    network: ScoreMLP,
    config: Training,
    *,
    seed: int,
    run: Run | None = None,
    log_every: int | None = None,
) -> Trained:
    """Trains a network, changed in place, and judges it after every epoch.

    Args:
        examples: on the device where it is trained.
        network: with the weights to begin with.
        config: how.
        seed: of the order of the clips and of dropout.
        run: keeps metrics and checkpoint, from which the same call goes on; None: nothing is kept.
        log_every: steps a line of the run's metrics; by default an epoch's.

    Raises:
        ValueError: a loss that ranks, and one clip alone in the last batch of an epoch.
    """
    device = examples.values.device
    center = float(examples.scores[examples.train].mean())
    model = Memorability(network, examples.values, examples.scores, config, center).to(device).train()
    steps = math.ceil(len(examples.train) / config.batch_size)
    progress = _BestEpoch()

    def after_step(done: int) -> Figures | None:
        if done % steps:
            return None
        found = judge(model, examples, share=_share(done // steps - 1, config.epochs))
        return progress.take(found, network)

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        fit(
            model,
            partial(batches, examples.train, config, seed),
            _optimizer(model, config),
            run,
            steps=steps * config.epochs,
            state={"progress": progress},
            rate=lambda step: rate(step // steps, config),
            after_step=after_step,
            is_over=lambda: progress.is_over(config.patience),
            how=How(log_every=log_every or steps),
        )
    if config.keep == "best":
        network.load_state_dict(progress.weights)
    return Trained(network.eval(), progress.last, progress.best)


def new_network(width: int, config: Training, *, seed: int, mean: float = 0.5) -> ScoreMLP:
    """A network of random weights whose scores begin around `mean`; torch's own random state is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ScoreMLP(width, config.hidden, dropout=config.dropout)
    last = network.mlp[-1][0]  # type: ignore[index]
    last.bias.data += torch.logit(torch.tensor(mean), eps=1e-3)
    return network


def judge(model: Memorability, examples: Examples, *, share: float) -> Figures:
    """What the predictions of the judged clips are worth, and their loss."""
    predicted, target = model.predict(examples.test), examples.scores[examples.test]
    loss = model.loss(predicted, target, share).item()
    return {**metrics(target.cpu().numpy(), predicted.cpu().numpy()), "loss": loss}


def metrics(target: FloatArray, predicted: FloatArray) -> Figures:
    """All metrics of predicted scores [N], in float64."""
    one, other = target.astype(np.float64), predicted.astype(np.float64)
    return {name: metric(one, other) for name, metric in METRICS.items()}


def rate(epoch: int, config: Training) -> float:
    """What multiplies the learning rate in an epoch, counted from 0."""
    if config.scheduler == "step":
        return config.scheduler_gamma ** (epoch // config.scheduler_step)
    if config.scheduler == "exponential":
        return config.scheduler_gamma**epoch
    if config.scheduler == "cosine":
        return (1 + math.cos(math.pi * epoch / config.epochs)) / 2
    return 1.0


def _share(epoch: int, epochs: int) -> float:
    """How far the training is in an epoch, counted from 0: 0 in the first, 1 in the last."""
    return epoch / (epochs - 1) if epochs > 1 else 0.0


def _optimizer(model: nn.Module, config: Training) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"fused": True} if config.optimizer in FUSED else {}
    kind: Any = OPTIMIZERS[config.optimizer]  # Any: their further options differ
    optimizer: torch.optim.Optimizer = kind(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, **options
    )
    return optimizer


def batches(train: Tensor, config: Training, seed: int, first: int) -> Iterator[Batch]:
    """The batches from step `first` on; the order of an epoch depends on the seed and the epoch only."""
    count = math.ceil(len(train) / config.batch_size)
    for epoch in range(first // count, config.epochs):
        order = (
            np.random.default_rng([seed, epoch]).permutation(len(train)) if config.shuffle else np.arange(len(train))
        )
        rows = torch.split(train[torch.from_numpy(order).to(train.device)], config.batch_size)
        begin = first % count if epoch == first // count else 0
        for batch in rows[begin:]:
            yield Batch(batch, _share(epoch, config.epochs))
