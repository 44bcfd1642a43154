"""Networks of Memory Storyboard: residual networks of images with group or batch norm, and the heads of its learners.

Axes: B images of H x W pixels, F features.

Source:
    Memory Storyboard, arXiv 2501.12254 (`resnet.py`, `osiris_model.py`), whose names the parameters have.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.nn.resnet_2d3d import Plan

Depth = Literal[18, 50]
Norm = Literal["group", "batch"]
Activation = Literal["mish", "relu"]

STEM = 64
PLANES = (64, 128, 256, 512)  # of the four layers
GROUPS = 32  # of a group norm at most, each of 4 channels at least
HIDDEN, EMBEDDING = 2048, 128  # widths of the heads with one hidden layer
BARLOW = 2048  # width of all layers of the projector of Barlow Twins
ACTIVATIONS: dict[Norm, Activation] = {"group": "mish", "batch": "relu"}  # the reference has no other pairs
PREFIXES: dict[Norm, str] = {"group": "gn", "batch": "bn"}  # of the norms' names
PLANS: dict[Depth, Plan] = {
    18: Plan((2, 2, 2, 2), is_bottleneck=False, planes=PLANES),
    50: Plan((3, 4, 6, 3), is_bottleneck=True, planes=PLANES),
}


class ResNet(nn.Module):
    """Normalized images [B, 3, H, W] to features [B, F], with the stride of a bottleneck in its 3 x 3 convolution.

    Args:
        depth: 18 (F = 512) or 50 (F = 2048).
        norm: group norm, of groups of at least 4 channels, or batch norm.
        activation: by default Mish with group norm, ReLU with batch norm.
    """

    def __init__(self, depth: Depth = 50, *, norm: Norm = "group", activation: Activation | None = None) -> None:
        super().__init__()
        plan = PLANS[depth]
        self.depth, self.norm, self.width = depth, norm, plan.width
        self.activation: Activation = activation or ACTIVATIONS[norm]
        self._norm, self.act = f"{PREFIXES[norm]}1", nn.Mish() if self.activation == "mish" else nn.ReLU()
        self.conv1 = nn.Conv2d(3, STEM, 7, stride=2, padding=3, bias=False)
        self.add_module(self._norm, _norm(norm, STEM))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = STEM
        for number, (count, planes) in enumerate(zip(plan.blocks, PLANES, strict=True), 1):
            blocks = []
            for place in range(count):
                stride = 2 if number > 1 and place == 0 else 1
                widths = (planes, planes, plan.expansion * planes) if plan.is_bottleneck else (planes, planes)
                blocks.append(Block(channels, widths, stride, norm, self.act))
                channels = widths[-1]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, images: Tensor) -> Tensor:
        """What is averaged over positions: maps [B, F, H/32, W/32], sizes rounded up."""
        x: Tensor = images.contiguous(memory_format=torch.channels_last)
        x = self.maxpool(self.act(self.get_submodule(self._norm)(self.conv1(x))))
        for number in range(1, len(PLANES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean((2, 3))


class Block(nn.Module):
    """A residual block [B, C, H, W]: two 3 x 3 convolutions, or a bottleneck of 1 x 1, 3 x 3 and 1 x 1.

    Args:
        channels: of the input.
        widths: of the convolutions' outputs; three of them make a bottleneck.
        stride: of the first 3 x 3 convolution.
        norm: after each convolution.
        act: the activation after each but the last, and after the sum with the shortcut.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], stride: int, norm: Norm, act: nn.Module) -> None:
        super().__init__()
        sizes = (1, 3, 1) if len(widths) == 3 else (3, 3)
        self._prefix, self._count, self.act = PREFIXES[norm], len(widths), act
        before = channels
        for number, (width, size) in enumerate(zip(widths, sizes, strict=True), 1):
            own = stride if number == sizes.index(3) + 1 else 1
            convolution = nn.Conv2d(before, width, size, stride=own, padding=size // 2, bias=False)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"{self._prefix}{number}", _norm(norm, width))
            before = width
        if len(widths) == 2:  # as the reference has it, of basic blocks only
            nn.init.zeros_(self.get_submodule(f"{self._prefix}2").weight)  # type: ignore[arg-type]
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != before:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, before, 1, stride=stride, bias=False), _norm(norm, before)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number in range(1, self._count + 1):
            y = self.get_submodule(f"conv{number}")(y)
            y = self.get_submodule(f"{self._prefix}{number}")(y)
            if number < self._count:
                y = self.act(y)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.act(y + shortcut)  # type: ignore[no-any-return]


class GroupNorm(nn.GroupNorm):
    """A group norm that stays in the precision of its input: autocast would make float32 of it, and then Mish, too."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):  # statistics are added up in float32 all the same
            return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def _norm(norm: Norm, channels: int) -> nn.Module:
    if norm == "group":
        return GroupNorm(min(GROUPS, channels // 4), channels)
    return nn.BatchNorm2d(channels)


def contrastive_head(width: int, outputs: int = EMBEDDING) -> nn.Sequential:
    """Features [B, F] to [B, outputs] by one hidden layer: projectors and, with as many outputs, the classifier."""
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))


def simsiam_projector(width: int) -> nn.Sequential:
    """Features [B, F] to [B, F]: three layers, each with a batch norm, the last affine, too."""
    return nn.Sequential(*_normed(width, width), nn.ReLU(), *_normed(width, width), nn.ReLU(), *_normed(width, width))


def simsiam_predictor(width: int) -> nn.Sequential:
    """Projections [B, F] to predictions [B, F], through a quarter of the width."""
    return nn.Sequential(*_normed(width, width // 4), nn.ReLU(), nn.Linear(width // 4, width))


def barlow_projector(width: int) -> nn.Sequential:
    """Features [B, F] to [B, 2048]; of the paper's three layers at a quarter of its width."""
    last = nn.Linear(BARLOW, BARLOW, bias=False)
    return nn.Sequential(*_normed(width, BARLOW), nn.ReLU(), *_normed(BARLOW, BARLOW), nn.ReLU(), last)


def _normed(width: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Linear(width, outputs, bias=False), nn.BatchNorm1d(outputs)
