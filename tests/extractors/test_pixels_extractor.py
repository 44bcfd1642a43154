"""Small pictures as features."""

from __future__ import annotations

import numpy as np
import pytest

from egotools.extractors.pixels import Pixels


def rows_of(extractor: Pixels, *frames: np.ndarray) -> np.ndarray:
    return np.asarray(extractor.network()(np.stack([extractor.prepare(frame)[None] for frame in frames])))


def test_each_number_is_the_mean_of_a_part_of_the_frame_as_a_tent_weighs_it():
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:16, 32:] = (255, 51, 0)
    corners = rows_of(Pixels(size=4), frame)[0].reshape(4, 4, 3)
    assert corners[0, 3].tolist() == [1, np.float32(0.2), 0]
    assert not corners[0, 0].any()
    assert not corners[3].any()


def test_gray_is_the_luminance(rng):
    frames = np.repeat(rng.integers(0, 256, (3, 1, 1, 3), dtype=np.uint8), 20, axis=1).repeat(30, axis=2)
    rows = rows_of(Pixels(size=2, gray=True), *frames)
    wanted = frames[:, 0, 0] @ np.array([0.299, 0.587, 0.114]) / 255
    np.testing.assert_allclose(rows, np.repeat(wanted[:, None], 4, axis=1), atol=0.6 / 255)


@pytest.mark.parametrize("size", [0, 257])
def test_a_size_without_a_use_is_refused(size):
    with pytest.raises(ValueError, match="--size must be from 1 to 256"):
        Pixels(size=size)
