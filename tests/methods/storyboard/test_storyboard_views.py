"""The views of frames: those of the reference where nothing is drawn, and two different ones where it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fill import DATA
from storyboard_networks import golden_image

from egotools.methods.storyboard.views import Viewing, random_of
from egotools.types import Frame

CPU = torch.device("cpu")


@pytest.fixture
def frames(rng: np.random.Generator) -> list[Frame]:
    return [
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in ((40, 60), (50, 40), (40, 60))
    ]


def test_plain_views_are_the_references_to_one_level():
    image, level = golden_image(), 1 / 255 / 0.224
    turned = Viewing(vertical_flip=True)
    pixels = {
        "saycam.test": turned.clustering_pixels([image]),
        "kcam.test": Viewing().clustering_pixels([image]),
        "eval": turned.evaluation_pixels([image]),
    }
    found = {name: turned.normalized(each, CPU) for name, each in pixels.items()}
    with np.load(DATA / "storyboard" / "data_transforms.npz", allow_pickle=False) as recorded:
        for name, view in found.items():
            away = np.abs(view[0, :, ::7, ::7].numpy() - recorded[f"{name}.slice"])
            assert away.max() < 1.01 * level, name
            assert (away > 1e-4).mean() < 0.02, name
            stats = [view.mean(), view.double().std(unbiased=False), view.norm()]
            np.testing.assert_allclose(stats, recorded[f"{name}.stats"], rtol=2e-4, atol=2e-4)


def test_training_views_are_two_of_each_frame_by_seed_and_step(frames):
    views = Viewing(crop_size=16)
    found = views.training(frames, random_of(7, 3), CPU)
    assert found.shape == (2, 3, 3, 16, 16)
    assert found.dtype == torch.float32
    assert torch.equal(found, views.training(frames, random_of(7, 3), CPU))
    assert not torch.equal(found, views.training(frames, random_of(7, 4), CPU))
    assert not torch.equal(found[0], found[1])


def test_views_of_a_frame_come_from_it_alone_in_any_company(frames):
    """A gray frame among others stays gray, at its place, in both views."""
    frames[1] = np.full((50, 40, 3), 90, np.uint8)
    views = Viewing(crop_size=16).training(frames, random_of(0, 0), CPU)
    spread = views.flatten(3).std(3).amax(2)
    assert (spread[:, 1] < 1e-6).all()
    assert (spread[:, [0, 2]] > 0.05).all()


def test_flips_are_as_often_as_asked(rng):
    frame = np.zeros((40, 40, 3), np.uint8)
    frame[:20, :20] = 255  # bright at the top left
    frames = [frame] * 8
    whole = replace(Viewing(crop_size=8), scale_min=1.0, scale_max=1.0)

    def corners(views: Viewing) -> set[tuple[int, int]]:
        found = views.training(frames, rng, CPU).mean(2).flatten(0, 1)
        corner = [(found[:, y, x] >= found.flatten(1).amax(1) - 0.3) for y, x in ((0, 0), (0, 7), (7, 0), (7, 7))]
        return {place for place, bright in zip(((0, 0), (0, 7), (7, 0), (7, 7)), corner, strict=True) if bright.any()}

    assert corners(replace(whole, flip=0.0)) == {(0, 0)}
    assert corners(replace(whole, flip=1.0)) == {(0, 7)}
    assert corners(replace(whole, flip=0.0, vertical_flip=True)) == {(7, 0)}
    assert corners(whole) == {(0, 0), (0, 7)}


def test_an_overlapping_pair_honours_the_crop_size_and_overlaps(frames):
    views = Viewing(crop_size=20, ensure_overlap=True, scale_max=0.2)
    assert views.training(frames, random_of(0, 0), CPU).shape[-2:] == (20, 20)
    boxes = views.draw(frames * 50, random_of(0, 1)).boxes.reshape(2, 150, 4)
    begin, end = boxes[..., :2].max(0), (boxes[..., :2] + boxes[..., 2:]).min(0)
    assert (begin < end).all()
    apart = replace(views, ensure_overlap=False).draw(frames * 50, random_of(0, 1)).boxes.reshape(2, 150, 4)
    assert not (apart[..., :2].max(0) < (apart[..., :2] + apart[..., 2:]).min(0)).all()


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"scale_min": 0.0}, "--scale-min"),
        ({"scale_min": 0.6, "scale_max": 0.5}, "--scale-max"),
        ({"flip": 1.5}, "--flip"),
        ({"crop_size": 0}, "--crop-size"),
    ],
)
def test_wrong_options_are_named(wrong, flag):
    with pytest.raises(ValueError, match=flag):
        Viewing(**wrong)
