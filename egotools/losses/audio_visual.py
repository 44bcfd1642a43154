"""Losses of a moment of interaction: what is seen before and after it, and its sound. Axes: B moments, D numbers each.

Source:
    RepLAI, arXiv 2209.13583 (`criterions/ssrl_audiopeak_aotv2.py`).
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everywhere

from egotools.nn.mixed_precision import in_float32

TEMPERATURE = 0.07  # of correspondence
SHARPNESS = 0.2  # the temperature of a state change, which the reference has in its code
FLOOR = 1e-12  # of a norm, where rows are normalized for the loss below


@in_float32
def correspondence_loss(
    before: Tensor,
    after: Tensor,
    sound: Tensor,
    all_before: Tensor,
    all_after: Tensor,
    all_sound: Tensor,
    first: int = 0,
    *,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """Cross-entropy of telling a moment's sound from the others' by what is seen, and what is seen by the sound.

    What is seen before is never a negative of what is seen after. Gradients flow into whatever has them: with targets
    that are detached, each side learns only as the one that asks, as it does in the reference on several GPUs.

    Args:
        before: [B, D], of norm 1, as the others are.
        after: [B, D].
        sound: [B, D].
        all_before: [B', D], the targets: those of moment i are row `first` + i, the other rows are its negatives.
        all_after: [B', D].
        all_sound: [B', D].
        first: above 0 if the targets of other processes come before ours.
        temperature: divides the products.

    Returns:
        The mean of both directions, each a mean over 2 B, scalar.
    """
    if len(all_sound) < first + len(sound):
        raise ValueError(f"{len(sound)} moments from number {first} on are not among {len(all_sound)} targets")
    own = torch.arange(first, first + len(sound), device=sound.device)
    asked = [(before, all_sound), (after, all_sound), (sound, all_before), (sound, all_after)]
    return torch.stack([F.cross_entropy(rows @ each.t() / temperature, own) for rows, each in asked]).mean()


@in_float32
def state_change_loss(forward: Tensor, backward: Tensor, sound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of saying that the change fits the sound, and that the reversed change does not ("AStC").

    Args:
        forward: [B, D], of the change from before to after, any norm.
        backward: [B, D], of the change from after to before.
        sound: [B, D].

    Returns:
        The mean over both, scalar; and both logits [B], cosines by a fixed temperature of 0.2.
    """
    right, wrong = (F.cosine_similarity(change, sound, dim=1) / SHARPNESS for change in (forward, backward))
    return (F.softplus(-right) + F.softplus(wrong)).mean() / 2, right, wrong
