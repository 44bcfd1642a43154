"""Frames become what Pillow and torchvision's official transforms make of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification, VideoClassification

from egotools.extractors.published_model import published
from egotools.pixels.preprocessing import Normalize, Preprocessing, parse_size

SIZES = [(240, 320), (320, 240), (37, 53), (101, 33), (224, 224), (256, 256), (480, 641), (1, 7), (225, 1001)]


def photograph(rng, height, width):
    """Something with edges and noise, uint8 [H, W, 3]."""
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    large = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
    return np.clip(large + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def as_bytes(normalized, mean, std):
    """Undoes the normalization of a preset: float [..., 3, H, W] to grey levels."""
    shape = (3, 1, 1)
    return (normalized * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)) * 255


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("resize", "crop", "interpolation"),
    [(256, 224, "bilinear"), (232, 224, "bilinear"), (40, 64, "bicubic"), (384, 384, "bicubic"), (33, 32, "bilinear")],
)
def test_an_image_is_prepared_as_by_pillow(rng, size, resize, crop, interpolation):
    frame = photograph(rng, *size)
    preset = ImageClassification(
        resize_size=resize, crop_size=crop, interpolation=InterpolationMode(interpolation), antialias=True
    )
    wanted = as_bytes(preset(Image.fromarray(frame)), preset.mean, preset.std).permute(1, 2, 0).numpy()
    found = Preprocessing((resize,), (crop, crop), interpolation=interpolation)(frame)
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape == (crop, crop, 3)
    difference = np.abs(found - wanted).round()
    assert difference.max() <= (1 if interpolation == "bilinear" else 2)
    assert np.mean(difference > 1) < 1e-3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("resize", "crop"), [((128, 171), (112, 112)), ((256,), (224, 224)), ((32,), (48, 40))])
def test_a_frame_of_a_video_is_prepared_exactly_as_by_torchvision(rng, size, resize, crop):
    frame = photograph(rng, *size)
    preset = VideoClassification(crop_size=crop, resize_size=resize)
    clip = torch.from_numpy(frame).permute(2, 0, 1)[None]
    wanted = as_bytes(preset(clip)[:, 0], preset.mean, preset.std).round().to(torch.uint8).permute(1, 2, 0)
    found = Preprocessing(resize, crop, antialias=False)(frame)
    assert np.array_equal(found, wanted.numpy())


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0", "swin_t", "r2plus1d_18", "mvit_v2_s"])
def test_the_preprocessing_is_that_of_the_weights(name):
    preset = models.get_model_weights(name).DEFAULT.transforms()
    found = published(f"torchvision:{name}").preprocessing("DEFAULT")
    assert list(found.resize) == list(preset.resize_size)
    assert found.crop is not None
    assert found.crop[0] == preset.crop_size[0]
    assert found.crop[1] == preset.crop_size[-1]
    assert (found.mean, found.std) == (tuple(preset.mean), tuple(preset.std))
    assert found.interpolation == preset.interpolation.value


def test_older_weights_of_a_network_bring_their_own_sizes():
    resnet50 = published("torchvision:resnet50")
    assert resnet50.preprocessing("IMAGENET1K_V1").resize == (256,)
    assert resnet50.preprocessing("IMAGENET1K_V2").resize == (232,)
    assert published("torchvision:vit_b_16").preprocessing("IMAGENET1K_SWAG_E2E_V1").crop == (384, 384)


PRESET = Preprocessing((256,), (224, 224))


def test_a_full_size_to_resize_to_leaves_nothing_to_crop():
    chosen = PRESET.override("227x200", None)
    assert (chosen.resize, chosen.crop) == ((227, 200), None)
    assert chosen(np.zeros((50, 70, 3), np.uint8)).shape == (227, 200, 3)


def test_a_short_side_keeps_the_crop():
    chosen = PRESET.override("300", None)
    assert (chosen.resize, chosen.crop) == ((300,), (224, 224))


@pytest.mark.parametrize(("corner", "left"), [("round", [0, 0, 1, 2, 2]), ("floor", [0, 0, 1, 1, 2])])
def test_a_crop_at_half_a_pixel_is_rounded_to_even_or_down(corner, left):
    for wanted, width in zip(left, range(8, 13), strict=True):
        frame = np.arange(width, dtype=np.uint8)[None, :, None].repeat(8, 0).repeat(3, 2)
        assert Preprocessing((8,), (8, 8), corner=corner)(frame)[0, 0, 0] == wanted


def test_a_crop_may_be_given_as_one_side_or_as_two():
    assert PRESET.override(None, "96").crop == (96, 96)
    assert PRESET.override("300x400", "96x128").crop == (96, 128)
    assert PRESET.override(None, None) == PRESET


@pytest.mark.parametrize("text", ["", "0", "-3", "224x", "x", "1x2x3", "22.5", "big", "224 224", "0x5"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_sizes_are_read_as_height_and_width():
    assert parse_size("224") == (224,)
    assert parse_size("240X320") == (240, 320)


def test_a_frame_that_is_a_view_of_another_is_prepared_like_its_copy(rng):
    frame = photograph(rng, 100, 120)
    for view in (frame[:, ::-1], frame[1:, 2:], np.broadcast_to(frame[:1], frame.shape)):
        assert np.array_equal(PRESET(view.copy()), PRESET(view))


@pytest.mark.parametrize("shape", [(2, 9, 7, 3), (2, 4, 9, 7, 3)])
def test_normalizing_divides_and_leaves_channels_last(rng, shape):
    pixels = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    found = Normalize(mean, std)(pixels)
    wanted = (pixels.double() / 255 - torch.tensor(mean).double()) / torch.tensor(std).double()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted.movedim(-1, -3), rtol=1e-6, atol=1e-6)
    assert found.movedim(-3, -1).is_contiguous()
    if found.ndim == 4:
        assert found.is_contiguous(memory_format=torch.channels_last)
    else:
        assert found.transpose(1, 2).is_contiguous(memory_format=torch.channels_last_3d)
