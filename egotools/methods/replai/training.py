"""How RepLAI learns: its optimizer and its schedule."""

from __future__ import annotations

import math

import torch

from egotools.methods.replai.network import Pretraining
from egotools.methods.replai.options import ReplaiOptions
from egotools.training.optimizers import cosine, milestones, one_cycle, optimizer_of

FEW = 10  # epochs, below which a schedule that changes each epoch is coarse


def optimizer_for(model: Pretraining, options: ReplaiOptions) -> torch.optim.Optimizer:
    """Of the heads that learn, and of both networks below them, each with its rate."""
    shared = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
    if options.optimizer == "sgd":
        shared["momentum"] = options.momentum
    heads = [each for each in model.mlp.parameters() if each.requires_grad]
    below = {"params": [*model.backbone.parameters()], "lr": options.learning_rate * options.backbone_lr_mult}
    return optimizer_of(model, options.optimizer, groups=[{"params": heads}, below], **shared)


def rate_at(step: int, *, options: ReplaiOptions, epoch: float) -> dict[str, float]:
    """The factor of each group's rate in a step, and of SGD's momentum where it is scheduled; epochs of so many steps.

    As published, the rate changes with an epoch, and one cycle is one place ahead: its first place is never used, and
    the last epoch lies beyond its end.
    """
    total: float = epochs_of(options, epoch)
    at = int(step / epoch)
    if options.rate_every == "step":
        at, total = step, total_steps(options, epoch)
    if options.schedule == "cosine":
        return {"lr": cosine(at, total=int(total))}
    if options.schedule == "step":
        return {"lr": milestones(int(step / epoch), places=options.milestones)}
    rate, momentum = one_cycle(at + (options.rate_every == "epoch"), total=int(total))
    is_scheduled = options.optimizer == "sgd" and options.momentum > 0
    return {"lr": rate, **({"momentum": momentum / options.momentum} if is_scheduled else {})}


def epochs_of(options: ReplaiOptions, epoch: float) -> int:
    """Epochs of so many steps that the training has, the last one perhaps in part."""
    return options.epochs if options.steps is None else math.ceil(options.steps / epoch)


def total_steps(options: ReplaiOptions, epoch: float) -> int:
    """Steps of the whole training, with epochs of so many."""
    return math.floor(options.epochs * epoch + 1e-6) if options.steps is None else options.steps


def schedule_remarks(options: ReplaiOptions, epoch: float) -> list[str]:
    """Where a training has too few epochs for a rate that changes each epoch."""
    epochs = epochs_of(options, epoch)
    if options.rate_every == "step" or options.schedule == "step" or epochs >= FEW:
        return []
    return [f"the rate changes each epoch, and there are {epochs}: --rate-every step changes it smoothly"]
