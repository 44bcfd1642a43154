"""C2F-TCN: classes of the slots of a sequence, from coarse to fine. Axes: B items, F features, C classes, T slots.

Source:
    Coarse to Fine Multi-Resolution Temporal Convolutional Network, arXiv 2105.10859, in the layout of
    `assembly101-temporal-action-segmentation/model.py`, whose names the parameters have.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

LEAST = 384  # slots: six halvings leave 6, of which the coarsest pool makes one
POOLS = (2, 3, 5, 6)  # slots of the coarsest level that each become one


class Outputs(NamedTuple):
    """What the network says at six resolutions."""

    logits: Tensor  # [B, C, T]
    auxiliary: list[Tensor]  # five of [B, C, t], t from T // 2 to T // 32
    features: Tensor  # [B, width // 2, T], of which the logits are made


class C2FTCN(nn.Module):
    """Features [B, F, T] to logits of classes at six resolutions; of T < 384 it raises a ValueError.

    `width` is the number of channels of the finest levels, 256 as published; the coarse ones and the decoder have half.
    """

    def __init__(self, features: int, classes: int, *, width: int = 256) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"the width of C2F-TCN is even, not {width}")
        half = width // 2
        self.weights = nn.Parameter(torch.ones(6), requires_grad=False)  # of the checkpoints; nothing uses it
        self.inc = Block(features, width)
        self.down1, self.down2, self.down3 = Down(width, width), Down(width, width), Down(width, half)
        self.down4, self.down5, self.down6 = Down(half, half), Down(half, half), Down(half, half)
        self.tpp = PyramidPooling(half)
        self.up = Up(2 * half + len(POOLS), half)
        self.up0, self.up1 = Up(2 * half, half), Up(2 * half, half)
        self.up2, self.up3, self.up4 = Up(width + half, half), Up(width + half, half), Up(width + half, half)
        self.outcc0, self.outcc1, self.outcc2 = Out(half, classes), Out(half, classes), Out(half, classes)
        self.outcc3, self.outcc4, self.outcc = Out(half, classes), Out(half, classes), Out(half, classes)

    def forward(self, x: Tensor) -> Outputs:
        if x.shape[-1] < LEAST:
            raise ValueError(f"C2F-TCN needs {LEAST} slots or more, not {x.shape[-1]}: pad them with zeros")
        levels = [self.inc(x)]
        for down in (self.down1, self.down2, self.down3, self.down4, self.down5, self.down6):
            levels.append(down(levels[-1]))
        y = self.tpp(levels.pop())
        auxiliary: list[Tensor] = []
        decoder = (self.up, self.up0, self.up1, self.up2, self.up3)
        outputs = (self.outcc0, self.outcc1, self.outcc2, self.outcc3, self.outcc4)
        for up, output in zip(decoder, outputs, strict=True):
            y = up(y, levels.pop())
            auxiliary.insert(0, output(y))
        y = self.up4(y, levels.pop())
        return Outputs(self.outcc(y), auxiliary, y)


def ensemble(outputs: Outputs) -> Tensor:
    """Probabilities [B, C, T]: the mean over the resolutions of the softmax of their logits, brought to T slots."""
    slots = outputs.logits.shape[-1]
    total = outputs.logits.softmax(1)
    for logits in outputs.auxiliary:
        total = total + F.interpolate(logits, size=slots, mode="linear", align_corners=True).softmax(1)
    return total / (1 + len(outputs.auxiliary))


class DoubleConvolution(nn.Module):
    """Twice a convolution over five slots, batch norm and ReLU: [B, channels, T] to [B, width, T]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*_unit(channels, width), *_unit(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


class Block(nn.Module):
    """The finest level of the encoder."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = DoubleConvolution(channels, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


class Down(nn.Module):
    """The next coarser level of the encoder: [B, channels, T] to [B, width, T // 2]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.max_pool_conv = nn.Sequential(nn.MaxPool1d(2), DoubleConvolution(channels, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.max_pool_conv(x)  # type: ignore[no-any-return]


class Up(nn.Module):
    """The next finer level of the decoder; `channels` are those of what it gets from below and from the encoder."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = DoubleConvolution(channels, width)

    def forward(self, below: Tensor, level: Tensor) -> Tensor:
        below = F.interpolate(below, scale_factor=2, mode="linear", align_corners=True)
        missing = level.shape[-1] - below.shape[-1]  # one where halving dropped a slot
        below = F.pad(below, (missing // 2, missing - missing // 2))
        return self.conv(torch.cat([level, below], dim=1))  # type: ignore[no-any-return]


class PyramidPooling(nn.Module):
    """Four more channels in front, each what one shared projection sees of coarser slots."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [self.conv(F.max_pool1d(x, size)) for size in POOLS]
        coarse = [F.interpolate(each, size=x.shape[-1], mode="linear", align_corners=True) for each in pooled]
        return torch.cat([*coarse, x], dim=1)


class Out(nn.Module):
    """Logits of one resolution."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


def _unit(channels: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv1d(channels, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU(inplace=True)
