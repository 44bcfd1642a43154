"""MemDPC: predicts the features of a clip's last blocks from its first, and of its first from its last, by a memory.

Axes: B clips, N blocks of L frames, P blocks to predict, M memory slots, C channels, s x s positions.

Source:
    Memory-augmented Dense Predictive Coding, arXiv 2008.01065 (`memdpc/model.py`, `eval/model_lc.py`), whose names the
    parameters have; those of the GRUs only as `cell_list.0`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.nn.conv_gru import ConvGRU, orthogonal
from egotools.nn.resnet_2d3d import PLANS, Depth, ResNet2D3D

GAIN = 0.1  # of the orthogonal weights of the pre-training network's GRUs and predictor
HEADS = ("final_bn.", "final_fc.")  # what a classifier adds
PREDICTION = ("mb", "network_pred.")  # what a classifier leaves out


class Pass(NamedTuple):
    """What one direction predicts, in the order in which it does: the backward pass from later blocks to earlier."""

    predictions: Tensor  # [B, P, C, s, s]
    targets: Tensor  # [B, P, C, s, s], features before any ReLU, not detached
    context: Tensor  # [B, 1, C, s, s]: the GRU's state after the observed blocks
    attentions: list[Tensor]  # P times [B, M, s, s]: which slots a prediction is a mixture of


class MemDPC(nn.Module):
    """Normalized clips [B, N, 3, L, H, W] to a forward and a backward pass.

    Args:
        depth: of the backbone.
        predicted: P, the number of blocks that each direction predicts from all others; at least one must be left.
        slots: M, rows of the memory.
        dropout: of the GRUs' states.
    """

    def __init__(
        self, depth: Depth = "resnet18", *, predicted: int = 3, slots: int = 1024, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if min(predicted, slots) < 1:
            raise ValueError(f"{predicted} blocks to predict and {slots} memory slots: both must be above 0")
        self.predicted = predicted
        width = PLANS[depth].width
        self.mb = nn.Parameter(torch.randn(slots, width))
        self.backbone: nn.Module = ResNet2D3D(depth)
        self.agg_f = ConvGRU(width, width, dropout=dropout)
        self.agg_b = ConvGRU(width, width, dropout=dropout)
        self.network_pred = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, slots, 1))
        for part in (self.agg_f, self.agg_b, self.network_pred):
            orthogonal(part, GAIN)

    def forward(self, clips: Tensor) -> tuple[Pass, Pass]:
        check_clips(clips)
        self.check_blocks(clips.shape[1])
        features = block_maps(self.backbone, clips)
        with torch.autocast(clips.device.type, enabled=False):  # the rest costs nothing, and decides about near ties
            return self.passes(features if features.dtype == torch.float64 else features.float())

    def check_blocks(self, blocks: int) -> None:
        """Refuses clips that leave nothing to predict from.

        Raises:
            ValueError: says how many blocks there must be.
        """
        if blocks <= self.predicted:
            raise ValueError(
                f"clips of {blocks} blocks cannot have {self.predicted} predicted from the others: at least"
                f" {self.predicted + 1} blocks are needed"
            )

    def passes(self, features: Tensor) -> tuple[Pass, Pass]:
        """Both passes over block features [B, N, C, s, s]; the predictor takes both directions as one batch."""
        self.check_blocks(features.shape[1])
        observed = features.shape[1] - self.predicted
        ordered = (features, features.flip(1))
        grus = (self.agg_f, self.agg_b)
        products = [gru.products() for gru in grus]
        seen = F.relu(features)
        states = [
            gru(blocks[:, :observed], None, product)[1]
            for gru, blocks, product in zip(grus, (seen, seen.flip(1)), products, strict=True)
        ]
        contexts = states
        attentions: list[Tensor] = []
        predictions: list[Tensor] = []
        for step in range(self.predicted):
            if step > 0:
                inputs = F.relu(predictions[-1]).unsqueeze(1).chunk(2)
                states = [
                    gru(given, state.transpose(0, 1), product)[1]
                    for gru, given, state, product in zip(grus, inputs, states, products, strict=True)
                ]
            attention, prediction = self.recalled(torch.cat([state[:, -1] for state in states]))
            attentions.append(attention)
            predictions.append(prediction)
        stacked = torch.stack(predictions, dim=1).chunk(2)
        split = list(zip(*(attention.chunk(2) for attention in attentions), strict=True))
        forward, backward = (
            Pass(stacked[way], ordered[way][:, observed:], contexts[way], list(split[way])) for way in (0, 1)
        )
        return forward, backward

    def recalled(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, C, s, s] to the slots' shares [B, M, s, s] and what they sum up to, [B, C, s, s]."""
        return recall(self.network_pred(states), self.mb)


class MemDPCContext(nn.Module):
    """What is kept of MemDPC to describe clips: normalized clips [B, N, 3, L, H, W] to contexts [B, 2 C].

    The forward GRU's last state over all N blocks beside the backward GRU's, each averaged over positions. Here the
    ReLU comes before the mean over time, while in pre-training it comes after (as in the reference).
    """

    def __init__(self, depth: Depth = "resnet18", *, dropout: float = 0.1) -> None:
        super().__init__()
        width = PLANS[depth].width
        self.width = 2 * width
        self.backbone: nn.Module = ResNet2D3D(depth)
        self.agg_f = ConvGRU(width, width, dropout=dropout)
        self.agg_b = ConvGRU(width, width, dropout=dropout)

    def context(self, clips: Tensor) -> Tensor:
        """Contexts [B, 2 C] of clips."""
        check_clips(clips)
        maps = F.relu(self.backbone(clips.flatten(0, 1))).mean(2)
        maps = maps.reshape(*clips.shape[:2], *maps.shape[1:])
        with torch.autocast(clips.device.type, enabled=False):
            maps = maps if maps.dtype == torch.float64 else maps.float()
            ends = (self.agg_f(maps)[1], self.agg_b(maps.flip(1))[1])
            return torch.cat([end[:, -1].mean((2, 3)) for end in ends], dim=1)

    def forward(self, clips: Tensor) -> Tensor:
        return self.context(clips)


class MemDPCClassifier(MemDPCContext):
    """Normalized clips [B, N, 3, L, H, W] to logits [B, classes]: batch norm, dropout and a linear layer of contexts.

    Args:
        depth: of the backbone.
        classes: how many.
        dropout: before the linear layer; the reference has 0.9 to fine-tune, 0.5 for the linear probe.
        state_dropout: of the GRUs' states.
        is_frozen: only the last layers learn (`train_what last`): the rest stays in eval mode, without gradients.
    """

    def __init__(
        self,
        depth: Depth = "resnet18",
        *,
        classes: int,
        dropout: float = 0.5,
        state_dropout: float = 0.1,
        is_frozen: bool = False,
    ) -> None:
        super().__init__(depth, dropout=state_dropout)
        self.is_frozen = is_frozen
        self.final_bn = nn.BatchNorm1d(self.width)
        self.final_fc = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.width, classes))
        orthogonal(self.final_fc)
        if is_frozen:
            for part in (self.backbone, self.agg_f, self.agg_b):
                part.requires_grad_(False)
            self.train()

    def train(self, mode: bool = True) -> "MemDPCClassifier":
        """As of any module; frozen parts stay in eval mode."""
        super().train(mode)
        if self.is_frozen:
            for part in (self.backbone, self.agg_f, self.agg_b):
                part.eval()
        return self

    def forward(self, clips: Tensor) -> Tensor:
        if self.final_bn.training and len(clips) == 1:
            raise ValueError("the final batch norm cannot train on a batch of one clip; use at least two")
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            context = self.context(clips)
        return self.final_fc(self.final_bn(context))  # type: ignore[no-any-return]


def check_clips(clips: Tensor) -> None:
    """Refuses what is no batch of clips, cut into blocks.

    Raises:
        ValueError: says which axes it must have.
    """
    if clips.dim() != 6 or clips.shape[2] != 3 or not clips.numel():
        raise ValueError(
            f"clips have the axes [clips, blocks, 3, frames, height, width]; these are {tuple(clips.shape)}"
        )


def block_maps(backbone: nn.Module, clips: Tensor) -> Tensor:
    """The mean over time of the signed maps of each block, [B, N, 3, L, H, W] to [B, N, C, s, s]."""
    maps: Tensor = backbone(clips.flatten(0, 1)).mean(2)
    return maps.reshape(*clips.shape[:2], *maps.shape[1:])


def recall(logits: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Reads a memory [M, C] by logits [B, M, s, s]: the slots' shares [B, M, s, s], and their mixture [B, C, s, s]."""
    attention = logits.softmax(dim=1)
    mixture = memory.t() @ attention.flatten(2)
    return attention, mixture.reshape(*mixture.shape[:2], *logits.shape[2:])
