"""Channel-separated networks of 152 layers, ip-CSN-152 and ir-CSN-152: video networks, here up to their 2048 features.

Source:
    Video Classification with Channel-Separated Convolutional Networks, arXiv 1904.02811, in the layout of the VMZ
    checkpoints (`pt/vmz/models/csn.py`), whose names the parameters have.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

Architecture = Literal["ip_csn_152", "ir_csn_152"]
STEM = 64
BLOCKS = (3, 8, 36, 3)  # of the four layers
PLANES = (64, 128, 256, 512)
EXPANSION = 4
DIMENSIONS = EXPANSION * PLANES[-1]
HEAD = "fc."  # prefix of the checkpoints' classifier, which is not built


class CSN(nn.Module):
    """Normalized clips [B, 3, T, H, W] to descriptors [B, 2048].

    Convolutions mix either channels (1x1x1) or space and time (3x3x3, each channel by itself). In ip-CSN a further
    1x1x1 convolution stands before each of the latter, in ir-CSN none.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        is_preserving = architecture == "ip_csn_152"
        stem = nn.Conv3d(3, STEM, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
        pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.stem = nn.Sequential(stem, _norm(STEM), nn.ReLU(inplace=True), pool)
        inputs = (STEM, *(EXPANSION * planes for planes in PLANES[:-1]))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(*_layer(channels, planes, count, halves=channels > STEM, is_preserving=is_preserving))
            for channels, planes, count in zip(inputs, PLANES, BLOCKS, strict=True)
        )

    def forward(self, clips: Tensor) -> Tensor:
        x = self.stem(clips)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((2, 3, 4))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """A residual block, [B, C, T, H, W] to [B, 4 * planes, T / stride, H / stride, W / stride]."""

    def __init__(self, channels: int, planes: int, *, stride: int, is_first: bool, is_preserving: bool) -> None:
        super().__init__()
        width = EXPANSION * planes
        self.conv1 = nn.Sequential(_pointwise(channels, planes), _norm(planes), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(_spatiotemporal(planes, stride, is_preserving), _norm(planes), nn.ReLU(inplace=True))
        self.conv3 = nn.Sequential(_pointwise(planes, width), _norm(width))
        self.downsample: nn.Module = nn.Identity()
        if is_first:
            self.downsample = nn.Sequential(_pointwise(channels, width, stride=stride), _norm(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv3(self.conv2(self.conv1(x))) + self.downsample(x), inplace=True)


def _layer(channels: int, planes: int, count: int, *, halves: bool, is_preserving: bool) -> Iterator[Bottleneck]:
    stride = 2 if halves else 1
    yield Bottleneck(channels, planes, stride=stride, is_first=True, is_preserving=is_preserving)
    for _ in range(count - 1):
        yield Bottleneck(EXPANSION * planes, planes, stride=1, is_first=False, is_preserving=is_preserving)


def _spatiotemporal(planes: int, stride: int, is_preserving: bool) -> nn.Module:
    depthwise = nn.Conv3d(planes, planes, 3, stride=stride, padding=1, groups=planes, bias=False)
    if is_preserving:
        return nn.Sequential(_pointwise(planes, planes), _norm(planes), depthwise)  # no activation in between
    return depthwise


def _pointwise(channels: int, width: int, *, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(channels, width, 1, stride=stride, bias=False)


def _norm(channels: int) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(channels, eps=1e-3, momentum=0.9)
