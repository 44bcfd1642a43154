"""Augmented views: those of the reference when fed its draws, and drawn as it draws them."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
import torch
from fill import DATA, normal
from PIL import Image, ImageFilter

from egotools.pixels.augmentation import Jitter
from egotools.pixels.blur import blur
from egotools.pixels.random_boxes import draw_overlapping_boxes, draw_resized_boxes, overlap
from egotools.pixels.resampling import resized_boxes
from egotools.pixels.view_augmentation import ViewColors, ViewDraws, augmented, augmented_together
from egotools.types import Frame, IntArray

GOLDENS = DATA / "storyboard"
CPU = torch.device("cpu")
LEVEL = 1 / 255 / 0.225  # of gray, normalized


def golden_image() -> Frame:
    cells = normal("input/image", (16, 22, 3)).repeat(16, 0).repeat(16, 1)
    height, width = cells.shape[:2]
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([x / width, y / height, (x + y) / (width + height)], axis=2)
    return np.clip(np.rint(127.5 + 45 * cells + 20 * ramps), 0, 255).astype(np.uint8)


def uniform(low: float, high: float) -> float:
    return torch.empty(1).uniform_(low, high).item()


def torchvision_box(height: int, width: int) -> tuple[int, int, int, int]:
    """As RandomResizedCrop draws, from torch."""
    while True:
        area = height * width * uniform(0.08, 1.0)
        aspect = torch.exp(torch.empty(1).uniform_(*torch.log(torch.tensor((3 / 4, 4 / 3))).tolist())).item()
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if w <= width and h <= height:
            y = int(torch.randint(0, height - h + 1, (1,)))
            return int(torch.randint(0, width - w + 1, (1,))), y, w, h


def overlapping_boxes(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """As `ensure_overlap` draws, from Python."""

    def box() -> tuple[int, int, int, int]:
        while True:
            area, aspect = random.uniform(0.08, 1.0) * width * height, random.uniform(3 / 4, 4 / 3)
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if w <= width and h <= height:
                y = random.randint(0, height - h)
                return random.randint(0, width - w), y, w, h

    first = second = box()
    while (second := box()) and not overlap(np.array(first), np.array(second)):
        pass
    return [first, second]


def rest_drawn(boxes: list[tuple[int, int, int, int]], *, upside_down: bool) -> ViewDraws:
    """The other draws of views, in the reference's order."""
    found = []
    for box in boxes or [None]:
        box = box or torchvision_box(256, 352)
        flip = torch.rand(1).item() < 0.5
        factors, order = [1.0, 1.0, 1.0, 0.0], [-1] * 4
        if torch.rand(1).item() <= 0.8:
            order = torch.randperm(4).tolist()
            factors = [uniform(0.6, 1.4), uniform(0.6, 1.4), uniform(0.8, 1.2), uniform(-0.1, 0.1)]
        if upside_down:
            torch.rand(1)
        gray = torch.rand(1).item() < 0.2
        sigma = random.uniform(0.1, 2.0) if random.random() < 0.5 else 0.0
        found.append((box, flip, upside_down, factors, order, gray, sigma))
    return ViewDraws(*(np.array(values) for values in zip(*found, strict=True)))


def golden_draws() -> dict[str, ViewDraws]:
    found = {}
    for data in ("saycam", "kcam"):
        for kind, count in (("train", 3), ("overlap", 2)):
            random.seed(0)
            torch.manual_seed(0)
            for number in range(count):
                boxes = overlapping_boxes(256, 352) if kind == "overlap" else []
                found[f"{data}.{kind}{number}"] = rest_drawn(boxes, upside_down=data == "saycam")
    return found


@pytest.mark.parametrize("at_once", [False, True], ids=["cpu", "as on a device"])
def test_views_are_the_references(at_once):
    image = golden_image()
    draws = golden_draws()
    assert any(each.gray.any() for each in draws.values())
    assert any(each.sigmas.any() for each in draws.values())
    with np.load(GOLDENS / "data_transforms.npz", allow_pickle=False) as recorded:
        for name, drawn in draws.items():
            places = np.zeros(len(drawn), np.int64)
            make = augmented_together if at_once else augmented
            views = make([image], places, drawn, 112, CPU).numpy()
            expected = recorded[f"{name}.slice"].reshape(-1, 3, 16, 16)
            away = np.abs(views[:, :, ::7, ::7] - expected) / LEVEL
            print(name, away.max(), (away < 0.1).mean(), drawn)
            assert (away <= 1.03).mean() >= 0.98, name  # colors may double what resizing leaves
            assert away.max() <= 3.1, name
            stats = [[view.mean(), view.std(), np.linalg.norm(view)] for view in views]
            np.testing.assert_allclose(np.squeeze(stats), recorded[f"{name}.stats"], rtol=2e-3, atol=2e-3)
