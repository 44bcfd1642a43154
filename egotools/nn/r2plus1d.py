"""R(2+1)D of AVID and RepLAI: residual networks of clips whose convolutions look at space and at time in turn.

Axes: N clips, C channels, T frames, H x W pixels. Not torchvision's `r2plus1d_18`: the stem is one 3D convolution with
a max pool behind it, the convolutions over time are as wide as those over space, and a block has one batch norm after
its sum. Weights of the one do not fit the other.

Source:
    Audio-Visual Instance Discrimination with Cross-Modal Agreement, arXiv 2004.12943 (`models/video.py`), whose names
    the parameters have; RepLAI, arXiv 2209.13583, has taken it over (`models/video/avid_video.py`).
"""

from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.nn.resnet_2d3d import ClipConv

Depth = Literal[10, 18, 34]
Pool = Literal["max", "average", "none"]
DEPTHS: tuple[Depth, ...] = get_args(Depth)
BLOCKS: dict[Depth, tuple[int, int, int, int]] = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
WIDTHS = (64, 128, 256, 512)  # of conv2x to conv5x
STAGES = ("conv2x", "conv3x", "conv4x", "conv5x")
WIDTH = WIDTHS[-1]


class R2Plus1D(nn.Module):
    """Normalized clips, float [N, 3, T, H, W], to features [N, 512]; without a pool, to [N, 512, T/8, H/32, W/32].

    Durations and sizes are rounded up where they are halved. At depth 10 a stage is its only block, so the names of
    its parameters have no number (`conv3x.spt_conv1.weight`, not `conv3x.0.spt_conv1.weight`).

    Args:
        depth: 10, 18 or 34.
        pool: over time and space: `max` as in pre-training, `average` as downstream on Ego4D, or none at all.
        temporal_strides: False keeps all frames: conv3x to conv5x then halve sizes only. The weights are the same.
    """

    def __init__(self, depth: Depth = 18, *, pool: Pool = "max", temporal_strides: bool = True) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"R(2+1)D has 10, 18 or 34 layers, not {depth}")
        if pool not in get_args(Pool):
            raise ValueError(f"the pool of R(2+1)D is max, average or none, not {pool!r}")
        self.depth, self.pool, self.width = depth, pool, WIDTH
        stem = SplitConv(3, WIDTHS[0], (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
        self.conv1 = nn.Sequential(
            stem, nn.BatchNorm3d(WIDTHS[0]), nn.ReLU(inplace=True), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        )
        self.conv2x, self.conv3x, self.conv4x, self.conv5x = (
            _stage(stage, count, 2 if temporal_strides else 1) for stage, count in enumerate(BLOCKS[depth])
        )

    def maps(self, clips: Tensor) -> Tensor:
        """The last maps, before the pool: [N, 512, T', H', W'], none below 0."""
        x = self.conv1(clips)
        return self.conv5x(self.conv4x(self.conv3x(self.conv2x(x))))  # type: ignore[no-any-return]

    def forward(self, clips: Tensor) -> Tensor:
        return pooled(self.maps(clips), self.pool)


class SplitConv(ClipConv):
    """A 3D convolution; one over space alone, or over time alone, runs as a 2D convolution, which is faster in float32.

    On one core of an AVX2 machine, forward and backward, 1.0 to 1.2 times over space and 1.0 to 2.4 times over time.
    Under autocast on a CPU it stays 3D: the gradients were checked there, with `ClipConv`'s padding of two frames.
    """

    def _conv_forward(self, clips: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        (time, *space), (kept, *padding) = self.stride, cast(tuple[int, int, int], self.padding)
        if not (clips.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            if (self.kernel_size[0], time, kept) == (1, 1, 0):
                frames = clips.transpose(1, 2).flatten(0, 1)
                found = F.conv2d(frames, weight.squeeze(2), bias, space, padding)
                return found.reshape(clips.shape[0], clips.shape[2], *found.shape[1:]).transpose(1, 2)
            if (self.kernel_size[1:], space, padding) == ((1, 1), [1, 1], [0, 0]):
                lines = clips.flatten(3)  # [N, C, T, H * W]
                found = F.conv2d(lines, weight.squeeze(4), bias, (time, 1), (kept, 0))
                return found.reshape(*found.shape[:3], *clips.shape[3:])
        return super()._conv_forward(clips, weight, bias)


class Block(nn.Module):
    """Space, time, space, time, and a shortcut without batch norm; one batch norm and a ReLU after the sum."""

    def __init__(self, channels: int, width: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        time, *space = stride
        self.spt_conv1, self.spt_bn1 = _over_space(channels, width, space[0]), nn.BatchNorm3d(width)
        self.tmp_conv1, self.tmp_bn1 = _over_time(width, time), nn.BatchNorm3d(width)
        self.spt_conv2, self.spt_bn2 = _over_space(width, width, 1), nn.BatchNorm3d(width)
        self.tmp_conv2, self.out_bn = _over_time(width, 1), nn.BatchNorm3d(width)
        is_same = channels == width and stride == (1, 1, 1)
        self.res_conv = None if is_same else SplitConv(channels, width, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.spt_bn1(self.spt_conv1(x)), inplace=True)
        y = F.relu(self.tmp_bn1(self.tmp_conv1(y)), inplace=True)
        y = F.relu(self.spt_bn2(self.spt_conv2(y)), inplace=True)
        y = self.tmp_conv2(y)
        y = y + (x if self.res_conv is None else self.res_conv(x))
        return F.relu(self.out_bn(y), inplace=True)


def pooled(maps: Tensor, pool: Pool) -> Tensor:
    """Maps [N, C, T, H, W] to [N, C] by their maximum or mean; `none` leaves them as they are."""
    if pool == "none":
        return maps
    whole = F.adaptive_max_pool3d(maps, 1) if pool == "max" else maps.mean((2, 3, 4))
    return whole.flatten(1)


def _stage(stage: int, count: int, time_stride: int) -> nn.Module:
    width = WIDTHS[stage]
    first = Block(width, width, (1, 1, 1)) if stage == 0 else Block(WIDTHS[stage - 1], width, (time_stride, 2, 2))
    others = [Block(width, width, (1, 1, 1)) for _ in range(count - 1)]
    return nn.Sequential(first, *others) if others else first


def _over_space(channels: int, width: int, stride: int) -> nn.Module:
    return SplitConv(channels, width, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False)


def _over_time(width: int, stride: int) -> nn.Module:
    return SplitConv(width, width, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False)
