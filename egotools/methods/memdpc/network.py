"""The modules that trainings minimize: MemDPC, or its classifier, with the loss and what is logged beside it."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.losses.matching import matching_loss, of_all_processes
from egotools.metrics.ranks import group_share, own_ranks, position_plateau, top_shares
from egotools.nn.memdpc import MemDPC, MemDPCClassifier, Pass
from egotools.nn.resnet_2d3d import Depth

TOPS = (1, 3, 5)
WAYS = ("forward", "backward")


class Pretraining(MemDPC):
    """Normalized clips [B, N, 3, L, H, W] to the loss and its figures, scalars by name; state_dicts are MemDPC's.

    Args:
        depth: of the backbone.
        predicted: P, the number of blocks to predict.
        slots: rows of the memory.
        dropout: of the GRUs' states.
        gathers_negatives: a prediction competes with the targets of all processes, not only of its own; all must have
            as many clips.
    """

    def __init__(
        self,
        depth: Depth = "resnet18",
        *,
        predicted: int = 3,
        slots: int = 1024,
        dropout: float = 0.1,
        gathers_negatives: bool = False,
    ) -> None:
        super().__init__(depth, predicted=predicted, slots=slots, dropout=dropout)
        self.gathers_negatives = gathers_negatives

    def forward(self, clips: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return self.figures(super().forward(clips))

    def figures(self, passes: tuple[Pass, Pass]) -> dict[str, Tensor]:
        """`loss`, and by direction (`_forward`, `_backward`) the loss, top-1, -3 and -5 and the clip's identity."""
        found: dict[str, Tensor] = {}
        for way, each in zip(WAYS, passes, strict=True):
            found |= {f"{name}_{way}": value for name, value in self._of_pass(each).items()}
        loss = found["loss_forward"] + found["loss_backward"]
        plateau = loss.new_tensor(position_plateau(self._clips(passes[0]), self.predicted))
        found = {name: value.detach() for name, value in found.items()}
        return {"loss": loss, **found, "position_plateau": plateau}

    def _of_pass(self, each: Pass) -> dict[str, Tensor]:
        predictions, targets = rows_of(each.predictions), rows_of(each.targets)
        first = 0
        if self.gathers_negatives:
            targets, first = of_all_processes(targets)
        loss, scores = matching_loss(predictions, targets, first)
        with torch.no_grad():
            own = torch.arange(first, first + len(scores), device=scores.device)
            shares = top_shares(own_ranks(scores, own), TOPS)
            clip = group_share(scores, len(scores) // len(each.predictions), first)
        return {"loss": loss, **{f"top{k}": share for k, share in zip(TOPS, shares, strict=True)}, "clip": clip}

    def _clips(self, each: Pass) -> int:
        processes = torch.distributed.get_world_size() if self.gathers_negatives else 1
        return processes * len(each.predictions)


class Classification(MemDPCClassifier):
    """Clips [B, N, 3, L, H, W] and `labels` [B] to the loss, top-1 and top-5; state_dicts are the classifier's."""

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:  # type: ignore[override]
        logits, labels = super().forward(batch["clips"]).float(), batch["labels"]
        with torch.no_grad():
            shares = top_shares(own_ranks(logits, labels), (1, 5))
        return {"loss": F.cross_entropy(logits, labels), "top1": shares[0], "top5": shares[1]}


def rows_of(maps: Tensor) -> Tensor:
    """Maps [B, P, C, s, s] as rows [B P s s, C], by clip, step, height and width."""
    return maps.permute(0, 1, 3, 4, 2).flatten(0, 3)
