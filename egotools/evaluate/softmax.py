"""Multinomial logistic regression in torch. Axes: N rows, D features, K classes."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from egotools.evaluate.lbfgs import Function, Pair, minimize

TOLERANCE = 6e-5  # of the largest entry of the gradient; scikit-learn's default is 1e-4
STEPS = 300
WORTH_HALF = 1 << 22  # entries of a table from which on bf16 products pay for their conversion
HALF_PROGRESS = 1e-5  # share of the objective below which a step in bf16 is mostly rounding
EPOCHS = 30  # of stochastic gradient descent
BATCH = 256
RATE = 0.05  # its learning rate at the start
MOMENTUM = 0.9


@dataclass(frozen=True, eq=False)
class Fit:
    """The minimum of mean cross-entropy + |weight|^2 / (2 C N); times C N it is scikit-learn's objective."""

    c: float
    weight: Tensor  # [K, D] float32
    bias: Tensor  # [K] float32, not penalized
    objective: float
    evaluations: int  # passes over the rows

    def logits(self, x: Tensor) -> Tensor:
        """[N, D] to [N, K]."""
        return functional.linear(x, self.weight, self.bias)


def fit_path(x: Tensor, labels: Tensor, classes: int, *, c: Sequence[float], half: bool | None = None) -> list[Fit]:
    """One fit for each C by L-BFGS, each started from the last, the most regularized first.

    Args:
        x: [N, D] float32, standardized.
        labels: [N] int64 below K.
        classes: K.
        c: inverse strengths of regularization, as in scikit-learn.
        half: bf16 products until their rounding shows, then float32; None: where the processor has them and the
            table is large.

    Returns:
        In the order of `c`.
    """
    if half is None:
        half = x.numel() >= WORTH_HALF and has_fast_bf16(x.device)
    coarse = x.bfloat16() if half else None
    point = torch.zeros(classes, x.shape[1] + 1, device=x.device)
    pairs: tuple[Pair, ...] = ()
    fits, last = {}, None
    for value in sorted(set(c)):
        penalty = 1.0 / (value * len(x))
        if last is not None:  # what was learned of the curvature holds but for the penalty, which is known
            pairs = tuple((step, change + (penalty - last) * _weights_of(step)) for step, change in pairs)
        evaluations = 0
        if coarse is not None:
            rough = minimize(
                objective(coarse, labels, penalty), point, tolerance=TOLERANCE, steps=STEPS, progress=HALF_PROGRESS,
                pairs=pairs,
            )  # fmt: skip
            point, pairs, evaluations = rough.point, rough.pairs, rough.evaluations
        found = minimize(objective(x, labels, penalty), point, tolerance=TOLERANCE, steps=STEPS, pairs=pairs)
        point, pairs, last = found.point, found.pairs, penalty
        fits[value] = Fit(value, point[:, :-1], point[:, -1], found.value, evaluations + found.evaluations)
    return [fits[value] for value in c]


def fit_sgd(x: Tensor, labels: Tensor, classes: int, *, c: float, generator: torch.Generator) -> Fit:
    """One fit by stochastic gradient descent with momentum, its rate falling to zero in half a cosine."""
    weight = torch.zeros(classes, x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    penalty = 1.0 / (c * len(x))
    optimizer = torch.optim.SGD([weight, bias], lr=RATE, momentum=MOMENTUM)
    batches = -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * batches)
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(x), generator=generator).to(x.device), BATCH):
            loss = functional.cross_entropy(functional.linear(x[rows], weight, bias), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss + 0.5 * penalty * weight.square().sum())
            optimizer.step()
            schedule.step()
    point = torch.cat([weight, bias[:, None]], dim=1).detach()
    value, _ = objective(x, labels, penalty)(point)
    return Fit(c, point[:, :-1], point[:, -1], value, EPOCHS)


def objective(x: Tensor, labels: Tensor, penalty: float) -> Function:
    """Mean cross-entropy + penalty / 2 |weight|^2 and its gradient at a point [K, D + 1], the last column the bias.

    Products are computed in the type of `x` [N, D], all else in float32.
    """
    rows = torch.arange(len(x), device=x.device)

    def evaluate(point: Tensor) -> tuple[float, Tensor]:
        logits = (x @ point[:, :-1].to(x.dtype).T).float().add_(point[:, -1])
        logarithms = torch.log_softmax(logits, dim=1)
        weights = _weights_of(point)
        loss = -logarithms[rows, labels].double().mean() + 0.5 * penalty * weights.double().square().sum()
        errors = logarithms.exp_()
        errors[rows, labels] -= 1
        errors /= len(x)
        gradient = torch.empty_like(point)
        gradient[:, :-1] = errors.to(x.dtype).T @ x
        gradient[:, -1] = errors.sum(dim=0)
        return float(loss), gradient.add_(weights, alpha=penalty)

    return evaluate


def has_fast_bf16(device: torch.device) -> bool:
    """Whether products in bf16 are faster than in float32: GPUs, and processors with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if platform.machine() != "x86_64":
        return False
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and any(flag in cpu.read_text() for flag in ("amx_bf16", "avx512_bf16"))


def _weights_of(point: Tensor) -> Tensor:
    """A point [K, D + 1] with its bias set to zero: what is penalized."""
    weights = point.clone()
    weights[:, -1] = 0
    return weights
