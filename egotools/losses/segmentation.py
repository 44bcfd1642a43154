"""Losses of temporal segmentation. Axes: B items, C classes, T slots of time.

Source:
    Two-stream View-Invariance SSL on Assembly101, `src/main_train_our_method.py`; the smoothing is MS-TCN's,
    arXiv 1903.01945.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everywhere

IGNORED = -100  # the label of a slot that has none
EPSILON = 1e-10  # added to probabilities, so that their logarithm is finite
WEIGHT = 0.17  # of the smoothing, beside a cross entropy of weight 1
LIMIT = 16.0  # of a squared step of a log-probability: where a class really changes, nothing is to be smoothed


def cross_entropy(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of labelled slots.

    Args:
        probabilities: [B, C, T] float.
        labels: [B, T] int64 class numbers, -100 where a slot has none.

    Returns:
        Mean over the labelled slots, scalar; 0 where there are none.
    """
    # A softmax of logarithms of probabilities changes next to nothing; the published loss has it.
    total = F.cross_entropy(_log(probabilities), labels, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def smoothing(probabilities: Tensor, mask: Tensor, *, masked: bool) -> Tensor:
    """What steps of the log-probabilities from slot to slot cost: 0.17 times their mean truncated square.

    Each slot is drawn towards the one before, which itself gets no gradient.

    Args:
        probabilities: [B, C, T] float.
        mask: [B, T] bool, False where an item is padded. Steps to padded slots cost nothing.
        masked: whether the mean is over the steps that count; otherwise over all, as published, so that short items
            of a batch weigh less.

    Returns:
        Scalar.
    """
    logarithms = _log(probabilities)
    steps = (logarithms[:, :, 1:] - logarithms[:, :, :-1].detach()).square().clamp(max=LIMIT)
    real = mask[:, None, 1:].to(steps.dtype)
    total = (steps * real).sum()
    count = real.sum().clamp(min=1) * steps.shape[1] if masked else steps.numel()
    return WEIGHT * total / count


def _log(probabilities: Tensor) -> Tensor:
    return torch.log(probabilities + EPSILON)
