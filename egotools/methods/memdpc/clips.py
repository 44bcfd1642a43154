"""Clips as what networks of MemDPC are shown: how they are changed, ready tensors.

Axes: B clips, N blocks of L frames, T = N L, S x S pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from egotools.errors import TrainingError
from egotools.loading.loader import Tensors
from egotools.loading.spans import SpanExamples, Stretch
from egotools.methods.memdpc.options import Sampling
from egotools.methods.usable import Usable
from egotools.pixels.augmentation import Augmentation, Draw, Jitter, recolored
from egotools.pixels.preprocessing import Normalize

BLUE = 2  # the channel of flow that has x
# The published pipelines, in pixels of frames, and of flow, too.
PRETRAINING = Augmentation(gray_p=0.25, jitter=Jitter(0.5, 0.5, 0.5, 0.25, consistent=False))
CLASSIFYING = Augmentation(jitter=Jitter(0.5, 0.5, 0.5, 0.25, p=0.3))
TESTING = Jitter(0.2, 0.2, 0.2, 0.1, p=0.3)  # a classifier, if colors are to change at all
VALIDATING = Augmentation(crop_p=0.3, jitter=TESTING)
NORMALIZE = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
AS_SHARES = Normalize((0.0,) * 3, (1.0,) * 3)  # from 0 to 1, as the published test has colors


def check_any(clips: Usable, sampling: Sampling, where: str) -> None:
    """Refuses to go on without a single clip.

    Raises:
        TrainingError: says why each was left out, and what to do.
    """
    if clips.found:
        return
    if not clips.short and not clips.failed:
        raise TrainingError(f"{where}: no clips to learn from; those of the split val are only validated on")
    spans = sampling.spans
    advice = (
        f"; lower --blocks {sampling.blocks}, --length {sampling.length} or --stride {sampling.stride}, whose product"
        f" is {spans.width}"
        if clips.short
        else ""
    )
    raise TrainingError(f"{where}: no clip is left: {'; '.join(clips.remarks)}{advice}")


def augmentation_of(published: Augmentation, sampling: Sampling) -> Augmentation:
    """The published one, reduced as asked for; colors of flow are left alone if that is asked for, too."""
    found = replace(published, interpolation=sampling.interpolation)
    return found if sampling.flow_jitter else replace(found, gray_p=0.0, jitter=None)


def examples_of(
    clips: Sequence[Stretch],
    sampling: Sampling,
    published: Augmentation,
    labels: Mapping[str, npt.NDArray[Any]] | None = None,  # Any: numbers of any type
) -> SpanExamples:
    """Examples of one drawn span a clip; `labels` [clips] by their name in a batch."""
    augmentation = augmentation_of(published, sampling)
    return SpanExamples(clips, sampling.spans, sampling.size, augmentation, labels or {})


def clips_of(batch: Tensors, *, sampling: Sampling, device: torch.device, normalize: Normalize = NORMALIZE) -> Tensor:
    """The frames of a batch of examples, uint8 [B, T, S, S, 3], as normalized clips [B, N, 3, L, S, S] on a device."""
    pixels, draws = batch["frames"].to(device, non_blocking=True), Draw.of(batch)
    if sampling.flow_flip_sign:
        pixels = with_sign_turned(pixels, draws.flips)
    return blocks_of(normalize(recolored(pixels, draws)), sampling.length)


def labeled_clips_of(batch: Tensors, *, sampling: Sampling, device: torch.device) -> Tensors:
    """As `clips_of`: `clips`, and beside them their `labels` [B]."""
    labels = batch["labels"].to(device, non_blocking=True)
    return {"clips": clips_of(batch, sampling=sampling, device=device), "labels": labels}


def with_sign_turned(pixels: Tensor, flips: npt.NDArray[np.bool_]) -> Tensor:
    """Flow as bytes [..., S, S, 3], with x of the frames [...] that are mirrored turned round."""
    mask = torch.from_numpy(flips).to(pixels.device)[..., None, None]
    turned = pixels.clone()
    turned[..., BLUE] = torch.where(mask, 255 - pixels[..., BLUE], pixels[..., BLUE])
    return turned


def blocks_of(frames: Tensor, length: int) -> Tensor:
    """Frames [B, T, 3, S, S] as blocks of so many: [B, N, 3, L, S, S]."""
    batch, total = frames.shape[:2]
    return frames.reshape(batch, total // length, length, *frames.shape[2:]).transpose(2, 3)
