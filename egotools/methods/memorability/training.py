"""One training of M3-S on the device, from tensors to a network. Axes: N clips, D features, B batch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

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
from egotools.training.best import BestEpoch, Figures
from egotools.training.epochs import Batch, batches, progress_at, steps_of
from egotools.training.fit import fit
from egotools.training.how import How
from egotools.training.optimizers import cosine, exponential, optimizer_of, step
from egotools.training.runs import Run
from egotools.training.seeding import seeded
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
    """All clips on the device, normalized, and the numbers of those to train and to test on."""

    values: Tensor  # [N, D] float32
    scores: Tensor  # [N] float32
    train: Tensor  # int64
    test: Tensor  # int64


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, and its figures after the last epoch and after the best."""

    network: ScoreMLP  # of the epoch that was to be kept
    last: Figures
    best: Figures


def train_network(
    examples: Examples,
    network: ScoreMLP,
    config: Training,
    *,
    seed: int,
    run: Run | None = None,
    how: How = How(),  # noqa: B008 - frozen
) -> Trained:
    """Trains a network, changed in place, and evaluates it after every epoch.

    Args:
        examples: on the device where it is trained.
        network: with the weights to begin with.
        config: what is minimized, and with which optimizer.
        seed: of the order of the clips and of dropout.
        run: keeps metrics and checkpoint, from which the same call resumes; None: nothing is kept.
        how: precision, gradients, logging; a line of the metrics is an epoch unless it says otherwise.

    Raises:
        ValueError: a loss that ranks, and one clip alone in the last batch of an epoch.
        TrainingError: as `fit`.
    """
    device = examples.values.device
    center = float(examples.scores[examples.train].mean())
    model = Memorability(network, examples.values, examples.scores, config, center).to(device).train()
    steps = steps_of(len(examples.train), config.batch_size, how)
    best, schedule = BestEpoch("spearman"), _schedule(config)

    def after_step(done: int) -> Figures | None:
        if done % steps:
            return None
        return best.take(evaluate(model, examples, progress=progress_at(done // steps - 1, config.epochs)), network)

    with seeded(seed, device):
        fit(
            model,
            partial(
                batches,
                rows=examples.train,
                batch_size=config.batch_size,
                epochs=config.epochs,
                seed=seed,
                shuffle=config.shuffle,
            ),
            optimizer_of(model, config.optimizer, lr=config.learning_rate, weight_decay=config.weight_decay),
            run,
            steps=steps * config.epochs,
            state={"progress": best},
            rate=schedule and (lambda step: schedule(step // steps)),
            after_step=after_step,
            is_over=lambda: best.is_over(config.patience),
            how=replace(how, log_every=how.log_every or steps),
        )
    if config.keep == "best":
        network.load_state_dict(best.weights)
    return Trained(network.eval(), best.last, best.best)


def new_network(width: int, config: Training, *, seed: int, mean: float = 0.5) -> ScoreMLP:
    """A network of random weights whose scores begin around `mean`; torch's own random state is untouched."""
    with seeded(seed):
        network = ScoreMLP(width, config.hidden, dropout=config.dropout)
    last = network.mlp[-1][0]  # type: ignore[index]
    last.bias.data += torch.logit(torch.tensor(mean), eps=1e-3)
    return network


def evaluate(model: Memorability, examples: Examples, *, progress: float) -> Figures:
    """Metrics of the predictions of the test clips, and their loss."""
    predicted, target = model.predict(examples.test), examples.scores[examples.test]
    loss = model.loss(predicted, target, progress).item()
    return {**metrics(target.cpu().numpy(), predicted.cpu().numpy()), "loss": loss}


def metrics(target: FloatArray, predicted: FloatArray) -> Figures:
    """All metrics of predicted scores [N], in float64."""
    one, other = target.astype(np.float64), predicted.astype(np.float64)
    return {name: metric(one, other) for name, metric in METRICS.items()}


def _schedule(config: Training) -> Callable[[int], float] | None:
    """What multiplies the learning rate in an epoch, counted from 0; None: nothing."""
    if config.scheduler == "step":
        return partial(step, every=config.scheduler_step, factor=config.scheduler_gamma)
    if config.scheduler == "exponential":
        return partial(exponential, factor=config.scheduler_gamma)
    return partial(cosine, total=config.epochs) if config.scheduler == "cosine" else None
