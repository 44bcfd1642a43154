"""The loss of predicted sequences. Axes: B batch, Z steps, C classes."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everywhere


def summed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over steps of each step's mean cross-entropy over the batch, scalar.

    Args:
        logits: [B, Z, C].
        labels: int64 [B, Z].

    Source:
        Ego4D, forecasting, `long_term_anticipation.py`.
    """
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten()) * labels.shape[1]
