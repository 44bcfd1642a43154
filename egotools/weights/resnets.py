"""Which residual network tensors are of, by their names."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from egotools.errors import WeightsError
from egotools.nn.resnet_2d3d import Plan

Depth = TypeVar("Depth", bound=str | int)
TOLD_APART = (1, 3)  # layers whose numbers of blocks are enough


def depth_of(tensors: Mapping[str, Tensor], plans: Mapping[Depth, Plan], source: str, prefix: str = "") -> Depth:
    """The depth, from the kind of block and how many there are in layer1 and layer3.

    Args:
        tensors: by the names that torchvision's ResNets have.
        plans: the depths that are built.
        source: what an error calls the file.
        prefix: of the names.

    Raises:
        WeightsError: it is none of these.
    """
    counts = [_blocks(tensors, f"{prefix}layer{layer}.") for layer in TOLD_APART]
    is_bottleneck = f"{prefix}layer1.0.conv3.weight" in tensors
    for depth, plan in plans.items():
        if plan.is_bottleneck == is_bottleneck and _counts(plan.blocks) == counts:
            return depth
    kind = "bottleneck" if is_bottleneck else "basic"
    raise WeightsError(
        f"{source}: its backbone has {counts[0]} and {counts[1]} {kind} blocks in layer1 and layer3, which is none of"
        f" {', '.join(map(str, plans))}"
    )


def _counts(blocks: Sequence[int]) -> list[int]:
    return [blocks[layer - 1] for layer in TOLD_APART]


def _blocks(tensors: Mapping[str, Tensor], prefix: str) -> int:
    pattern = re.compile(rf"{re.escape(prefix)}(\d+)\.")
    return len({match[1] for name in tensors if (match := pattern.match(name))})
