"""Squares of resized frames: as RepLAI's reference has them, and no other for being made in part only."""

import json

import numpy as np
import pytest
import torch
from fill import DATA, normal
from PIL import Image

from egotools.pixels.crops import resized
from egotools.pixels.preprocessing import Normalize
from egotools.pixels.resized_squares import ResizedSquare, SquareDraws, middle_square, squares
from egotools.types import Frame

GOLDENS = DATA / "replai"
NORMALIZE = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FIRST_8_OF_9 = [0, 1, 2, 3, 4, 5, 6, 8]


def waves(count: int, height: int, width: int) -> Frame:
    """The inputs of the recorded cases."""
    k = normal("input/image_params", (count, 3, 4)).astype(np.float64)[:, None, None]
    y, x = np.arange(height)[:, None, None], np.arange(width)[:, None]
    across = np.sin(2 * np.pi * ((1 + np.abs(k[..., 0])) * x / width + k[..., 1]))
    down = np.sin(2 * np.pi * ((1 + np.abs(k[..., 2])) * y / height + k[..., 3]))
    return np.clip(np.floor(127.5 + 60 * across + 60 * down), 0, 255).astype(np.uint8)


def assert_recorded(case: str, pixels: Frame) -> None:
    """Equal to the reference's result within a gray level."""
    clip = NORMALIZE(torch.from_numpy(pixels)).transpose(0, 1).numpy()
    with np.load(GOLDENS / f"{case}.npz", allow_pickle=False) as recorded:
        np.testing.assert_allclose(clip[:, 0, ::2, ::2], recorded["out_frame_first"], rtol=0, atol=0.02)
        np.testing.assert_allclose(clip[:, -1, ::4, ::4], recorded["out_frame_last"], rtol=0, atol=0.02)
        np.testing.assert_allclose(clip.mean((0, 2, 3)), recorded["frame_means"], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("case", "shape", "chosen"),
    [
        ("transform_rcf_eval_256x456", (8, 256, 456), range(8)),
        ("transform_rcf_eval_9f_240x320", (9, 240, 320), FIRST_8_OF_9),
        ("transform_mscfcj_eval_256x456", (8, 256, 456), range(8)),
    ],
)
def test_evaluates_as_the_reference(case: str, shape: tuple[int, int, int], chosen: list[int]) -> None:
    frames = waves(*shape)[list(chosen)]
    square = middle_square(*shape[1:], side=112, shorter=int(112 / 0.875))
    assert_recorded(case, squares(frames, square, "nearest"))


def test_is_augmented_as_the_reference() -> None:
    case = "transform_rcf_train_compat_256x456"
    drawn = json.loads((GOLDENS / f"{case}.json").read_text())["random_draws"]
    draws = SquareDraws(swap_sides=True)
    square = draws.placed(256, 456, drawn["short_side"], np.random.default_rng(0))
    assert (square.width, square.height) == (drawn["resized_width"], drawn["resized_height"])
    square = ResizedSquare(square.width, square.height, drawn["crop_x"], drawn["crop_y"], 112, drawn["flip"])
    assert_recorded(case, squares(waves(9, 256, 456)[FIRST_8_OF_9], square, "bilinear"))


def test_a_part_has_the_pixels_of_the_whole() -> None:
    random = np.random.default_rng(0)
    for height, width in [(256, 456), (240, 320), (100, 75), (360, 641), (97, 97)]:
        frames = random.integers(0, 256, (2, height, width, 3), np.uint8)
        for _ in range(8):
            square = SquareDraws(side=40, shortest=45, longest=130).draw(height, width, random)
            whole = resized(frames, square.height, square.width)
            part = whole[:, square.y : square.y + 40, square.x : square.x + 40]
            expected = part[:, :, ::-1] if square.flip else part
            np.testing.assert_array_equal(squares(frames, square, "bilinear"), expected)


def test_has_its_size_and_pixels_whatever_the_scales() -> None:
    """Where a side's scale is not exact as a number, and where it is so near to 1 that a part keeps its pixels."""
    random = np.random.default_rng(0)
    cases = [(383, 167, 145, 63, 48, 15), (374, 314, 66, 56, 5, 8), (205, 259, 58, 73, 10, 21)]
    cases += [(150, 62, 154, 63, 91, 6), (62, 202, 63, 208, 9, 57), (262, 73, 263, 73, 112, 18)]
    for height, width, new_height, new_width, y, x in cases:
        frames = random.integers(0, 256, (1, height, width, 3), np.uint8)
        found = squares(frames, ResizedSquare(new_width, new_height, x, y, 48), "bilinear")
        whole = resized(frames, new_height, new_width)
        np.testing.assert_array_equal(found, whole[:, y : y + 48, x : x + 48])


def test_equals_pillow() -> None:
    frame = waves(1, 256, 456)[0]
    square = ResizedSquare(276, 155, 150, 40, 112, flip=True)
    box = (square.x, square.y, square.x + 112, square.y + 112)
    for interpolation, kind, most in [
        ("bilinear", Image.Resampling.BILINEAR, 1),
        ("nearest", Image.Resampling.NEAREST, 0),
    ]:
        whole = Image.fromarray(frame).resize((276, 155), kind)
        expected = np.asarray(whole.crop(box))[:, ::-1].astype(int)
        found = squares(frame[None], square, interpolation)[0]  # type: ignore[arg-type]
        assert np.abs(found - expected).max() <= most


def test_draws() -> None:
    random, draws = np.random.default_rng(0), SquareDraws()
    found = [draws.draw(256, 456, random) for _ in range(4000)]
    shorter = np.array([each.height for each in found])
    assert set(shorter) == set(range(128, 180))  # 180 itself has no share of the real numbers
    assert all(each.width == pytest.approx(each.height * 456 / 256, abs=2) for each in found)
    assert abs(np.mean([each.flip for each in found]) - 0.5) < 0.03
    least = [each for each in found if each.height == 128]
    assert {each.y for each in least} <= set(range(17))
    assert max(each.y for each in found) > 60
    ends = [each.x for each in found if each.width - 112 == each.x]
    assert ends
    assert min(each.x for each in found) == 0


def test_the_middle() -> None:
    assert middle_square(240, 320, side=112, shorter=128) == ResizedSquare(170, 128, 29, 8, 112)
    assert middle_square(320, 240, side=112, shorter=128) == ResizedSquare(128, 170, 8, 29, 112)
    assert middle_square(128, 133, side=112, shorter=128).x == 10  # 10.5: halves to even
    frames = waves(1, 128, 200)
    np.testing.assert_array_equal(
        squares(frames, middle_square(128, 200, side=112, shorter=128), "nearest"), frames[:, 8:120, 44:156]
    )
