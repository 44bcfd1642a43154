"""2D3D ResNets: residual networks of short clips whose last two layers convolve over time, too.

Axes: K clips, C channels, L frames, H x W pixels; durations and sizes are rounded up where they are halved.

Source:
    Video Representation Learning by Dense Predictive Coding, arXiv 1909.04656, in the layout of MemDPC's checkpoints
    (`backbone/resnet_2d3d.py`), whose names the parameters have.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

Depth = Literal["resnet18", "resnet34", "resnet50"]
STEM = 64
PLANES = (64, 128, 256, 256)  # of the four layers; the last has no 512
FIRST_3D = 3  # the layers from this one on convolve over time


@dataclass(frozen=True)
class Plan:
    """What the depths differ in."""

    blocks: tuple[int, int, int, int]  # of the four layers
    is_bottleneck: bool
    planes: tuple[int, int, int, int] = PLANES

    @property
    def expansion(self) -> int:
        """How many times its planes a block returns."""
        return 4 if self.is_bottleneck else 1

    @property
    def width(self) -> int:
        """Channels of the last layer."""
        return self.expansion * self.planes[-1]


PLANS: dict[Depth, Plan] = {
    "resnet18": Plan((2, 2, 2, 2), is_bottleneck=False),
    "resnet34": Plan((3, 4, 6, 3), is_bottleneck=False),
    "resnet50": Plan((3, 4, 6, 3), is_bottleneck=True),
}


class ResNet2D3D(nn.Module):
    """Normalized clips [K, 3, L, H, W] to maps [K, width, L/4, H/32, W/32], which are signed: no ReLU ends them.

    Up to layer2 nothing looks across time, so these layers run over frames: 2D convolutions, channels last, whose
    weights are still [O, I, 1, k, k] in a state_dict.
    """

    def __init__(self, depth: Depth = "resnet18") -> None:
        super().__init__()
        plan = PLANS[depth]
        self.width = plan.width
        self.conv1, self.bn1 = FrameConv(3, STEM, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(STEM)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = (STEM, *(plan.expansion * planes for planes in PLANES[:-1]))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(*_layer(plan, number, channels)) for number, channels in enumerate(inputs, 1)
        )
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clips: Tensor) -> Tensor:
        count, _, length, _, _ = clips.shape
        frames = clips.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        x = self.maxpool(F.relu(self.bn1(self.conv1(frames)), inplace=True))
        x = self.layer2(self.layer1(x))
        x = x.unflatten(0, (count, length)).transpose(1, 2)
        return self.layer4(self.layer3(x))  # type: ignore[no-any-return]


class FrameConv(nn.Conv2d):
    """A 1 x k x k convolution of clips, run over their frames; in a state_dict its weight is [O, I, 1, k, k]."""

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = destination[f"{prefix}weight"].unsqueeze(2)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        weight = state_dict.get(f"{prefix}weight")
        if isinstance(weight, Tensor) and weight.dim() == 5 and weight.shape[2] == 1:
            state_dict[f"{prefix}weight"] = weight.squeeze(2)
        super()._load_from_state_dict(state_dict, prefix, *others)


class ClipConv(nn.Conv3d):
    """A convolution of clips; where bf16 on a CPU would get its weight's gradient wrong, with explicit padding in time.

    There, PyTorch's gradient of a padded convolution that is 3 long in time is garbage for clips of two frames.
    """

    def _conv_forward(self, clips: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if (
            torch.is_autocast_enabled("cpu")
            and torch.is_grad_enabled()
            and (clips.device.type, clips.shape[2], self.padding[0]) == ("cpu", 2, 1)
        ):
            padded = F.pad(clips, (0, 0, 0, 0, 1, 1))
            return F.conv3d(padded, weight, bias, self.stride, (0, *self.padding[1:]))
        return super()._conv_forward(clips, weight, bias)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Two convolutions and a shortcut, of frames [K, C, H, W] (2D) or clips [K, C, L, H, W] (3D)."""

    def __init__(self, channels: int, planes: int, *, stride: int, is_3d: bool, is_last: bool) -> None:
        super().__init__()
        self.is_last = is_last
        self.conv1, self.bn1 = _convolution(channels, planes, 3, stride, is_3d), _norm(planes, is_3d)
        self.conv2, self.bn2 = _convolution(planes, planes, 3, 1, is_3d), _norm(planes, is_3d)
        self.downsample = _shortcut(channels, planes, stride, is_3d)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return _added(y, x, self)


class Bottleneck(nn.Module):
    """Convolutions of size 1, 3 and 1, and a shortcut; the one of size 3 has the stride."""

    def __init__(self, channels: int, planes: int, *, stride: int, is_3d: bool, is_last: bool) -> None:
        super().__init__()
        self.is_last = is_last
        width = 4 * planes
        self.conv1, self.bn1 = _convolution(channels, planes, 1, 1, is_3d), _norm(planes, is_3d)
        self.conv2, self.bn2 = _convolution(planes, planes, 3, stride, is_3d), _norm(planes, is_3d)
        self.conv3, self.bn3 = _convolution(planes, width, 1, 1, is_3d), _norm(width, is_3d)
        self.downsample = _shortcut(channels, width, stride, is_3d)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return _added(y, x, self)


def _layer(plan: Plan, number: int, channels: int) -> Iterator[nn.Module]:
    kind = Bottleneck if plan.is_bottleneck else Block
    planes, count = PLANES[number - 1], plan.blocks[number - 1]
    for index in range(count):
        yield kind(
            channels if index == 0 else plan.expansion * planes,
            planes,
            stride=2 if number > 1 and index == 0 else 1,
            is_3d=number >= FIRST_3D,
            is_last=number == len(PLANES) and index == count - 1,
        )


def _convolution(channels: int, width: int, kernel: int, stride: int, is_3d: bool) -> nn.Module:
    kind = ClipConv if is_3d else FrameConv
    return kind(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False)


def _norm(channels: int, is_3d: bool) -> nn.Module:
    return nn.BatchNorm3d(channels) if is_3d else nn.BatchNorm2d(channels)


def _shortcut(channels: int, width: int, stride: int, is_3d: bool) -> nn.Module | None:
    if stride == 1 and channels == width:
        return None
    return nn.Sequential(_convolution(channels, width, 1, stride, is_3d), _norm(width, is_3d))


def _added(y: Tensor, x: Tensor, block: Block | Bottleneck) -> Tensor:
    y += x if block.downsample is None else block.downsample(x)
    return y if block.is_last else F.relu(y, inplace=True)
