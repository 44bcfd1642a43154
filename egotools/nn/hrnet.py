"""HRNetV2-W48: an image network that keeps high resolution, here up to its 720 features.

Source:
    Deep High-Resolution Representation Learning for Visual Recognition, arXiv 1908.07919, in the layout of the ADE20K
    encoder `ade20k-hrnetv2-c1/encoder_epoch_30.pth`, whose names the parameters have.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

WIDTHS = (48, 96, 192, 384)  # channels of the branches, each at half the resolution of the one before
MODULES = {2: 1, 3: 4, 4: 3}  # stage: how many modules; stage s has s branches
STEM = 64
DIMENSIONS = sum(WIDTHS)


class HRNet(nn.Module):
    """Normalized images [B, 3, H, W] to descriptors [B, 720]: the mean of each channel of `encode`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(3, STEM, 3, stride=2), nn.BatchNorm2d(STEM)
        self.conv2, self.bn2 = _convolution(STEM, STEM, 3, stride=2), nn.BatchNorm2d(STEM)
        self.layer1 = nn.Sequential(Bottleneck(STEM, STEM), *(Bottleneck(4 * STEM, STEM) for _ in range(3)))
        full, half = WIDTHS[:2]
        self.transition1 = nn.ModuleList([_unit(4 * STEM, full, 3), nn.Sequential(_unit(4 * STEM, half, 3, stride=2))])
        self.stage2 = _stage(2)
        self.transition2 = _one_more_branch(2)
        self.stage3 = _stage(3)
        self.transition3 = _one_more_branch(3)
        self.stage4 = _stage(4)

    def branches(self, images: Tensor) -> list[Tensor]:
        """The maps of the last stage, [B, 48, H/4, W/4] to [B, 384, H/32, W/32]."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = self.layer1(F.relu(self.bn2(self.conv2(x)), inplace=True))
        maps = self.stage2(_grown([x], self.transition1))
        maps = self.stage3(_grown(maps, self.transition2))
        maps = self.stage4(_grown(maps, self.transition3))
        return maps  # type: ignore[no-any-return]

    def encode(self, images: Tensor) -> Tensor:
        """The encoder's map [B, 720, H/4, W/4]: all branches at the size of the first."""
        first, *others = self.branches(images)
        return torch.cat([first, *(_enlarged(other, first) for other in others)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        # Enlarging by a whole factor keeps the mean, so it is left out. (H and W that are no multiples of 32 have
        # branches of other ratios: there this is the mean of the branches, not exactly that of the enlarged map.)
        return torch.cat([branch.mean((2, 3)) for branch in self.branches(images)], dim=1)


class Bottleneck(nn.Module):
    """A residual block of 1x1, 3x3 and 1x1 convolutions, [B, C, H, W] to [B, 4 * width, H, W]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(channels, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _convolution(width, width, 3), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _convolution(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if channels != 4 * width:
            self.downsample = nn.Sequential(_convolution(channels, 4 * width, 1), nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x), inplace=True)


class BasicBlock(nn.Module):
    """A residual block of two 3x3 convolutions, [B, C, H, W] to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(channels, channels, 3), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = _convolution(channels, channels, 3), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + x, inplace=True)


class Exchange(nn.Module):
    """Four blocks on each branch; then each branch becomes the sum of what all branches give at its resolution."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        count = len(widths)
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(width) for _ in range(4))) for width in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_bridge(widths, source, target) for source in range(count)) for target in range(count)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [F.relu(self._sum(maps, target), inplace=True) for target in range(len(maps))]

    def _sum(self, maps: list[Tensor], target: int) -> Tensor:
        bridges = self.fuse_layers[target]
        total = bridges[0](maps[0])  # type: ignore[index]
        for source in range(1, len(maps)):
            given = bridges[source](maps[source])  # type: ignore[index]
            total = total + (_enlarged(given, maps[target]) if source > target else given)
        return total  # type: ignore[no-any-return]


def _bridge(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """From one branch's map to another branch's channels and, if that is smaller, to its size."""
    before, after = widths[source], widths[target]
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(_convolution(before, after, 1), nn.BatchNorm2d(after))
    halvings = [_unit(before, before, 3, stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, nn.Sequential(_convolution(before, after, 3, stride=2), nn.BatchNorm2d(after)))


def _stage(branches: int) -> nn.Sequential:
    return nn.Sequential(*(Exchange(WIDTHS[:branches]) for _ in range(MODULES[branches])))


def _one_more_branch(count: int) -> nn.ModuleList:
    """The branches that there are, as they are, and one at half the size of the last."""
    new = nn.Sequential(_unit(WIDTHS[count - 1], WIDTHS[count], 3, stride=2))
    return nn.ModuleList([*(nn.Identity() for _ in range(count)), new])


def _grown(maps: list[Tensor], transition: nn.ModuleList) -> list[Tensor]:
    """One map for each module of the transition; a new branch comes from the last one that there is."""
    return [module(maps[min(index, len(maps) - 1)]) for index, module in enumerate(transition)]


def _enlarged(x: Tensor, to: Tensor) -> Tensor:
    return F.interpolate(x, size=to.shape[2:], mode="bilinear", align_corners=False)


def _unit(channels: int, width: int, size: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        _convolution(channels, width, size, stride=stride), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


def _convolution(channels: int, width: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, width, size, stride=stride, padding=size // 2, bias=False)
