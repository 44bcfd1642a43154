"""Raw features: what the reference recorded, their definitions as loops, OpenCV and scikit-image where installed."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fill import DATA, input_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from egotools.linear.pca import PCA
from egotools.lowlevel.blurriness import BLANK, blurriness, high_pass_energy
from egotools.lowlevel.color import brightness, contrast, gray, hsv
from egotools.lowlevel.enlarge import enlarged_gray, taps
from egotools.lowlevel.hog import hog, hog_width
from egotools.lowlevel.m3s_row import FEATURES, clip_row, layout, ordered
from egotools.methods.memorability.reference import constants_of_data_sets, reference_normalization

Recorded = Mapping[str, Any]  # the arrays of a golden

# float32 sums of 65,536 squares and transforms of 250,000 pixels, then a logarithm of each
BLURRINESS = {"rtol": 1e-4, "atol": 1e-3}


def recorded(folder: Path, case: str) -> Recorded:
    with np.load(folder / f"{case}.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def assert_hog(found: Any, wanted: Any) -> None:
    """Bins of directions on a border, and equal channels, may fall differently: one entry in a thousand."""
    assert (np.abs(found - wanted) <= 1e-4).mean() >= 0.999
    assert found @ wanted >= 0.9999 * np.linalg.norm(found) * np.linalg.norm(wanted)


def assert_hog_stats(row: Any, stats: Any) -> None:
    """Mean, deviation, norm and maximum of the whole vector."""
    found = [row.mean(), row.std(), np.linalg.norm(row), row.max()]
    np.testing.assert_allclose(found, stats[:4], rtol=1e-4, atol=1e-6)


@pytest.fixture
def noise(rng: np.random.Generator) -> np.ndarray:
    """Three frames of 40 x 56 pixels."""
    return rng.integers(0, 256, (3, 40, 56, 3), dtype=np.uint8)


@pytest.mark.parametrize("case", ["raw_frame_ggsy", "raw_frame_znvh"])
def test_features_of_real_frames_are_those_of_the_reference(shared, case):
    golden = recorded(shared / "goldens/memorability", case)
    frames = golden["frame"][None]
    np.testing.assert_allclose(contrast(frames), golden["u8_contrast"], atol=1e-6)
    np.testing.assert_allclose(contrast(frames, "value"), golden["u8_contrast2"], atol=1e-6)
    np.testing.assert_allclose(brightness(frames), golden["u8_brightness"], atol=1e-9)
    np.testing.assert_allclose(blurriness(frames), golden["u8_blurriness"], **BLURRINESS)
    (row,) = hog(frames)
    assert_hog(row[: len(golden["u8_hog_head"])], golden["u8_hog_head"])
    assert_hog_stats(row, golden["u8_hog_stats"])


def test_features_of_a_frame_that_is_not_square_are_those_of_the_reference(shared):
    golden = recorded(shared / "goldens/memorability", "raw_native_ggsy")
    frames = golden["frame"][None]
    np.testing.assert_allclose(contrast(frames), golden["u8_native_contrast"], atol=1e-6)
    np.testing.assert_allclose(contrast(frames, "value"), golden["u8_native_contrast2"], atol=1e-6)
    np.testing.assert_allclose(brightness(frames), golden["u8_native_brightness"], atol=1e-9)
    np.testing.assert_allclose(blurriness(frames), golden["u8_native_blurriness"], **BLURRINESS)
    (row,) = hog(frames)
    assert_hog(row[: len(golden["u8_native_hog_head"])], golden["u8_native_hog_head"])
    assert_hog_stats(row, golden["u8_native_hog_stats"])


def test_a_made_frame_gives_what_the_reference_gives_on_the_way_too():
    golden = recorded(DATA / "memorability", "raw_fill")
    frame = np.clip(np.rint(128 + 50 * input_of("frame", 72, 60, 3).numpy()), 0, 255).astype(np.uint8)
    assert np.array_equal(gray(frame)[::7, ::7], golden["gray_slice"])
    assert np.array_equal(hsv(frame)[::7, ::7], golden["hsv_full_slice"])
    enlarged = enlarged_gray(frame, 600, 500)[::25, ::25]
    assert np.array_equal(enlarged, gray(golden["area500_slice"]))
    np.testing.assert_allclose(contrast(frame[None]), golden["contrast"], atol=1e-6)
    np.testing.assert_allclose(contrast(frame[None], "value"), golden["contrast2"], atol=1e-6)
    np.testing.assert_allclose(brightness(frame[None]), golden["brightness"], atol=1e-9)
    np.testing.assert_allclose(blurriness(frame[None]), golden["blurriness"], **BLURRINESS)
    (row,) = hog(frame[None])
    assert len(row) == hog_width(72, 60) == 1728
    assert_hog(row, golden["hog"])


@pytest.fixture(scope="module")
def clip64() -> Recorded:
    return recorded(DATA / "memorability", "raw_clip64")


@pytest.fixture(scope="module")
def values(clip64) -> dict[str, Any]:
    """The features of the sixteen frames."""
    projection = PCA(
        0.1 * np.abs(input_of("pca/mean", 1764).numpy()).astype(np.float64),
        input_of("pca/components", 10, 1764).numpy().astype(np.float64) / math.sqrt(1764),
        0.01 + 0.01 * np.abs(input_of("pca/variance", 10).numpy()).astype(np.float64),
    )
    frames = clip64["frames"]
    return {
        "hog": projection.project(hog(frames)),
        "brightness": brightness(frames),
        "contrast": contrast(frames),
        "meanOF": np.array([123456.0]),
        "blurriness": blurriness(frames),
        "size_orig": np.array([234567.0]),
    }


def test_a_clip_is_measured_frame_by_frame_as_the_reference_does(clip64, values):
    for name, allowed in (("contrast", {"atol": 1e-6}), ("brightness", {"atol": 1e-9}), ("blurriness", BLURRINESS)):
        np.testing.assert_allclose(values[name], clip64[f"frame_{name}"], **allowed)
    for found, wanted in zip(hog(clip64["frames"])[:, :256], clip64["frame_hog_slice"], strict=True):
        assert_hog(found, wanted)
    np.testing.assert_allclose(values["hog"], clip64["frame_hog_pca"], rtol=1e-3, atol=1e-5)


def test_means_and_deviations_over_a_clip_are_those_of_the_references_files(clip64, values):
    row = clip_row(values, deviations=True)
    for part in layout(deviations=True):
        if part.feature in ("meanOF", "size_orig"):
            continue
        wanted = clip64[f"file_{part.feature}"][:, 0 if part.statistic == "mean" else 1]
        np.testing.assert_allclose(row[part.start : part.stop], wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("deviations", [False, True])
@pytest.mark.parametrize("data_set", ["Memento10k", "VideoMem"])
def test_normalized_rows_are_what_the_reference_gives_its_network(clip64, values, data_set, deviations):
    mean, scale = reference_normalization(data_set.lower(), deviations=deviations)
    found = (clip_row(values, deviations=deviations) - mean) / scale
    wanted = clip64[f"raw_{data_set}_mean{'_std' if deviations else ''}"]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def slow_hog(frame: np.ndarray) -> list[float]:
    """As the definition reads."""
    height, width, _ = frame.shape
    cells = np.zeros((height // 8, width // 8, 9))
    pixels = frame.astype(int)
    for row, column in product(range(height // 8 * 8), range(width // 8 * 8)):
        length, down, right = -1.0, 0, 0
        for channel in range(3):
            inside = 0 < row < height - 1, 0 < column < width - 1
            steep = pixels[row + 1, column, channel] - pixels[row - 1, column, channel] if inside[0] else 0
            wide = pixels[row, column + 1, channel] - pixels[row, column - 1, channel] if inside[1] else 0
            if math.hypot(steep, wide) > length:
                length, down, right = math.hypot(steep, wide), steep, wide
        cells[row // 8, column // 8, int(math.degrees(math.atan2(down, right)) % 180 // 20)] += length / 64
    found: list[float] = []
    for row, column in product(range(height // 8 - 1), range(width // 8 - 1)):
        block = cells[row : row + 2, column : column + 2].ravel()
        block = np.minimum(block / math.sqrt((block**2).sum() + 1e-10), 0.2)
        found += (block / math.sqrt((block**2).sum() + 1e-10)).tolist()
    return found


@pytest.mark.parametrize("size", [(16, 16), (29, 45)])
def test_hog_is_its_definition(rng, size):
    frame = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    frame[: size[0] // 2] //= 32  # where many gradients are equal in two channels
    np.testing.assert_allclose(hog(frame[None])[0], slow_hog(frame), atol=1e-6)


def test_hog_of_nothing_to_see_is_zero():
    assert not hog(np.full((1, 32, 32, 3), 77, np.uint8)).any()


def test_hog_is_scikit_images(rng):
    feature = pytest.importorskip("skimage.feature")
    for size in ((64, 48), (37, 90)):
        frame = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        wanted = feature.hog(frame, 9, (8, 8), (2, 2), block_norm="L2-Hys", channel_axis=-1)
        np.testing.assert_allclose(hog(frame[None])[0], wanted, atol=1e-6)


def test_frames_smaller_than_a_block_have_no_hog():
    with pytest.raises(ValueError, match="frames of 15 x 40 pixels are smaller than a block of 16 pixels"):
        hog(np.zeros((1, 15, 40, 3), np.uint8))


@given(st.tuples(*[st.integers(0, 255)] * 3))
@settings(max_examples=60, deadline=None)
def test_gray_and_hsv_are_their_usual_formulas_rounded(color):
    pixel = np.array([[color]], np.uint8)
    red, green, blue = color
    assert abs(int(gray(pixel)[0, 0]) - (0.299 * red + 0.587 * green + 0.114 * blue)) <= 0.51
    hue, saturation, value = hsv(pixel)[0, 0].tolist()
    wanted = colorsys.rgb_to_hsv(*(channel / 255 for channel in color))
    assert abs((hue / 256 - wanted[0] + 0.5) % 1 - 0.5) <= 0.75 / 256
    assert abs(saturation / 255 - wanted[1]) <= 0.75 / 255
    assert value == max(color)


def test_gray_hsv_and_enlarging_are_opencvs_to_the_bit(rng):
    cv2 = pytest.importorskip("cv2")
    every = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    assert np.array_equal(gray(every), cv2.cvtColor(every, cv2.COLOR_RGB2GRAY))
    assert np.array_equal(hsv(every), cv2.cvtColor(every, cv2.COLOR_RGB2HSV_FULL))
    for height, width in ((256, 256), (240, 320), (64, 64), (281, 499), (300, 500), (17, 33)):
        frame = np.ascontiguousarray(every[:height, :width])
        size = (500, height * 500 // width)
        wanted = cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        assert np.array_equal(enlarged_gray(frame, size[1], size[0]), wanted), (height, width)


def test_an_axis_cannot_be_enlarged_to_fewer_pixels():
    with pytest.raises(ValueError, match="640 pixels cannot be enlarged to 500"):
        taps(640, 500)
    with pytest.raises(ValueError, match="640 pixels cannot be enlarged"):
        blurriness(np.zeros((1, 480, 640, 3), np.uint8))


def test_contrast_and_brightness_are_their_definitions(noise):
    for index, frame in enumerate(noise):
        levels = gray(frame).ravel().tolist()
        mean = sum(levels) / len(levels)
        deviation = math.sqrt(sum((level - mean) ** 2 for level in levels) / len(levels))
        assert contrast(noise)[index] == pytest.approx(deviation, rel=1e-12)
        assert contrast(noise, "value")[index] == pytest.approx(frame.max(axis=2).std(), rel=1e-12)
        assert brightness(noise)[index] == pytest.approx(hsv(frame)[0].mean(), rel=1e-12)
        assert brightness(noise, "value")[index] == pytest.approx(frame.max(axis=2).mean(), rel=1e-12)


def test_only_the_first_row_is_bright_unless_the_value_is_meant():
    frame = np.zeros((1, 20, 20, 3), np.uint8)
    frame[0, 0] = 255
    assert brightness(frame).tolist() == [85.0]  # hue 0, saturation 0, value 255
    assert brightness(frame, "value").tolist() == [255 / 20]


@pytest.mark.parametrize("size", [(128, 121), (200, 167), (375, 500)])
def test_what_is_left_without_low_frequencies_is_the_complex_images_modulus(rng, size):
    image = rng.normal(128, 40, size)
    height, width = size
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    spectrum[height // 2 - 60 : height // 2 + 60, width // 2 - 60 : width // 2 + 60] = 0
    left = np.fft.ifft2(np.fft.ifftshift(spectrum))
    found = np.concatenate(list(high_pass_energy(image.astype(np.float32))))
    np.testing.assert_allclose(np.sqrt(found), np.abs(left), atol=1e-3)  # of grays up to 255, in float32
    assert np.abs(left.imag).max() > 0.1  # which the real part alone would miss


def test_a_frame_of_one_gray_is_marked_and_others_are_not(noise):
    flat = np.full((1, 64, 64, 3), 90, np.uint8)
    faint = flat.copy()
    faint[0, 30, 30] = 91
    found = blurriness(np.concatenate([flat, faint]))
    assert found[0] == BLANK == pytest.approx(20 * math.log(1e-12 * 255))
    assert BLANK < found[1] < 0
    assert np.isfinite(found).all()


def test_what_is_faint_beside_a_bright_background_is_not_lost_in_float32():
    frame = np.full((256, 256, 3), 230, np.uint8)
    frame[100:104, 100:104] = 232
    gray = enlarged_gray(frame, 500, 500).astype(np.float64)
    spectrum = np.fft.fftshift(np.fft.fft2(gray))
    spectrum[190:310, 190:310] = 0
    wanted = np.mean(20 * np.log(np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum)))))
    assert wanted < -150
    np.testing.assert_allclose(blurriness(frame[None]), wanted, **BLURRINESS)


def test_a_soft_picture_is_less_sharp(noise):
    soft = np.stack([np.asarray(Image.fromarray(frame).resize((14, 10)).resize((56, 40))) for frame in noise])
    assert (blurriness(soft) < blurriness(noise) - 5).all()


def test_frames_do_not_influence_each_other(noise):
    for measure in (hog, brightness, contrast, blurriness):
        together = measure(noise)
        alone = np.concatenate([measure(frame[None]) for frame in noise])
        assert np.array_equal(together, alone), measure


def test_what_was_given_stays_as_it_was(noise):
    before = noise.copy()
    noise.setflags(write=False)
    for measure in (hog, brightness, contrast, blurriness):
        measure(noise)
    assert np.array_equal(noise, before)


def test_a_row_is_in_the_published_order_whatever_the_order_of_asking(values):
    turned = dict(reversed(values.items()))
    assert np.array_equal(clip_row(turned), clip_row(values))
    assert [part.feature for part in layout()] == list(FEATURES)
    assert ordered(("size_orig", "hog")) == ("hog", "size_orig")


@pytest.mark.parametrize(
    ("features", "deviations", "width"),
    [(FEATURES, False, 15), (FEATURES, True, 28), (("contrast", "hog"), True, 22), (("meanOF",), True, 1)],
)
def test_the_layout_names_every_column_of_a_row(values, features, deviations, width):
    parts = layout(features, deviations=deviations)
    assert parts[-1].stop == width
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert len(clip_row({name: values[name] for name in features}, deviations=deviations)) == width


def test_one_frame_has_no_deviation(values):
    first = {name: value[:1] for name, value in values.items()}
    row = clip_row(first, deviations=True)
    for part in layout(deviations=True):
        if part.statistic == "deviation":
            assert not row[part.start : part.stop].any()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layout(("hog", "sharpness")), "sharpness: the features are hog, brightness"),
        (lambda: layout(()), "no feature: the features are"),
        (lambda: layout(("hog", "hog")), "named twice: hog,hog"),
        (lambda: reference_normalization("lamem", deviations=True), "no constants for deviations over time"),
        (lambda: reference_normalization("ucf101"), "there are constants for memento10k, videomem, lamem"),
    ],
)
def test_unknown_features_and_constants_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_constants_of_the_reference_keep_its_oddity():
    flow, blur = (constants_of_data_sets()["memento10k"][name] for name in ("meanOF", "blurriness"))
    assert blur["mean"][0] / flow["mean"][0] == pytest.approx(1.021, abs=1e-3)
    mean, scale = reference_normalization("memento10k", ("blurriness",))
    assert (12.0 - mean[0]) / scale[0] == pytest.approx(-1.2082, abs=2e-4)
