"""Whether gradients are right in a lower precision where they are to be computed."""

from collections.abc import Callable
from typing import Any

from torch import nn

from egotools.errors import TrainingError
from egotools.nn.mixed_precision import LIMIT, weight_gradient_errors
from egotools.training.how import How


def check_precision(model: nn.Module, batch: Callable[[], Any], how: How) -> None:
    """Refuses bf16 where a convolution's gradient of a batch (Any) is wrong with it.

    Raises:
        TrainingError: says which.
    """
    if how.precision != "bf16":
        return
    errors = weight_gradient_errors(model.train(), batch())
    worst = max(errors, key=lambda name: errors[name], default="")
    if worst and not errors[worst] <= LIMIT:
        raise TrainingError(
            f"--precision bf16: the gradient of {worst} is off by {errors[worst]:.1%} of its largest entry, more than"
            f" {LIMIT:.0%}; this version of PyTorch computes it wrongly: use float32"
        )
