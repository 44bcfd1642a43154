"""The losses of a change of state and of when it is. Axes: B clips, P positions of a clip."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everywhere


def state_change_losses(
    states: Tensor, keyframes: Tensor, is_changed: Tensor, keyframe: Tensor
) -> tuple[Tensor, Tensor]:
    """Of the state, and of the key frame; both are scalars.

    The second is a mean over all clips: those without a change add 0, and count.

    Args:
        states: logits [B, 2]: no change, change.
        keyframes: logits [B, P].
        is_changed: int64 [B], 0 or 1.
        keyframe: int64 [B], the position of the change; unused where there is none.

    Source:
        Ego4D, hands and objects, `keyframe_detection.py`.
    """
    each = F.cross_entropy(keyframes, torch.where(is_changed == 1, keyframe, 0), reduction="none")
    return F.cross_entropy(states, is_changed), (is_changed * each).mean()
