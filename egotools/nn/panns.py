"""PANNs: networks for sound, trained to tell the classes of AudioSet; here up to their last features.

As RepLAI has them: without the spectrogram in front and the batch norm of its bands (`bn0` of the original CNNs), and
without the classifier `fc_audioset`. Axes: N sounds, one channel, T spectra, F bands; or L samples.

Source:
    PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition, arXiv 1912.10211, whose names
    the parameters have; RepLAI, arXiv 2209.13583 (`models/audio/audio_models_benchmarking.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

Seen = Literal["log-mel", "wave"]
CNN_WIDTHS = (64, 128, 256, 512, 1024, 2048)
MOBILE_V1 = (
    (32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), *((512, 512, 1),) * 5,
    (512, 1024, 2), (1024, 1024, 1),
)  # fmt: skip
MOBILE_V2 = (  # expansion, channels, blocks, stride of the first
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 2), (6, 160, 3, 1), (6, 320, 1, 1),
)  # fmt: skip
WAVE_WIDTHS = (64, 128, 256, 512, 1024, 1024, 2048)


class SpectrogramCnn(nn.Module):
    """Cnn6, Cnn10 and Cnn14: log-mel spectrograms, float [N, 1, T, F], to [N, width].

    Args:
        layers: 6 (one 5 x 5 convolution a block), 10 or 14.
    """

    def __init__(self, layers: Literal[6, 10, 14]) -> None:
        super().__init__()
        self.blocks = 6 if layers == 14 else 4
        widths = CNN_WIDTHS[: self.blocks]
        self.width = widths[-1]
        kind: Callable[[int, int], nn.Module] = ConvBlock5x5 if layers == 6 else ConvBlock
        for number, (channels, width) in enumerate(zip((1, *widths), widths, strict=False), 1):
            self.add_module(f"conv_block{number}", kind(channels, width))
        self.fc1 = nn.Linear(self.width, self.width)

    def forward(self, spectrograms: Tensor) -> Tensor:
        return self.described(spectrograms, first=1)

    def described(self, x: Tensor, *, first: int) -> Tensor:
        """The features of the maps that enter block `first`."""
        for number in range(first, self.blocks + 1):
            pool = (1, 1) if number == len(CNN_WIDTHS) else (2, 2)
            x = self.get_submodule(f"conv_block{number}")(x, pool)
            x = F.dropout(x, 0.2, self.training)
        x = F.dropout(over_time(x.mean(3)), 0.5, self.training)
        return F.relu(self.fc1(x))


class WavegramCnn(SpectrogramCnn):
    """Wavegram_Cnn14: samples, float [N, L], to [N, 2048]; a learned filter bank takes the spectrogram's place.

    As in the original, `conv_block1` and `bn0` are there and unused.
    """

    def __init__(self) -> None:
        super().__init__(14)
        self.pre_conv0 = nn.Conv1d(1, 64, 11, stride=5, padding=5, bias=False)
        self.pre_bn0 = nn.BatchNorm1d(64)
        self.pre_block1 = WaveBlock(64, 64)
        self.pre_block2 = WaveBlock(64, 128)
        self.pre_block3 = WaveBlock(128, 128)
        self.pre_block4 = ConvBlock(4, 64)
        self.bn0 = nn.BatchNorm2d(64)

    def forward(self, samples: Tensor) -> Tensor:
        x = F.relu(self.pre_bn0(self.pre_conv0(samples.unsqueeze(1))), inplace=True)
        x = self.pre_block3(self.pre_block2(self.pre_block1(x)))
        x = x.unflatten(1, (-1, 32)).transpose(2, 3)  # [N, 4, time, 32]
        return self.described(self.pre_block4(x, (2, 1)), first=2)


class MobileNetV1(nn.Module):
    """Log-mel spectrograms, float [N, 1, T, F], to [N, 1024]; average pools take the place of strides."""

    width = 1024

    def __init__(self) -> None:
        super().__init__()
        separable = (
            nn.Sequential(*_depthwise(channels, stride, nn.ReLU), *_pointwise(channels, width), nn.ReLU(inplace=True))
            for channels, width, stride in MOBILE_V1
        )
        self.features = nn.Sequential(nn.Sequential(*_mobile_stem(nn.ReLU)), *separable)
        self.fc1 = nn.Linear(1024, self.width)

    def forward(self, spectrograms: Tensor) -> Tensor:
        x = over_time(self.features(spectrograms).mean(3))
        return F.relu(self.fc1(F.dropout(x, 0.5, self.training)))


class MobileNetV2(nn.Module):
    """Log-mel spectrograms, float [N, 1, T, F], to [N, 1024]."""

    width = 1024

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Sequential(*_mobile_stem(nn.ReLU6))]
        channels = 32
        for expansion, width, count, stride in MOBILE_V2:
            for number in range(count):
                parts.append(InvertedResidual(channels, width, stride if number == 0 else 1, expansion))
                channels = width
        parts.append(nn.Sequential(*_pointwise(channels, 1280), nn.ReLU6(inplace=True)))
        self.features = nn.Sequential(*parts)
        self.fc1 = nn.Linear(1280, self.width)

    def forward(self, spectrograms: Tensor) -> Tensor:
        return F.relu(self.fc1(over_time(self.features(spectrograms).mean(3))))


class WaveResNet(nn.Module):
    """Res1dNet31 and Res1dNet51: samples, float [N, L], to [N, 2048].

    Args:
        layers: 31 or 51.
    """

    width = WAVE_WIDTHS[-1]

    def __init__(self, layers: Literal[31, 51]) -> None:
        super().__init__()
        counts = (2,) * 7 if layers == 31 else (2, 3, 4, 6, 4, 3, 2)
        self.conv0 = nn.Conv1d(1, 64, 11, stride=5, padding=5, bias=False)
        self.bn0 = nn.BatchNorm1d(64)
        self.resnet = nn.Sequential()
        for number, (channels, width, count) in enumerate(
            zip((64, *WAVE_WIDTHS), WAVE_WIDTHS, counts, strict=False), 1
        ):
            first = WaveResidual(channels, width, 1 if number == 1 else 4)
            others = (WaveResidual(width, width, 1) for _ in range(count - 1))
            self.resnet.add_module(f"layer{number}", nn.Sequential(first, *others))
        self.fc1 = nn.Linear(self.width, self.width)

    def forward(self, samples: Tensor) -> Tensor:
        x = self.resnet(self.bn0(self.conv0(samples.unsqueeze(1))))  # no ReLU between, as published
        return F.relu(self.fc1(F.dropout(over_time(x), 0.5, self.training)))


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions, and an average pool."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor, pool: tuple[int, int]) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return F.avg_pool2d(x, pool)


class ConvBlock5x5(nn.Module):
    """A 5 x 5 convolution, and an average pool."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor, pool: tuple[int, int]) -> Tensor:
        return F.avg_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), pool)


class WaveBlock(nn.Module):
    """Two convolutions of samples, the second dilated, and a max pool by 4."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv1d(width, width, 3, padding=2, dilation=2, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm1d(width), nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.max_pool1d(F.relu(self.bn2(self.conv2(x)), inplace=True), 4)


class WaveResidual(nn.Module):
    """Two convolutions of samples and a shortcut; a max pool in front takes the place of a stride."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1, self.bn1 = nn.Conv1d(channels, width, 3, padding=1, bias=False), nn.BatchNorm1d(width)
        self.conv2 = nn.Conv1d(width, width, 3, padding=2, dilation=2, bias=False)
        self.bn2 = nn.BatchNorm1d(width)
        self.downsample = None
        if stride != 1 or channels != width:
            self.downsample = nn.Sequential(
                nn.AvgPool1d(stride), nn.Conv1d(channels, width, 1, bias=False), nn.BatchNorm1d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.stride == 1 else F.max_pool1d(x, self.stride)
        y = F.relu(self.bn1(self.conv1(y)), inplace=True)
        y = self.bn2(self.conv2(F.dropout(y, 0.1, self.training)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: wider, over space, narrower; a shortcut where nothing changes in size."""

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        wider = () if expansion == 1 else (*_pointwise(channels, inner), nn.ReLU6(inplace=True))
        self.conv = nn.Sequential(*wider, *_depthwise(inner, stride, nn.ReLU6), *_pointwise(inner, width))
        self.has_shortcut = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y


def over_time(x: Tensor) -> Tensor:
    """[N, C, T] to [N, C]: the maximum plus the mean."""
    return x.amax(2) + x.mean(2)


def _mobile_stem(activation: type[nn.Module]) -> tuple[nn.Module, ...]:
    return (nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.AvgPool2d(2), nn.BatchNorm2d(32), activation(inplace=True))


def _depthwise(channels: int, stride: int, activation: type[nn.Module]) -> tuple[nn.Module, ...]:
    over_space = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return (over_space, nn.AvgPool2d(stride), nn.BatchNorm2d(channels), activation(inplace=True))


def _pointwise(channels: int, width: int) -> tuple[nn.Module, nn.Module]:
    return (nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))


@dataclass(frozen=True)
class Architecture:
    """One of the networks: what it sees, and how it is made."""

    name: str  # as published
    seen: Seen
    width: int
    build: Callable[[], nn.Module]


ARCHITECTURES = {
    each.name.lower(): each
    for each in (
        Architecture("Cnn6", "log-mel", 512, lambda: SpectrogramCnn(6)),
        Architecture("Cnn10", "log-mel", 512, lambda: SpectrogramCnn(10)),
        Architecture("Cnn14", "log-mel", 2048, lambda: SpectrogramCnn(14)),
        Architecture("MobileNetV1", "log-mel", 1024, MobileNetV1),
        Architecture("MobileNetV2", "log-mel", 1024, MobileNetV2),
        Architecture("Res1dNet31", "wave", 2048, lambda: WaveResNet(31)),
        Architecture("Res1dNet51", "wave", 2048, lambda: WaveResNet(51)),
        Architecture("Wavegram_Cnn14", "wave", 2048, WavegramCnn),
    )
}
