"""The module that recognition trains: R(2+1)D with one linear layer for each label.

Source:
    RepLAI's `ClassifierMTL` (EPIC-KITCHENS-100) and Ego4D forecasting's `MultiTaskR2plus1D` (`replai.md`, 6 and 7.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.methods.recognition.options import RecognitionOptions
from egotools.metrics.ranks import own_ranks, top_shares
from egotools.nn.r2plus1d import R2Plus1D

BACKBONE, HEADS = "backbone.", "heads."  # how names in a state_dict begin
TOPS = (1, 5)
FLOOR = 1e-12  # of a length by which is divided
SPREAD = 0.01  # standard deviation of new weights


class Recognition(nn.Module):
    """Normalized clips [B, 3, T, S, S] and `labels` int64 [B, heads] to the loss and its figures, scalars by name.

    Args:
        options: of the network, and which of its parts learn.
        classes: by label, how many it has.
    """

    def __init__(self, options: RecognitionOptions, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.names = tuple(classes)
        self._options = options
        self.backbone = R2Plus1D(options.depth, pool=options.pool)
        self.dropout = nn.Dropout(options.dropout)
        self.heads = nn.ModuleList(nn.Linear(self.backbone.width, count) for count in classes.values())
        for head in self.heads:
            assert isinstance(head, nn.Linear)
            nn.init.normal_(head.weight, std=SPREAD)
            nn.init.zeros_(head.bias)
        self.backbone.requires_grad_(options.finetune)

    def train(self, mode: bool = True) -> Recognition:
        """As of any module; a frozen backbone stays in eval mode unless its batch norm is to follow the batches."""
        super().train(mode)
        if not self._options.finetune and self._options.bn_mode == "eval":
            self.backbone.eval()
        return self

    def logits(self, clips: Tensor) -> list[Tensor]:
        """Logits float32 [B, C] of each label."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._options.finetune):
            features = self.backbone(clips)
        with torch.autocast(clips.device.type, enabled=False):  # in float32, whatever the backbone is computed in
            shown = self.dropout(self._scaled(features.float()))
            return [head(shown) for head in self.heads]

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        logits, labels = self.logits(batch["clips"]), batch["labels"].unbind(1)
        losses = [F.cross_entropy(each, of) for each, of in zip(logits, labels, strict=True)]
        loss = torch.stack(losses).sum() / (len(losses) if self._options.loss == "mean" else 1)
        with torch.no_grad():
            return {"loss": loss, **self._figures(logits, labels)}

    def _scaled(self, features: Tensor) -> Tensor:
        """Features [B, D], scaled if that is asked for."""
        if self._options.normalize_features == "scalar":
            return features / features.abs().clamp_min(FLOOR)
        return F.normalize(features, dim=1, eps=FLOOR) if self._options.normalize_features == "vector" else features

    def _figures(self, logits: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Top-1 and top-5 of the last label; of several those of each, and how often all are right (`top1_all`)."""
        ranks = [own_ranks(each, of) for each, of in zip(logits, labels, strict=True)]
        shares = [top_shares(each, TOPS) for each in ranks]
        found = {f"top{k}": share for k, share in zip(TOPS, shares[-1], strict=True)}
        if len(ranks) == 1:
            return found
        for name, of_label in zip(self.names, shares, strict=True):
            found |= {f"top{k}_{name}": share for k, share in zip(TOPS, of_label, strict=True)}
        is_right = torch.stack([each < 1 for each in ranks]).all(0)
        return {**found, "top1_all": is_right.double().mean()}
