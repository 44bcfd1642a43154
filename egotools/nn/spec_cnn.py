"""Convolutional networks of nine layers over spectrograms, as RepLAI's backbones for sound.

Axes: N spectrograms, one channel, T spectra, F bands.

Source:
    AVID, arXiv 2004.12943, and RepLAI, arXiv 2209.13583 (`models/audio/avid_audio.py`, `models/audio/spec_cnn.py`),
    whose names the parameters have.
"""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

WIDTH = 512


class AvidSpecCnn9(nn.Module):
    """Spectrograms, float [N, 1, T, F], to maps [N, 512, T/16, F/16], not pooled; sizes are rounded up.

    AVID's own returned the maximum over each map; RepLAI's objective takes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.width = WIDTH
        self.conv1 = nn.Sequential(_stem(64), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
        self.block1 = Block(64, 64, stride=2)
        self.block2 = Block(64, 128, stride=2)
        self.block3 = Block(128, 256, stride=2)
        self.block4 = Block(256, WIDTH, stride=1)

    def forward(self, spectrograms: Tensor) -> Tensor:
        x = self.conv1(spectrograms)
        return self.block4(self.block3(self.block2(self.block1(x))))  # type: ignore[no-any-return]


class SpecCnn(nn.Sequential):
    """Spectrograms, float [N, 1, T, F], to features [N, 8 d, 1, 1], the maxima of the last maps.

    Args:
        d: channels of the first layer.
    """

    def __init__(self, d: int = 64) -> None:
        blocks = (Block(d, d, stride=1), Block(d, 2 * d, stride=2), Block(2 * d, 4 * d, stride=2))
        super().__init__(
            _stem(d), nn.BatchNorm2d(d), nn.ReLU(inplace=True),
            *blocks, Block(4 * d, 8 * d, stride=1), nn.AdaptiveMaxPool2d(1),
        )  # fmt: skip
        self.width = 8 * d
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class Block(nn.Module):
    """Two convolutions without a shortcut; the first has the stride."""

    def __init__(self, channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)), inplace=True)


def _stem(width: int) -> nn.Module:
    return nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False)
