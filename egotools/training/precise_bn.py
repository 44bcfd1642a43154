"""Statistics of batch norm from many batches, in place of a moving average over the last ones."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from egotools.training.world import ALONE, World


def recompute_statistics(network: nn.Module, batches: Iterable[Tensor], world: World = ALONE) -> None:
    """Gives batch norm the mean over batches of their means and variances, over all processes', too.

    Args:
        network: takes a batch, changed in place; its parameters are not, nor is whether it is training.
        batches: on its device.
        world: the processes that have a share of the batches each, all of which call this.

    Source:
        Wu and Johnson, Rethinking "Batch" in BatchNorm, arXiv 2105.07576: "precise batch norm".
    """
    update_bn(batches, network)
    if world.size == 1:
        return
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                for value in (module.running_mean, module.running_var):
                    assert value is not None
                    value.copy_(world.mean(value))
