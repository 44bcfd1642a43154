"""Losses of two views of the same images. Axes: B images, D numbers each, C classes; all means are over anchors.

Source:
    Memory Storyboard, arXiv 2501.12254 (`osiris_model.py`), of which the paper writes some as sums.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everywhere

from egotools.nn.mixed_precision import in_float32

TEMPERATURE = 0.1
REDUNDANCY = 0.005  # weight of what lies off the diagonal
EPSILON = 1e-5  # added to a variance


@in_float32
def nt_xent(one: Tensor, other: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """Cross-entropy of telling an image's other view from the 2 B - 2 views of other images, by cosine similarity.

    Args:
        one: [B, D], any norm.
        other: [B, D], of the same images.
        temperature: divides the similarities.

    Returns:
        Mean over the 2 B views, scalar.

    Source:
        SimCLR, arXiv 2002.05709, equation 1.
    """
    scores = _similarities(torch.cat([one, other])) / temperature
    partners = torch.arange(len(scores), device=scores.device).roll(len(one))
    return F.cross_entropy(scores, partners)


@in_float32
def cross_nt_xent(
    one: Tensor, other: Tensor, far_one: Tensor, far_other: Tensor, *, temperature: float = TEMPERATURE
) -> Tensor:
    """As `nt_xent` between two sets of images: the negatives of each view are all views of the other set, only.

    Args:
        one: [B, D], any norm.
        other: [B, D], of the same images.
        far_one: [B', D], of other images.
        far_other: [B', D], of these.
        temperature: divides the similarities.

    Returns:
        The mean of both directions, scalar.

    Source:
        Osiris, arXiv 2404.19132, equation 3.
    """
    near, far = (
        [F.normalize(view, dim=1, eps=1e-12) for view in views] for views in ((one, other), (far_one, far_other))
    )
    scores = torch.cat(near) @ torch.cat(far).t() / temperature  # [2 B, 2 B']
    losses = []
    for views, negatives in ((near, scores), (far, scores.t())):
        positives = (views[0] * views[1]).sum(1, keepdim=True).repeat(2, 1) / temperature
        own = torch.zeros(len(positives), dtype=torch.int64, device=scores.device)
        losses.append(F.cross_entropy(torch.cat([positives, negatives], dim=1), own))
    return (losses[0] + losses[1]) / 2


@in_float32
def supervised_contrastive(features: Tensor, labels: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """How far rows of one label are from each other, among all rows, by cosine similarity.

    Args:
        features: [B, D], any norm; two views of an image are two rows.
        labels: [B] integers.
        temperature: divides the similarities.

    Returns:
        Mean over all rows, scalar; a row that is alone with its label counts as 0.

    Source:
        Supervised Contrastive Learning, arXiv 2004.11362, equation 2, with a mean instead of a sum.
    """
    chances = (_similarities(features) / temperature).log_softmax(1)
    same = labels[:, None] == labels[None]
    same = same & ~torch.eye(len(labels), dtype=torch.bool, device=same.device)
    own = chances.masked_fill(~same, 0.0).sum(1) / same.sum(1).clamp(min=1)
    return -own.mean()


@in_float32
def negative_cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """Minus the cosine of each prediction and its target [B, D], which gets no gradient: mean, scalar.

    Source:
        SimSiam, arXiv 2011.10566, equation 1.
    """
    return -F.cosine_similarity(predicted, target.detach(), dim=1, eps=1e-8).mean()


@in_float32
def temporal_classification(one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of both views' logits [B, C] with the labels [B] of the images: mean over both, scalar.

    The reference gives weights to classes, which by their construction change nothing.
    """
    return (F.cross_entropy(one, labels) + F.cross_entropy(other, labels)) / 2


@in_float32
def barlow_twins(one: Tensor, other: Tensor, *, redundancy: float = REDUNDANCY) -> Tensor:
    """How far the correlations of two views' numbers [B, D], over the batch, are from the identity matrix: scalar.

    Args:
        one: [B, D].
        other: [B, D], of the same images.
        redundancy: weight of the squares off the diagonal.

    Source:
        Barlow Twins, arXiv 2103.03230, equation 1; summed up, not averaged.
    """
    first, second = ((view - view.mean(0)) / (view.var(0, correction=0) + EPSILON).sqrt() for view in (one, other))
    correlations = first.t() @ second / len(one)
    diagonal = correlations.diagonal()
    others = correlations - torch.diag(diagonal)
    return (diagonal - 1).square().sum() + redundancy * others.square().sum()


def _similarities(rows: Tensor) -> Tensor:
    """Cosines of all rows [B, D] with each other, [B, B]; minus infinity on the diagonal."""
    unit = F.normalize(rows, dim=1, eps=1e-12)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    return (unit @ unit.t()).masked_fill(itself, float("-inf"))
