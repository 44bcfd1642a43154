"""Random changes of frames: equal to the reference's when fed its draws, and drawn as it draws them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from fill import DATA, normal
from PIL import Image, ImageEnhance

from egotools.pixels import augmentation, crops
from egotools.pixels.augmentation import Augmentation, Draw, Jitter, cropped, draw_boxes, draw_jitter, recolored
from egotools.pixels.preprocessing import Normalize
from egotools.types import Frame, IntArray

GOLDENS = DATA / "memdpc"


def golden(case: str) -> Iterator[tuple[str, Frame, list[list[Any]], np.ndarray]]:
    """Name, input frames, draws, recorded result of each item."""
    notes = json.loads((GOLDENS / f"{case}.json").read_text())
    frames = made(*notes["inputs"][0]["shape"])
    with np.load(GOLDENS / f"{case}.npz", allow_pickle=False) as recorded:
        for name, draws in notes["draws"].items():
            yield name, frames, draws, recorded[name]


def made(*shape: int) -> Frame:
    return np.clip(np.round(128 + 48 * normal("input/frames", shape)), 0, 255).astype(np.uint8)


def plain(frames: Frame, boxes: IntArray | None = None) -> Draw:
    """No change but the boxes, by default the whole frames."""
    length, height, width = frames.shape[:3]
    boxes = np.tile(np.array([0, 0, width, height]), (length, 1)) if boxes is None else boxes
    still = np.full((length, 4), -1)
    return Draw(boxes, np.zeros(length, bool), np.full(length, -1), np.ones((length, 4)), still)


def numbers(draws: list[list[Any]]) -> list[Any]:
    return [draw[-1] for draw in draws]


def boxes_drawn(values: list[Any], height: int, width: int, length: int, crop: int, p: float, *, one: bool) -> IntArray:
    """Replays a reference's draws, taking them from the front of the list."""
    if values.pop(0) >= p:
        return np.tile(np.array(crops.center_box(height, width, crop)), (length, 1))
    found = []
    while True:
        area, aspect = values.pop(0) * height * width, values.pop(0)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        for _ in range(1 if one else length):
            w, h = (h, w) if values.pop(0) < 0.5 else (w, h)
            fits = w <= width and h <= height
            if fits:
                found.append((values.pop(0), values.pop(0), w, h))
            elif not one:
                found.append((0, 0, width, height))
        if found:
            return np.array(found * length if one else found)


def jitter_drawn(values: list[Any], length: int, p: float, *, one: bool) -> tuple[np.ndarray, IntArray]:
    if values.pop(0) >= p:
        return np.ones((length, 4)), np.full((length, 4), -1)
    draws = [[values.pop(0) for _ in range(5)] for _ in range(1 if one else length)]
    draws = draws * length if one else draws
    return np.array([each[:4] for each in draws]), np.array([each[4] for each in draws])


def gray_drawn(values: list[Any], length: int, *, p: float, one: bool) -> IntArray:
    decided = [values.pop(0) < p] * length if one else []
    return np.array([
        values.pop(0) if (decided[k] if one else values.pop(0) < p) else -1 for k in range(length)
    ])  # fmt: skip


def assert_close(found: np.ndarray, recorded: np.ndarray, *, within: int = 1, share: float = 0.999) -> None:
    away = np.abs(found.astype(int) - recorded)
    assert found.shape == recorded.shape
    assert (away <= within).mean() >= share, f"{(away <= within).mean():.4f} within {within}, at most {away.max()}"


def changed(frames: Frame, **parts: Any) -> Frame:
    draw = Draw(**{**vars(plain(frames)), **parts})
    found: Frame = recolored(torch.from_numpy(frames), draw).numpy()
    return found


def test_boxes_are_the_references_to_one_level():
    for name, frames, draws, recorded in golden("aug_random_sized_crop"):
        boxes = boxes_drawn(numbers(draws), 90, 120, 2, 40, 0.3 if "p03" in name else 1.0, one="per_frame" not in name)
        found = cropped(frames, plain(frames, boxes), 40, crop=40)
        assert_close(found, recorded, share=1.0)
        assert (found == recorded).mean() > 0.98


def test_nearest_pixels_are_the_references():
    for name, frames, _, recorded in golden("aug_scale"):
        height, width = (24, 32) if "tuple" in name else crops.shorter_side(56, 70, 32)
        if "bilinear" in name:
            assert_close(crops.resized(frames, height, width), recorded, share=1.0)
        else:
            found = frames[:, crops.nearest(56, height)][:, :, crops.nearest(70, width)]
            np.testing.assert_array_equal(found, recorded)


def test_corners_the_middle_and_mirroring_are_the_references():
    for name, frames, _, recorded in golden("aug_crops_flip"):
        five = crops.five_boxes(*frames.shape[1:3], 32)
        if name.startswith(("where", "center")):
            box = five[int(name[5]) - 1] if name.startswith("where") else crops.center_box(*frames.shape[1:3], 32)
            found = cropped(frames, plain(frames, np.tile(box, (2, 1))), 32, crop=32)
        else:
            found = frames[:, :, ::-1] if name.startswith("right") else frames
        np.testing.assert_array_equal(found, recorded)


def test_single_channels_are_the_references():
    for name, frames, draws, recorded in golden("aug_gray"):
        p = 1.0 if name.startswith("all") else 0.25
        channels = gray_drawn(numbers(draws), len(frames), p=p, one=name.startswith("all"))
        np.testing.assert_array_equal(changed(frames, channels=channels), recorded)


def test_colors_are_the_references_to_the_bit():
    for name, frames, draws, recorded in golden("aug_color_jitter"):
        factors, order = jitter_drawn(numbers(draws), len(frames), 1.0, one="clip" in name)
        np.testing.assert_array_equal(changed(frames, factors=factors, order=order), recorded)


def test_whole_chains_are_the_references():
    for name, frames, draws, recorded in golden("aug_pipelines"):
        values, kind = numbers(draws), name.partition(".")[0]
        if kind == "test_crop4_flip":
            values.pop(0)
            frames = frames[:, :, ::-1]
            boxes = np.tile(crops.five_boxes(240, 320, 224)[3], (2, 1))
            flips, channels, p, one = np.zeros(2, bool), np.full(2, -1), 0.3, True
        else:
            boxes = boxes_drawn(values, 240, 320, 2, 224, 0.3 if kind == "classifier_val" else 1.0, one=True)
            flips = np.full(2, values.pop(0) < 0.5)
            is_first = kind == "pretrain"
            channels = gray_drawn(values, 2, p=0.25, one=False) if is_first else np.full(2, -1)
            p, one = (1.0, False) if is_first else (0.3, True)
        factors, order = jitter_drawn(values, 2, p, one=one)
        assert not values
        draw = Draw(boxes, flips, channels, factors, order)
        pixels = recolored(torch.from_numpy(cropped(frames, draw, 32)), draw)
        if kind.startswith("test"):
            found = pixels.movedim(-1, -3) / 255
        else:
            found = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(pixels)
        level = 1 / 255 / (1 if kind.startswith("test") else 0.225)
        away = np.abs(found.numpy() - recorded) / level
        assert (away <= 1.03).mean() >= 0.95, name  # the spec's bound; normalized values are rounded
        assert (away <= 2.06).mean() >= 0.98, name


def pillow_hue(image: Image.Image, share: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue).astype(int) + int(share * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), saturation, value)).convert("RGB")


@pytest.mark.parametrize("factor", [0.5, 0.93, 1.0, 1.2579544])
def test_each_change_of_color_is_pillows_to_the_bit(factor, rng):
    gray = rng.integers(0, 256, (1, 200, 200, 1)) + rng.integers(-9, 10, (1, 200, 200, 3))  # as real pictures are
    frames = np.concatenate([rng.integers(0, 256, (1, 200, 200, 3)), gray.clip(0, 255)]).astype(np.uint8)
    frames[0, :9], frames[0, 9:12], frames[0, 12:15] = 255, 0, (255, 0, 0)
    makers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for number in range(4):
        order = np.full((2, 4), -1)
        order[:, 2] = number
        images = [Image.fromarray(frame) for frame in frames]
        if number < 3:
            expected = [makers[number](image).enhance(factor) for image in images]
        else:
            expected = [pillow_hue(image, factor - 1) for image in images]
        factors = np.full((2, 4), factor if number < 3 else factor - 1)
        np.testing.assert_array_equal(changed(frames, factors=factors, order=order), np.stack(expected))


def test_a_batch_at_once_is_as_frame_by_frame(rng, monkeypatch):
    """GPUs take the batch at once: the same bits."""
    frames = torch.from_numpy(rng.integers(0, 256, (2, 5, 16, 16, 3), dtype=np.uint8))
    chosen = Augmentation(gray_p=0.5, jitter=Jitter(0.5, 0.5, 0.5, 0.25, consistent=False))
    draws = [chosen.draw(20, 30, 5, rng) for _ in range(2)]
    batch = Draw.of({name: np.stack([getattr(draw, name) for draw in draws]) for name in vars(draws[0])})
    batch.order[1, 2], batch.channels[1, 2] = -1, -1  # one frame that nothing changes
    found = recolored(frames, batch)
    assert torch.equal(found[1, 2], frames[1, 2])
    one_by_one = [recolored(frames[clip], draws[clip]) for clip in range(2)]
    one_by_one[1][2] = frames[1, 2]
    assert torch.equal(found, torch.stack(one_by_one))
    planes = frames.flatten(0, 1).flatten(1, 2).transpose(1, 2).float()
    augmentation.recolor(planes, batch.channels.ravel(), batch.factors.reshape(10, 4), batch.order.reshape(10, 4))
    assert torch.equal(planes.to(torch.uint8).transpose(1, 2).reshape(frames.shape), found)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits(rng):
    frames = torch.from_numpy(rng.integers(0, 256, (2, 5, 16, 16, 3), dtype=np.uint8))
    chosen = Augmentation(gray_p=0.5, jitter=Jitter(0.5, 0.5, 0.5, 0.25, consistent=False))
    draws = [chosen.draw(20, 30, 5, rng) for _ in range(2)]
    batch = Draw.of({name: np.stack([getattr(draw, name) for draw in draws]) for name in vars(draws[0])})
    assert torch.equal(recolored(frames.cuda(), batch).cpu(), recolored(frames, batch))


def test_a_box_that_reaches_outside_is_black_there_and_mirroring_comes_last():
    frames = np.full((1, 10, 10, 3), 200, np.uint8)
    draw = plain(frames, np.array([crops.center_box(10, 10, 16)]))
    found = cropped(frames, draw, 16, crop=16)
    assert (found[0, 3:13, 3:13] == 200).all()
    assert found.sum() == 200 * 300
    ramp = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None], (1, 12, 12, 3)).copy()
    draw = Draw(**{**vars(plain(ramp)), "flips": np.array([True])})
    kept = crops.nearest(12, 6)
    np.testing.assert_array_equal(cropped(ramp, draw, 6, crop=12)[0, :, ::-1], ramp[0][kept][:, kept])


def test_a_box_may_be_reduced_by_bilinear_interpolation_as_pillow_does(rng):
    frames = rng.integers(0, 256, (2, 50, 60, 3), dtype=np.uint8)
    draw = Draw(**{**vars(plain(frames, np.tile([5, 4, 40, 44], (2, 1)))), "flips": np.array([False, True])})
    found = cropped(frames, draw, 16, crop=32, interpolation="bilinear")
    for frame, picture in zip(frames, [found[0], found[1, :, ::-1]], strict=True):
        image = Image.fromarray(frame).crop((5, 4, 45, 48))
        for side in (32, 16):
            image = image.resize((side, side), Image.Resampling.BILINEAR)
        assert_close(picture, np.asarray(image), share=1.0)
    assert not np.array_equal(found, cropped(frames, draw, 16, crop=32))


def test_frames_that_no_box_fits_are_resized_and_cut_in_the_middle(rng):
    frames = rng.integers(0, 256, (2, 40, 200, 3), dtype=np.uint8)  # five times as wide: every box is too high
    boxes = draw_boxes(40, 200, 2, rng, side=32, p=1.0, consistent=True)
    assert (boxes[:, 2] == crops.NO_BOX).all()
    image = Image.fromarray(frames[0]).resize((160, 32), Image.Resampling.BILINEAR).crop((64, 0, 96, 32))
    found = cropped(frames, plain(frames, boxes), 32, crop=32)
    assert_close(found[0], np.asarray(image), share=1.0)


def test_boxes_flips_and_colors_are_drawn_as_specified():
    rng = np.random.default_rng(5)
    boxes = np.stack([draw_boxes(240, 320, 1, rng, side=224, p=1.0, consistent=True)[0] for _ in range(4000)])
    assert 0 < (boxes[:, 2] == crops.NO_BOX).mean() < 0.01  # ten attempts seldom fail
    x, y, w, h = boxes[boxes[:, 2] != crops.NO_BOX].T
    assert (boxes[:, :2] >= 0).all()
    assert (x + w <= 320).all()
    assert (y + h <= 240).all()
    assert (x + w == 320).any()  # the last place is one of them
    area = w * h / (320 * 240)
    assert 0.49 < area.min() < 0.51
    assert area.max() > 0.93
    assert ((w / h > 0.74) & (w / h < 1.35)).all()
    apart = draw_boxes(240, 320, 40, rng, side=224, p=1.0, consistent=False)
    assert len(np.unique(apart, axis=0)) > 1
    assert len(np.unique(np.sort(apart[apart[:, 2] != 320, 2:], axis=1), axis=0)) <= 1  # one size, swapped or not
    drawn = [Augmentation(crop_p=0.3, gray_p=0.25).draw(240, 320, 40, rng) for _ in range(400)]
    assert np.mean([draw.boxes[0, 2] == 224 and draw.boxes[0, 3] == 224 for draw in drawn]) == pytest.approx(
        0.7, abs=0.07
    )
    assert np.mean([draw.flips[0] for draw in drawn]) == pytest.approx(0.5, abs=0.08)
    assert all(draw.flips.all() or not draw.flips.any() for draw in drawn)
    channels = np.concatenate([draw.channels for draw in drawn])
    assert [np.mean(channels == k) for k in (-1, 0, 1, 2)] == pytest.approx([0.75, 1 / 12, 1 / 12, 1 / 12], abs=0.01)
    assert all((draw.order == -1).all() for draw in drawn)


def test_jitter_is_drawn_for_the_clip_or_for_each_frame():
    rng = np.random.default_rng(5)
    factors, order = draw_jitter(4000, rng, Jitter(0.5, 0.2, 1.5, 0.25, consistent=False))
    assert np.abs(factors.min(0) - [0.5, 0.8, 0, -0.25]).max() < 0.01
    assert np.abs(factors.max(0) - [1.5, 1.2, 2.5, 0.25]).max() < 0.01
    assert (np.sort(order, axis=1) == np.arange(4)).all()
    assert len(np.unique(order, axis=0)) == 24
    drawn = [draw_jitter(5, rng, Jitter(0.5, 0.5, 0.5, 0.25, p=0.3)) for _ in range(500)]
    assert np.mean([(order >= 0).all() for _, order in drawn]) == pytest.approx(0.3, abs=0.06)
    assert all(len(np.unique(np.hstack(each), axis=0)) == 1 for each in drawn)
