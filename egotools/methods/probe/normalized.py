"""The head of Memory Storyboard's linear probes: rows of length one and a linear layer, trained by SGD with LARC.

Axes: N rows, B batch, D features, K classes.

Source:
    Yang, Ren, "Memory Storyboard", CoLLAs 2025; `linear_decoding.py` of its code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from egotools.evaluate.trials import Task
from egotools.linear.softmax import Fit
from egotools.linear.standardize import Standardization
from egotools.methods.probe.classifier import Classifier
from egotools.methods.probe.head import Head
from egotools.progress import Progress, no_progress
from egotools.tables.table import Mask
from egotools.training.epochs import batch_count, batches
from egotools.training.fit import fit
from egotools.training.how import How
from egotools.training.larc import LARC
from egotools.training.runs import Run
from egotools.training.seeding import seeded

MOMENTUM = 0.9


class Labeled(NamedTuple):
    """Features [B, D] and the numbers [B] of their classes, on the device."""

    features: Tensor
    labels: Tensor


class NormalizedLinear(nn.Module):
    """A linear layer on rows of length one, drawn as torch draws it."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, batch: Labeled) -> dict[str, Tensor]:
        """`loss`, the cross-entropy, and `top1`, the share that is right."""
        logits = self.fc(functional.normalize(batch.features, dim=1))
        right = (logits.detach().argmax(dim=1) == batch.labels).float().mean()
        return {"loss": functional.cross_entropy(logits, batch.labels), "top1": right}

    def classifier(self, classes: tuple[str, ...]) -> Classifier:
        """As a value."""
        weight, bias = self.fc.weight.detach().clone(), self.fc.bias.detach().clone()
        nothing = Standardization(torch.zeros_like(weight[0]), torch.ones_like(weight[0]))
        return Classifier(classes, weight, bias, nothing, has_unit_rows=True)


def new_head(width: int, classes: int, seed: int, device: str | torch.device) -> NormalizedLinear:
    """A head drawn by a seed."""
    with seeded(seed):
        return NormalizedLinear(width, classes).to(device)


def learn_head(
    model: NormalizedLinear,
    numbered: Callable[[int], Iterable[Labeled]],
    head: Head,
    run: Run | None,
    *,
    per_epoch: int,
    measured: Callable[[NormalizedLinear], dict[str, Any]] | None = None,
    progress: Progress = no_progress,
) -> int:
    """Trains a head, changed in place; the number of steps.

    Args:
        model: on its device.
        numbered: batches from a number on.
        head: epochs and learning rate, which is the same within an epoch.
        run: keeps metrics and checkpoint; None: nothing is kept.
        per_epoch: batches.
        measured: figures after each epoch. Any: JSON values.
        progress: told the steps.
    """
    steps = head.epochs * per_epoch
    optimizer = LARC(model.parameters(), lr=head.learning_rate, momentum=MOMENTUM, weight_decay=head.weight_decay)

    def after_step(done: int) -> dict[str, Any] | None:
        progress("steps", done, steps)
        if measured is None or done % per_epoch:
            return None
        return {"epoch": done // per_epoch, **measured(model)}

    return fit(
        model,
        numbered,
        optimizer,
        run,
        steps=steps,
        rate=lambda step: head.rate(step // per_epoch),
        after_step=after_step,
        how=How(log_every=per_epoch),
    )


def fit_normalized(
    task: Task, head: Head, train: Mask, device: str | torch.device, generator: np.random.Generator
) -> tuple[Fit, Classifier]:
    """A head on the train rows [N] of cached features, as they are."""
    known, labels = np.unique(task.labels[train], return_inverse=True)
    rows, numbers = (
        torch.from_numpy(each).to(device) for each in (task.table.values[train].astype(np.float32), labels)
    )
    seed = int(generator.integers(2**31))
    places = torch.arange(len(rows), device=rows.device)

    def numbered(first: int) -> Iterable[Labeled]:
        for batch in batches(first, rows=places, batch_size=head.batch_size, epochs=head.epochs, seed=seed):
            yield Labeled(rows[batch.rows], numbers[batch.rows])

    model = new_head(rows.shape[1], len(known), seed, device)
    learn_head(model, numbered, head, None, per_epoch=batch_count(len(rows), head.batch_size))
    with torch.inference_mode():
        loss = float(model(Labeled(rows, numbers))["loss"])
    classifier = model.classifier(tuple(task.classes[number] for number in known))
    return Fit(0.0, classifier.weight, classifier.bias, loss, head.epochs), classifier
