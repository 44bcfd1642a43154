"""The classes of clips by a trained network: probabilities averaged over spans and over views.

Axes: V views, K spans, C classes, N clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from egotools.loading.items import why_unread
from egotools.loading.loader import Tensors, loader
from egotools.loading.order import Order
from egotools.loading.views import ViewExamples
from egotools.methods.memdpc.clips import AS_SHARES, NORMALIZE, clips_of
from egotools.methods.memdpc.options import Sampling, Viewing
from egotools.progress import Progress, no_progress


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Probabilities float64 [N, V, C], and by number of the clip why some have none."""

    values: Tensor
    failed: dict[int, str]


def probabilities_of(
    model: nn.Module,
    examples: ViewExamples,
    classes: int,
    sampling: Sampling,
    viewing: Viewing,
    *,
    workers: int = 0,
    progress: Progress = no_progress,
) -> Probabilities:
    """Probabilities of each view of each clip, means over its spans.

    Args:
        model: normalized clips [B, N, 3, L, S, S] to logits [B, C], on its device.
        examples: of the clips.
        classes: C.
        sampling: as the examples'.
        viewing: as the examples', too.
        workers: processes that read.
        progress: is told the examples.

    Raises:
        TrainingError: a reading process was killed.
    """
    order = Order(len(examples), 1, seed=0, epochs=1, shuffle=False)
    device = next(model.parameters()).device
    batches = loader(examples, order, seed=0, workers=workers, device=device, finish=lambda batch: batch)
    sums = torch.zeros(len(examples.stretches), len(viewing.views), classes, dtype=torch.float64)
    counts = torch.zeros(len(sums))
    failed: dict[int, str] = {}
    progress("evaluating", 0, len(examples))
    model.eval()
    for done, batch in enumerate(batches(0), 1):
        number = int(batch.pop("clip"))
        if (why := why_unread(batch)) is not None:
            failed[number] = why
        else:
            spans = batch["frames"].shape[2]
            sums[number] += spans * mean_probabilities(logits_of(model, batch, sampling, viewing, device)).cpu()
            counts[number] += spans
        progress("evaluating", done, len(examples))
    return Probabilities(sums / counts.clamp_min(1)[:, None, None], failed)


@torch.no_grad()
def logits_of(model: nn.Module, batch: Tensors, sampling: Sampling, viewing: Viewing, device: torch.device) -> Tensor:
    """Logits [V, K, C] of an example's entries [1, V, K, ...]; so many clips at a time as `viewing` says."""
    views, spans = batch["frames"].shape[1:3]
    clips = {name: value[0].flatten(0, 1) for name, value in batch.items()}
    normalize = NORMALIZE if viewing.normalize else AS_SHARES
    found = []
    for at in range(0, views * spans, viewing.batch_size):
        some = {name: value[at : at + viewing.batch_size] for name, value in clips.items()}
        found.append(model(clips_of(some, sampling=sampling, device=device, normalize=normalize)))
    logits = torch.cat(found)
    return logits.view(views, spans, logits.shape[1])


def mean_probabilities(logits: Tensor) -> Tensor:
    """Logits [V, K, C] of clips to the mean probabilities [V, C] float64 of each view."""
    return logits.double().softmax(-1).mean(1)
