"""Multinomial logistic regression in torch. Axes: N rows, D features, K classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from egotools.linear.lbfgs import Map, Pair, minimize
from egotools.machine import has_fast_bf16

LARGEST = 1e-4  # largest gradient entry at which to stop; scikit-learn's default
NORM = 6e-4  # of a gradient against which only the penalty bends: what it leaves to gain, at which to end
GAPS = (2e-6, 3e-4)  # of the objective to its minimum, in nats: small enough, and never small enough
STEPS = 100  # as scikit-learn's default
WORTH_HALF = 1 << 22  # table entries from which bf16 products outweigh their conversion
UNSEEN = 1e-3  # fraction of the mean curvature that every direction has at least
FAR = 10  # the curvature of the cross-entropy at zero by the penalty's, along a feature of mean variance
NEGLIGIBLE = 1e-20  # probability; products with denormal numbers would take ten times as long
LOGITS = 1 << 25  # rows x classes at a time; smaller problems are one piece
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


@dataclass(frozen=True, eq=False)
class Curvature:
    """The second derivative of the mean cross-entropy at zero, where all K classes are equally probable."""

    classes: int
    variance: float  # over all features
    spread: Tensor | None  # [D, D] mean products of the features; None if it costs more than it saves

    @classmethod
    def of(cls, x: Tensor, classes: int, c: float) -> "Curvature":
        """Estimated from rows [N, D]; the products from twice as many rows as features.

        They are left out, too, for a C so large that the minimum is far from zero, where the curvature is another.
        """
        width = x.shape[1]
        variance = float(torch.linalg.vector_norm(x)) ** 2 / len(x)
        is_far = c * len(x) * variance / (width * classes) > FAR
        if is_far or len(x) * classes < width**2 / 32:
            return cls(classes, variance, None)
        some = x[:: max(1, len(x) // (2 * width))]
        return cls(classes, variance, some.T @ some / len(some))

    def inverse(self, penalty: float) -> Map:
        """Maps gradients [K, D + 1] to the steps that would make them zero; short ones without `spread`."""
        if self.spread is None:
            return lambda slopes: slopes * (self.classes / (self.variance + penalty * self.classes))
        whole = self.spread / self.classes
        whole.diagonal().add_(penalty + UNSEEN * self.variance / (len(whole) * self.classes))
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(whole))
        return lambda slopes: torch.cat([slopes[:, :-1] @ inverse, slopes[:, -1:] * self.classes], dim=1)


def fit_path(x: Tensor, labels: Tensor, classes: int, *, c: Sequence[float], half: bool | None = None) -> list[Fit]:
    """One fit for each C by L-BFGS, each started from the last, the most regularized first.

    Args:
        x: [N, D] float32, standardized.
        labels: [N] int64 below K.
        classes: K.
        c: inverse strengths of regularization, as in scikit-learn.
        half: whether to use bf16 products; None: if the processor has them and the table is large.

    Returns:
        In the order of `c`.
    """
    if len(x) < x.shape[1]:  # the optimal weights are in the span of the rows
        axes, inside = torch.linalg.qr(x.T)
        fits = fit_path(inside.T.contiguous(), labels, classes, c=c, half=half)
        return [replace(fit, weight=fit.weight @ axes.T) for fit in fits]
    if half is None:
        half = x.numel() >= WORTH_HALF and has_fast_bf16(x.device)
    rows = x.bfloat16() if half else x
    curvature = Curvature.of(x, classes, min(c))
    point = torch.zeros(classes, x.shape[1] + 1, device=x.device)
    pairs: Sequence[Pair] = ()
    found: dict[float, Fit] = {}
    penalty = 0.0
    for value in sorted(set(c)):
        last, penalty = penalty, 1.0 / (value * len(x))
        # the curvature is the same except for the penalty's part, which is known
        pairs = [(step, change + (penalty - last) * _weights_of(step)) for step, change in pairs]
        slopes, guess = partial(gradient, rows, labels, penalty), curvature.inverse(penalty)
        gap = min(max(NORM**2 / (2 * penalty), GAPS[0]), GAPS[1])
        minimum = minimize(slopes, point, guess=guess, largest=LARGEST, gap=gap, steps=STEPS, pairs=pairs)
        point, pairs = minimum.point, minimum.pairs
        reached = objective(x, labels, penalty, point)
        found[value] = Fit(value, point[:, :-1], point[:, -1], reached, minimum.evaluations)
    return [found[value] for value in c]


def fit_sgd(x: Tensor, labels: Tensor, classes: int, *, c: float, generator: torch.Generator) -> Fit:
    """One fit by stochastic gradient descent with momentum, with a cosine learning rate schedule."""
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
    return Fit(c, point[:, :-1], point[:, -1], objective(x, labels, penalty, point), EPOCHS)


def objective(x: Tensor, labels: Tensor, penalty: float, point: Tensor) -> float:
    """Mean cross-entropy + penalty / 2 |weight|^2 at a point [K, D + 1], the last column the bias."""
    parts = _parts(x, labels, len(point))
    losses = [functional.cross_entropy(_logits(rows, point), own, reduction="none") for rows, own in parts]
    return float(torch.cat(losses).double().mean() + 0.5 * penalty * point[:, :-1].double().square().sum())


def gradient(x: Tensor, labels: Tensor, penalty: float, point: Tensor) -> Tensor:
    """The gradient of the objective at a point [K, D + 1]. Products use the dtype of `x` [N, D], the rest float32."""
    slopes = torch.zeros_like(point)
    for rows, own in _parts(x, labels, len(point)):
        errors = functional.threshold(torch.softmax(_logits(rows, point), dim=1), NEGLIGIBLE, 0.0)
        errors[torch.arange(len(rows), device=x.device), own] -= 1
        errors /= len(x)
        slopes[:, :-1] += errors.to(x.dtype).T.contiguous() @ rows
        slopes[:, -1] += errors.sum(dim=0)
    return slopes.add_(_weights_of(point), alpha=penalty)


def _parts(x: Tensor, labels: Tensor, classes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows and labels in parts whose logits fit in memory, however many classes there are."""
    step = max(1, LOGITS // classes)
    return zip(torch.split(x, step), torch.split(labels, step), strict=True)


def _logits(x: Tensor, point: Tensor) -> Tensor:
    """[N, K] float32 of rows [N, D]; products in the dtype of `x`."""
    weight = point[:, :-1].to(x.dtype).T.contiguous()  # other strides slow the product
    return (x @ weight).float().add_(point[:, -1])


def _weights_of(point: Tensor) -> Tensor:
    """A point [K, D + 1] with its bias set to zero: what is penalized."""
    weights = point.clone()
    weights[:, -1] = 0
    return weights
