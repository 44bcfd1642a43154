"""The segmentation network: a frozen refiner of features, if there is one, and C2F-TCN behind it.

Axes: B items of a batch, T slots, D features, C classes, K slots of one item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from egotools.losses.segmentation import IGNORED, WEIGHT, cross_entropy, smoothing
from egotools.nn.c2f_tcn import C2FTCN, ensemble
from egotools.nn.view_invariance import Axis, Refiner
from egotools.types import FloatArray

Padding = Literal["trim", "full"]


class Batch(NamedTuple):
    """Items on the device, padded at their ends."""

    values: Tensor  # [B, T, D] float32, 0 where padded
    labels: Tensor  # [B, T] int64, -100 where there is none
    mask: Tensor  # [B, T] bool, False where padded
    is_refined: Tensor  # [B] bool: whether the refiner changes an item


@dataclass(frozen=True, eq=False)
class Refining:
    """A refiner, and how it is used."""

    refiner: Refiner
    axis: Axis
    has_dropout: bool = False  # in training

    @property
    def is_of_slots(self) -> bool:
        """Whether what becomes of a slot depends on this slot alone, always in the same way."""
        return self.axis == "none" and not self.has_dropout

    @torch.no_grad()
    def alone(self, values: FloatArray) -> FloatArray:
        """Refined features [K, D] of slots that see nothing but themselves."""
        device = next(self.refiner.parameters()).device
        refined: FloatArray = self.refiner(torch.from_numpy(values)[None].to(device), "none")[0].cpu().numpy()
        return refined


class SegmentationNetwork(nn.Module):
    """Only the head is trained, saved and resumed: the refiner is no part of the module's state."""

    def __init__(
        self, head: C2FTCN, refining: Refining | None = None, *, padding: Padding = "trim", smoothing: float = WEIGHT
    ) -> None:
        super().__init__()
        self.head, self.padding, self.smoothing = head, padding, smoothing
        self._refining = [] if refining is None else [refining]  # in a list, so that it is no submodule
        for each in self._refining:
            each.refiner.requires_grad_(requires_grad=False)
        self.train()

    @property
    def mixes(self) -> bool:
        """Whether what is predicted for an item depends on others of its batch."""
        return any(each.axis == "batch" for each in self._refining)

    def on(self, device: torch.device) -> SegmentationNetwork:
        """On a device, with the refiner."""
        for each in self._refining:
            each.refiner.to(device)
        return self.to(device)

    def train(self, mode: bool = True) -> SegmentationNetwork:
        super().train(mode)
        for each in self._refining:
            each.refiner.train(mode and each.has_dropout)
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses and the share of slots that are right."""
        probabilities = self.probabilities(batch)
        entropy = cross_entropy(probabilities, batch.labels)
        is_masked = self.padding == "trim"
        smooth = smoothing(probabilities, batch.mask, masked=is_masked) * (self.smoothing / WEIGHT)
        has_label = batch.labels != IGNORED
        is_right = (probabilities.argmax(1) == batch.labels) & has_label
        return {
            "loss": entropy + smooth,
            "cross_entropy": entropy,
            "smoothing": smooth,
            "accuracy": is_right.sum() / has_label.sum().clamp(min=1),
        }

    def probabilities(self, batch: Batch) -> Tensor:
        """Of each class in each slot, [B, C, T]."""
        x = batch.values
        for refining in self._refining:
            x = self._refined(refining, batch)
        found: Tensor = ensemble(self.head(x.transpose(1, 2)))
        return found

    @torch.no_grad()
    def predict(self, batch: Batch) -> list[FloatArray]:
        """Probabilities [K, C] of the slots of each item, padding cut off, with the network in evaluation mode."""
        was_training = self.training
        self.eval()
        found = self.probabilities(batch).float().cpu().numpy()
        self.train(was_training)
        counts = batch.mask.sum(dim=1).tolist()
        return [values[:, :count].T for values, count in zip(found, counts, strict=True)]

    def _refined(self, refining: Refining, batch: Batch) -> Tensor:
        with torch.no_grad():
            mask = batch.mask if refining.axis == "time" else None
            refined = refining.refiner(batch.values, refining.axis, mask)
            if self.padding == "trim":  # what pads a batch stays what it is, whoever else is in it
                refined = refined * batch.mask[:, :, None]
            return torch.where(batch.is_refined[:, None, None], refined, batch.values)
