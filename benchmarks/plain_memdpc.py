"""MemDPC of resnet18 as the reference writes it, for `memdpc_step.py` to compare with; parameters have our names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

WIDTH = 256


class Block(nn.Module):
    """Two 3D convolutions, 1 x 3 x 3 or 3 x 3 x 3, and a shortcut."""

    def __init__(self, channels: int, planes: int, stride: int, *, is_3d: bool, is_last: bool) -> None:
        super().__init__()
        kernel, padding = (3, 3, 3) if is_3d else (1, 3, 3), (1, 1, 1) if is_3d else (0, 1, 1)
        strides = (stride if is_3d else 1, stride, stride)
        self.conv1 = nn.Conv3d(channels, planes, kernel, strides, padding, bias=False)
        self.bn1, self.relu = nn.BatchNorm3d(planes), nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv3d(planes, planes, kernel, 1, padding, bias=False), nn.BatchNorm3d(planes)
        self.is_last = is_last
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != planes:
            shortcut = nn.Conv3d(channels, planes, 1, strides, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(planes))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.downsample is None else self.downsample(x)
        return y if self.is_last else self.relu(y)  # type: ignore[no-any-return]


class Backbone(nn.Module):
    """2D3D ResNet-18 of contiguous clips."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        self.bn1, self.relu = nn.BatchNorm3d(64), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        channels = 64
        for number, planes in enumerate((64, 128, 256, 256), 1):
            first = Block(channels, planes, 1 if number == 1 else 2, is_3d=number > 2, is_last=False)
            second = Block(planes, planes, 1, is_3d=number > 2, is_last=number == 4)
            setattr(self, f"layer{number}", nn.Sequential(first, second))
            channels = planes

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{number}")(x)
        return x


class Cell(nn.Module):
    """One step of the recurrent network."""

    def __init__(self) -> None:
        super().__init__()
        self.reset_gate, self.update_gate, self.out_gate = (nn.Conv2d(2 * WIDTH, WIDTH, 1) for _ in range(3))

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        h = torch.zeros_like(x) if h is None else h
        both = torch.cat([x, h], 1)
        update, reset = torch.sigmoid(self.update_gate(both)), torch.sigmoid(self.reset_gate(both))
        out = torch.tanh(self.out_gate(torch.cat([x, h * reset], 1)))
        return h * (1 - update) + out * update


class Aggregator(nn.Module):
    """All steps; gives the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell_list, self.dropout = nn.ModuleList([Cell()]), nn.Dropout(0.1)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        for step in range(x.shape[1]):
            h = self.dropout(self.cell_list[0](x[:, step], h))
        assert h is not None
        return h


class PlainMemDPC(nn.Module):
    """Clips [B, N, 3, L, H, W] to the loss."""

    def __init__(self, predicted: int, slots: int) -> None:
        super().__init__()
        self.predicted = predicted
        self.mb, self.backbone = nn.Parameter(torch.randn(slots, WIDTH)), Backbone()
        self.agg_f, self.agg_b = Aggregator(), Aggregator()
        self.network_pred = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1), nn.ReLU(inplace=True), nn.Conv2d(WIDTH, slots, 1))

    def forward(self, clips: Tensor) -> Tensor:
        maps = self.backbone(clips.flatten(0, 1))
        maps = F.avg_pool3d(maps, (maps.shape[2], 1, 1)).squeeze(2).reshape(*clips.shape[:2], WIDTH, *maps.shape[3:])
        return self._loss(maps, self.agg_f) + self._loss(maps.flip(1), self.agg_b)

    def _loss(self, maps: Tensor, aggregator: Aggregator) -> Tensor:
        observed = maps.shape[1] - self.predicted
        state = aggregator(F.relu(maps[:, :observed]))
        predictions: list[Tensor] = []
        for step in range(self.predicted):
            if step > 0:
                state = aggregator(F.relu(predictions[-1]).unsqueeze(1), state)
            shares = F.softmax(self.network_pred(state), dim=1)
            predictions.append(torch.einsum("bmhw,mc->bchw", shares, self.mb))
        rows = torch.stack(predictions, 2).permute(0, 2, 3, 4, 1).contiguous().view(-1, WIDTH)
        targets = maps[:, observed:].permute(2, 0, 1, 3, 4).contiguous().view(WIDTH, -1)
        scores, own = rows @ targets, torch.arange(len(rows))
        _, best = scores.topk(min(5, len(rows)), 1)
        for k in (1, 3, 5):
            best[:, :k].eq(own[:, None]).float().sum() / len(rows)
        return F.cross_entropy(scores, own)
