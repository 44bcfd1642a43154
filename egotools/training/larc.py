"""LARC: stochastic gradient descent whose steps are in proportion to the norm of each tensor.

Source:
    You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", arXiv 1708.03888; as `apex.parallel.LARC`
    of NVIDIA's apex without clipping.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LARC(torch.optim.SGD):
    """SGD with momentum that takes g' = (g + decay w) trust |w| / (|g| + decay |w| + eps) for the gradient g of w.

    Where w or g is zero, the gradient stays as it is, without decay.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum)  # the decay is within the scaled gradient
        self._decay, self._trust, self._eps = weight_decay, trust, eps

    def step(self, closure: Callable[[], float] | None = None) -> Any:  # Any: as torch's
        """One step; gradients are scaled in place."""
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._scale(weight, weight.grad)
        return super().step(closure)

    def _scale(self, weight: Tensor, gradient: Tensor) -> None:
        size, slope = torch.linalg.vector_norm(weight), torch.linalg.vector_norm(gradient)
        factor = self._trust * size / (slope + self._decay * size + self._eps)
        changes = (size != 0) & (slope != 0)
        if self._decay:
            gradient.add_(torch.where(changes, self._decay, 0.0) * weight)
        gradient.mul_(torch.where(changes, factor, 1.0))
