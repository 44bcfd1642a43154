"""Temporal shift: a network of images that sees the frames before and after.

Axes: N clips, S frames of a clip, C channels, K classes, D features.

Source:
    TSM: Temporal Shift Module for Efficient Video Understanding, arXiv 1811.08383, `ops/temporal_shift.py` and
    `ops/models.py` of `temporal-shift-module`, whose names the parameters have.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SEGMENTS = 8  # frames of a clip
DIVISOR = 8  # one eighth of the channels comes from the next frame, one eighth from the one before
LAYERS = ("layer1", "layer2", "layer3", "layer4")
MANY = 23  # blocks of the third layer (ResNet-101) from which on every second block shifts


class TSM(nn.Module):
    """Frames [N * S, 3, H, W], clip after clip, to logits [N, K]: the mean over a clip's frames of those of each frame.

    Args:
        resnet: of bottleneck blocks, in torchvision's layout; it becomes part of this network and is changed.
        classes: K.
        segments: S.
        divisor: of the channels, what share each shift takes.
    """

    def __init__(self, resnet: nn.Module, classes: int, *, segments: int = SEGMENTS, divisor: int = DIVISOR) -> None:
        super().__init__()
        if not isinstance(resnet.fc, nn.Linear):
            raise ValueError("TSM takes a ResNet with its classifier")
        self.segments = segments
        self.new_fc = nn.Linear(resnet.fc.in_features, classes)
        insert_shifts(resnet, segments, divisor)
        resnet.fc = nn.Identity()
        self.base_model = resnet

    def features(self, frames: Tensor) -> Tensor:
        """Descriptors [N * S, D] of the frames, each with what it sees of its neighbors."""
        return self.base_model(frames)  # type: ignore[no-any-return]

    def forward(self, frames: Tensor) -> Tensor:
        logits = self.new_fc(self.features(frames))
        return logits.reshape(-1, self.segments, logits.shape[-1]).mean(1)  # type: ignore[no-any-return]


class ShiftedClips(nn.Module):
    """Clips [N, 3, S, H, W] to descriptors [N, D]: the mean over a clip's frames, as `TSM` has it of their logits.

    Args:
        resnet: in torchvision's layout, without its classifier, its shifts inserted for S frames.
        segments: S.
    """

    def __init__(self, resnet: nn.Module, segments: int) -> None:
        super().__init__()
        self.resnet, self.segments = resnet, segments

    def forward(self, clips: Tensor) -> Tensor:
        frames = self.resnet(clips.transpose(1, 2).flatten(0, 1))
        return frames.reshape(-1, self.segments, frames.shape[-1]).mean(1)  # type: ignore[no-any-return]


class Shifted(nn.Module):
    """A convolution whose input is shifted in time first."""

    def __init__(self, net: nn.Module, segments: int, divisor: int) -> None:
        super().__init__()
        self.net, self.segments, self.divisor = net, segments, divisor

    def forward(self, x: Tensor) -> Tensor:
        return self.net(shift(x, self.segments, self.divisor))  # type: ignore[no-any-return]


def shift(x: Tensor, segments: int, divisor: int) -> Tensor:
    """The first C // divisor channels from the next frame, as many more from the one before, the others as they are.

    Args:
        x: [N * S, C, ...], clip after clip. Beyond the ends of a clip are zeros.
        segments: S.
        divisor: see above.

    Returns:
        Of the shape of `x`.
    """
    if len(x) % segments:
        raise ValueError(f"{len(x)} frames are no clips of {segments}")
    fold = x.shape[1] // divisor
    clips = x.reshape(-1, segments, *x.shape[1:])
    shifted = torch.zeros_like(clips)
    shifted[:, :-1, :fold] = clips[:, 1:, :fold]
    shifted[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
    shifted[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
    return shifted.flatten(0, 1)


def insert_shifts(resnet: nn.Module, segments: int = SEGMENTS, divisor: int = DIVISOR) -> None:
    """Puts a shift before the first convolution of the bottleneck blocks: of all, or in large networks of every second.

    Only what a block computes is shifted, not what it adds that to. Keys of these convolutions get a `.net`.
    """
    layers: Sequence[nn.Sequential] = [getattr(resnet, name) for name in LAYERS]
    step = 2 if len(layers[2]) >= MANY else 1
    for layer in layers:
        for block in list(layer)[::step]:
            block.conv1 = Shifted(block.conv1, segments, divisor)  # type: ignore[arg-type]
