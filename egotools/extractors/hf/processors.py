"""How a model's own processor prepares frames, as ours or by the processor itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from egotools.errors import ExtractorError, first_line
from egotools.pixels.preprocessing import Interpolation, Preprocessing
from egotools.types import Frame

FILTERS: Mapping[int, Interpolation] = {2: "bilinear", 3: "bicubic"}  # as Pillow numbers them
CONVNEXT_WARPS = 384  # pixels: from this size on its processor crops nothing
NORMALIZED, SCALED = (0.0,) * 3, (1 / 255,) * 3  # mean and deviation of pixels that are normalized already
# Cosine of pixels that are equal but for rounding; processors that do not round resized pixels to bytes have 0.99998.
EQUAL = 0.99999
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


def preprocessing_of(processor: Any, *, exact: bool = False) -> Preprocessing:  # Any: the library's own classes
    """What a processor does to a frame, as ours; with `exact` only the size that it makes.

    Raises:
        ExtractorError: it does something else.
    """
    shapes = {tuple(_shown(processor, flat).shape[-2:]) for flat in (_flat(270, 481, 0), _flat(361, 240, 0))}
    if len(shapes) > 1:
        raise ExtractorError(
            f"its processor, {type(processor).__name__}, makes frames of no fixed shape; egotools cannot use it"
        )
    size = shapes.pop()
    if exact:
        return Preprocessing(size, None, NORMALIZED, SCALED)
    sizes, interpolation = _sizes(processor), FILTERS.get(_filter(processor))
    if sizes is None or interpolation is None or size != (sizes[1] or sizes[0]):
        name = type(processor).__name__
        raise ExtractorError(f"its processor, {name}, resizes in a way that egotools does not have; give --exact")
    return Preprocessing(*sizes, *_statistics(processor), interpolation, corner="floor")


def _sizes(processor: Any) -> tuple[tuple[int, ...], tuple[int, int] | None] | None:
    """What a processor resizes to, and crops; None if it does something else."""
    edges = {edge: int(value) for edge, value in dict(processor.size or {}).items() if value is not None}
    crop = None
    if getattr(processor, "do_center_crop", False):
        sides = dict(processor.crop_size)
        crop = (int(sides["height"]), int(sides["width"]))
    if not processor.do_resize or set(edges) not in ({"shortest_edge"}, {"height", "width"}):
        return None
    if set(edges) == {"height", "width"}:
        return (edges["height"], edges["width"]), crop
    side = edges["shortest_edge"]
    if crop is not None or not hasattr(processor, "crop_pct"):
        return (side,), crop
    return ((side, side), None) if side >= CONVNEXT_WARPS else ((int(side / processor.crop_pct),), (side, side))


def _filter(processor: Any) -> int:
    """The number of its filter; bilinear where it names none, as in the library."""
    return 2 if processor.resample is None else int(processor.resample)


def _statistics(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels between 0 and 1: measured, since processors scale them in several ways."""
    black, white = (_shown(processor, _flat(600, 600, value)) for value in (0, 255))
    row, column = (side // 2 for side in black.shape[-2:])  # where nothing is filled up
    lowest, scale = black[:, row, column].double(), (white - black)[:, row, column].double()
    if not torch.isfinite(scale).all() or not (scale > 0).all():
        raise ExtractorError(f"its processor, {type(processor).__name__}, does not keep brightness")
    return _rounded(-lowest / scale), _rounded(1 / scale)


def _rounded(values: torch.Tensor) -> tuple[float, ...]:
    """Without the noise of float32, which differs from machine to machine and would make another recipe."""
    return tuple(round(float(value), 6) + 0.0 for value in values)


def _flat(height: int, width: int, value: int) -> Frame:
    return np.full((height, width, 3), value, np.uint8)


def _shown(processor: Any, frame: Frame) -> torch.Tensor:
    """A frame as the processor itself prepares it, normalized [3, h, w].

    Raises:
        ExtractorError: it cannot.
    """
    try:
        found = processor([np.ascontiguousarray(frame)], return_tensors="pt")
        shown: torch.Tensor = next(iter(found.values())).float().flatten(0, -4)[0]
    except (*DAMAGES, RuntimeError, IndexError, StopIteration) as error:
        raise ExtractorError(
            f"its processor, {type(processor).__name__}, does not take frames ({first_line(error)})"
        ) from error
    return shown


def prepared_by(processor: Any, frame: Frame) -> Any:  # Any: other frames are bytes
    """A frame [H, W, 3] as the processor itself prepares it, normalized: float32 [h, w, 3]."""
    return _shown(processor, frame).permute(1, 2, 0).contiguous().numpy()


def agreement(processor: Any, ours: Preprocessing) -> float:
    """How our preparation agrees with the processor's: the cosine of normalized pixels.

    The worse one of a landscape and a portrait of smooth noise; see `EQUAL`.
    """
    from egotools.pixels.preprocessing import Normalize

    normalize, found = Normalize(ours.mean, ours.std), []
    for height, width in ((270, 481), (361, 240)):
        frame = _smooth(height, width)
        expected, shown = _shown(processor, frame), normalize(torch.from_numpy(ours(frame)))
        found.append(float(torch.cosine_similarity(expected.flatten(), shown.flatten(), 0)))
    return min(found)


def _smooth(height: int, width: int) -> Frame:
    """Noise that changes over about ten pixels, as photographs do."""
    coarse = np.random.default_rng(0).integers(0, 256, (1, 3, height // 10, width // 10))
    cells = torch.from_numpy(coarse).float()
    grown = torch.nn.functional.interpolate(cells, size=(height, width), mode="bicubic")
    pixels: Frame = grown[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return pixels
