"""Augmented views: those of the reference when fed its draws, and drawn as it draws them."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from fill import DATA
from PIL import Image, ImageFilter
from storyboard_networks import golden_image

from egotools.pixels.augmentation import Jitter
from egotools.pixels.blur import blur
from egotools.pixels.random_boxes import draw_overlapping_boxes, draw_resized_boxes, overlap
from egotools.pixels.resampling import resized_boxes
from egotools.pixels.view_augmentation import ViewColors, ViewDraws, augmented, augmented_together
from egotools.types import Frame, IntArray

GOLDENS = DATA / "storyboard"
CPU = torch.device("cpu")
LEVEL = 1 / 255 / 0.225  # of gray, normalized


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
            assert (away <= 1.03).mean() >= 0.98, name  # colors may double what resizing leaves
            assert away.max() <= 3.1, name
            stats = [[view.mean(), view.std(), np.linalg.norm(view)] for view in views]
            np.testing.assert_allclose(np.squeeze(stats), recorded[f"{name}.stats"], rtol=2e-3, atol=2e-3)


def test_blur_is_pillows_to_the_bit(rng):
    pictures = rng.integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    pictures[0, :, :15], pictures[0, :, 15:] = 0, 255  # an edge
    sigmas = np.array([0.1, 0.0, 2.0, 0.77, 1.4142, 1.4143, 4.6])
    planes = np.tile(pictures.transpose(0, 3, 1, 2), (7, 1, 1, 1)).astype(np.uint32)
    tensor = torch.from_numpy(planes.astype(np.int32))
    chosen = sigmas.repeat(3)
    blur(planes, chosen)
    blur(tensor, chosen)
    expected = [
        np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius=sigma))).transpose(2, 0, 1)
        for sigma in sigmas.tolist()
        for picture in pictures
    ]
    np.testing.assert_array_equal(planes, expected)
    np.testing.assert_array_equal(tensor, expected)


def test_boxes_resized_together_are_pillows_to_one_level(rng):
    pictures = rng.integers(0, 256, (4, 60, 90, 3), dtype=np.uint8)
    boxes = np.array([[0, 0, 90, 60], [5, 7, 11, 9], [80, 50, 10, 10], [3, 1, 70, 20]])
    mirrored, turned = np.array([0, 1, 0, 1], bool), np.array([0, 0, 1, 1], bool)
    planes = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    flips = (torch.from_numpy(mirrored), torch.from_numpy(turned))
    found = resized_boxes(planes, torch.from_numpy(boxes), 24, 32, *flips).permute(0, 2, 3, 1).numpy()
    for view, (x, y, w, h) in enumerate(boxes.tolist()):
        image = Image.fromarray(pictures[view]).crop((x, y, x + w, y + h)).resize((32, 24), Image.Resampling.BILINEAR)
        expected = np.asarray(image)[:: -1 if turned[view] else 1, :: -1 if mirrored[view] else 1]
        away = np.abs(found[view] - expected)
        assert away.max() <= 1
        assert (away > 0).mean() < 0.06  # where weights are simple fractions, halves are rounded otherwise


def many_drawn(rng: np.random.Generator) -> tuple[list[Frame], IntArray, ViewDraws]:
    sizes = [(40, 60), (50, 40), (40, 60)]
    pictures = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    places = np.array([0, 1, 2, 2, 1, 0, 0, 1])
    heights, widths = np.array(sizes)[places].T
    return pictures, places, ViewColors().draw(draw_resized_boxes(heights, widths, rng, scale=(0.1, 1.0)), rng)


def test_many_pictures_at_once_give_nearly_what_each_alone_gives(rng):
    pictures, places, draws = many_drawn(rng)
    away = (augmented(pictures, places, draws, 16, CPU) - augmented_together(pictures, places, draws, 16, CPU)).abs()
    assert (away <= 1.03 * LEVEL).float().mean() > 0.98


@pytest.mark.gpu
def test_a_gpu_gives_the_same_views(rng):
    pictures, places, draws = many_drawn(rng)
    found = augmented(pictures, places, draws, 16, torch.device("cuda"))
    assert found.device.type == "cuda"
    away = (found.cpu() - augmented_together(pictures, places, draws, 16, CPU)).abs()
    assert (away <= 1.03 * LEVEL).float().mean() > 0.98


def test_boxes_are_drawn_as_torchvision_draws_them():
    rng = np.random.default_rng(5)
    heights, widths = np.full(20000, 240), np.full(20000, 320)
    x, y, w, h = draw_resized_boxes(heights, widths, rng, scale=(0.08, 1.0)).T
    assert (x >= 0).all()
    assert (y >= 0).all()
    assert (x + w).max() == 320
    assert (y + h).max() == 240
    area = w * h / (320 * 240)
    assert area.min() == pytest.approx(0.08, abs=0.002)
    small = area < 0.3  # larger ones may not fit
    assert (area[small] < 0.19).mean() == pytest.approx(0.5, abs=0.02)
    assert np.log(w / h)[small].mean() == pytest.approx(0, abs=0.01)  # uniform in the logarithm
    assert (w / h).min() > 0.73
    assert (w / h).max() < 1.37


@pytest.mark.parametrize(
    ("size", "box"), [((40, 400), (173, 0, 53, 40)), ((400, 40), (0, 173, 40, 53)), ((90, 100), (0, 0, 100, 90))]
)
def test_where_no_box_fits_the_middle_is_taken_as_torchvision_does(size, box):
    class Largest:
        """Draws boxes that are larger than the picture."""

        def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
            return np.full(shape, 4.0 if high == 1.0 else high)

        def random(self, shape: tuple[int, ...]) -> np.ndarray:
            return np.zeros(shape)

    found = draw_resized_boxes(*(np.array([each]) for each in size), Largest(), scale=(0.08, 1.0))
    assert found.tolist() == [list(box)]


def test_overlapping_boxes_are_uniform_in_their_aspect_and_meet():
    rng = np.random.default_rng(5)
    heights, widths = np.full(20000, 240), np.full(20000, 320)
    first, second = draw_overlapping_boxes(heights, widths, rng, scale=(0.02, 0.1))
    assert overlap(first, second).all()
    begin = np.maximum(first[:, :2], second[:, :2])
    assert (begin < np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])).all()
    assert (first[:, 2] / first[:, 3]).mean() == pytest.approx((3 / 4 + 4 / 3) / 2, abs=0.005)
    wide, _ = draw_overlapping_boxes(np.array([20]), np.array([400]), rng, scale=(0.99, 1.0))
    assert wide.tolist() == [[50, 0, 300, 20]]  # the fallback: 3/4 as wide, at most as high


def test_colors_are_drawn_as_often_as_specified():
    boxes = np.zeros((20000, 4), np.int64)
    draws = ViewColors(vertical_flip_p=1.0).draw(boxes, np.random.default_rng(5))
    assert draws.mirrored.mean() == pytest.approx(0.5, abs=0.02)
    assert draws.turned.all()
    changed = draws.order[:, 0] >= 0
    assert changed.mean() == pytest.approx(0.8, abs=0.02)
    assert len(np.unique(draws.order[changed], axis=0)) == 24
    assert np.abs(draws.factors[changed].min(0) - [0.6, 0.6, 0.8, -0.1]).max() < 0.01
    assert draws.gray.mean() == pytest.approx(0.2, abs=0.02)
    blurred = draws.sigmas[draws.sigmas > 0]
    assert len(blurred) / 20000 == pytest.approx(0.5, abs=0.02)
    assert (blurred.min(), blurred.max()) == pytest.approx((0.1, 2.0), abs=0.01)
    none = ViewColors(flip_p=0.0, jitter=Jitter(0.4, 0.4, 0.2, 0.1, p=0.0), gray_p=0.0, blur_p=0.0)
    still = none.draw(boxes[:50], np.random.default_rng(5))
    assert not still.mirrored.any()
    assert not still.turned.any()
    assert (still.order == -1).all()
    assert not still.gray.any()
    assert not still.sigmas.any()
