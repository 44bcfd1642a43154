"""How a model's own processor prepares frames, as ours or by the processor itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from egotools.errors import ExtractorError, first_line
from egotools.pixels.preprocessing import Interpolation, Preprocessing
from egotools.types import Frame

FILTERS: Mapping[int, Interpolation] = {2: "bilinear", 3: "bicubic"}  # as Pillow numbers them
CONVNEXT_WARPS = 384  # pixels: from this size on its processor crops nothing
# What the library raises for a processor's file that is damaged, or is of something else.
DAMAGES = (OSError, ValueError, TypeError, KeyError, AttributeError, AssertionError)


def read_processor(folder: Path, kind: str) -> Any:  # Any: the library's own classes
    """The processor of frames, clips or sound in a model's folder; nothing in the folder is executed.

    Raises:
        ExtractorError: there is none, or it cannot be read.
    """
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoVideoProcessor

    from egotools.extractors.hf.models import quietly

    of_kind = {
        "frame": (AutoImageProcessor,),
        "clip": (AutoVideoProcessor, AutoImageProcessor),
        "sound": (AutoFeatureExtractor,),
    }
    error: Exception | None = None
    for loader in of_kind[kind]:
        try:
            with quietly():
                return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except DAMAGES as raised:
            error = error or raised
    assert error is not None, "a loader was tried"
    raise ExtractorError(
        f"{folder}: its processor (preprocessor_config.json) is missing or damaged ({first_line(error)})"
    ) from error


def preprocessing_of(processor: Any) -> Preprocessing:  # Any: the library's own classes
    """What a processor does to a frame, as ours.

    Raises:
        ExtractorError: it does something else.
    """
    name = type(processor).__name__
    size = dict(processor.size or {})
    interpolation = FILTERS.get(int(processor.resample if processor.resample is not None else 2))
    if not processor.do_resize or interpolation is None or not processor.do_rescale:
        raise ExtractorError(f"its processor, {name}, does not resize as egotools can; give --exact")
    edges = {edge: value for edge, value in size.items() if value is not None}
    crop = None
    if getattr(processor, "do_center_crop", False):
        sides = dict(processor.crop_size)
        crop = (int(sides["height"]), int(sides["width"]))
    if set(edges) == {"shortest_edge"}:
        resize: tuple[int, ...] = (int(edges["shortest_edge"]),)
        if hasattr(processor, "crop_pct") and crop is None:
            side = resize[0]
            resize = (int(side / processor.crop_pct),) if side < CONVNEXT_WARPS else (side, side)
            crop = (side, side) if side < CONVNEXT_WARPS else None
    elif set(edges) == {"height", "width"}:
        resize = (int(edges["height"]), int(edges["width"]))
    else:
        raise ExtractorError(f"its processor, {name}, makes frames of no fixed shape ({size}); egotools cannot use it")
    if len(resize) == 1 and crop is None:
        raise ExtractorError(f"its processor, {name}, makes frames of no fixed shape ({size}); egotools cannot use it")
    mean, std = _statistics(processor)
    return Preprocessing(resize, crop, mean, std, interpolation, corner="floor")


def _statistics(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels between 0 and 1, whatever the processor's own scale is."""
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0] * 3, [1.0] * 3)
    factor, offset = processor.rescale_factor * 255, float(getattr(processor, "offset", False))
    return tuple((each + offset) / factor for each in mean), tuple(each / factor for each in std)


def resized_by(processor: Any, frame: Frame) -> Frame:
    """A frame [H, W, 3] as the processor itself resizes and crops it, uint8 [h, w, 3]."""
    whole = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)
    found = processor([whole], do_rescale=False, do_normalize=False, return_tensors="pt")
    pixels = next(iter(found.values())).flatten(0, -4)[0]
    shown: Frame = pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return shown


@dataclass(frozen=True)
class Agreement:
    """How our preparation of a frame agrees with the processor's: cosine of normalized pixels, worst of some frames."""

    worst: float

    @cached_property
    def is_equal(self) -> bool:
        """Whether a row of features may be called equal."""
        return self.worst > 0.9999


def agreement(processor: Any, ours: Preprocessing) -> Agreement:
    """Compares both on a landscape and a portrait of smooth noise, after normalization."""
    from egotools.pixels.preprocessing import Normalize

    normalize, found = Normalize(ours.mean, ours.std), []
    for height, width in ((270, 481), (361, 240)):
        frame = _smooth(height, width)
        expected = next(iter(processor([torch.from_numpy(frame).permute(2, 0, 1)], return_tensors="pt").values()))
        shown = normalize(torch.from_numpy(ours(frame)))
        expected = expected.float().flatten(0, -4)[0]
        same = expected.shape == shown.shape
        found.append(float(torch.cosine_similarity(expected.flatten(), shown.flatten(), 0)) if same else 0.0)
    return Agreement(min(found))


def _smooth(height: int, width: int) -> Frame:
    """Noise that changes over about ten pixels, as photographs do."""
    coarse = np.random.default_rng(0).integers(0, 256, (1, 3, height // 10, width // 10))
    cells = torch.from_numpy(coarse).float()
    grown = torch.nn.functional.interpolate(cells, size=(height, width), mode="bicubic")
    pixels: Frame = grown[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return pixels
