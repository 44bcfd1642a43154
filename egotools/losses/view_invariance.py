"""Losses of view-invariance pre-training. Axes: B items, T slots of time, D features.

Source:
    Two-stream View-Invariance SSL on Assembly101, `src/ssl_pretraining.py`.
"""

from torch import Tensor


def invariance_weight(epoch: int) -> float:
    """What the views' distance weighs beside the reconstruction, by zero-based epoch: 1 at first, 0.61 at 100."""
    return float((100 + epoch) / (100 + epoch**1.18))


def slot_mse(one: Tensor, other: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of the squared differences, scalar.

    Args:
        one: [B, T, D] float.
        other: of the same shape.
        mask: [B, T] bool, False where an item is padded. Without it padded slots count as others do, as published.
    """
    squares = (one - other).square()
    if mask is None:
        return squares.mean()
    return (squares.mean(-1) * mask).sum() / mask.sum().clamp(min=1)
