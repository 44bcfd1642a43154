"""Stamps of frames that a file got wrong: 60 frames, one tick each, 30 ticks a second, unless a test says otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from egotools.media.stamps import Repaired, gaps, remarks, repaired

RIGHT = np.arange(60.0)
HOUR = 30 * 3600


def repair(stamps: np.ndarray) -> Repaired:
    return repaired(np.array(stamps, np.float64), usual=1.0, second=30.0)


def changed(frames: slice | int, by: float) -> np.ndarray:
    stamps = RIGHT.copy()
    stamps[frames] += by
    return stamps


@pytest.mark.parametrize(
    "stamps",
    [
        pytest.param(changed(30, 500 * 30), id="one 500 s late"),
        pytest.param(changed(30, -25), id="one early"),
        pytest.param(changed(7, 2.5), id="one late by a little"),
        pytest.param(changed(7, -3.5), id="one early by a little"),
        pytest.param(changed(slice(20, 40), 500 * 30), id="twenty late"),
        pytest.param(changed(slice(20, 40), -500 * 30), id="twenty early"),
        pytest.param(changed(0, 9 * HOUR), id="the first late"),
        pytest.param(changed(0, -9 * HOUR), id="the first early"),
        pytest.param(changed(59, 25 * HOUR), id="the last late"),
        pytest.param(changed(slice(58, 60), 100 * 30), id="the last two late"),
        pytest.param(changed(59, -40), id="the last early"),
        pytest.param(changed(30, np.nan), id="one missing"),
        pytest.param(changed(slice(1, 60), np.nan), id="all but the first missing"),
        pytest.param(changed(30, -1), id="one repeated"),
        pytest.param(RIGHT // 4 * 4, id="four frames a stamp"),
        pytest.param(RIGHT * 0, id="all the same"),
        pytest.param(np.tile(RIGHT[:10], 6), id="a clock that restarts five times"),
        pytest.param(np.append(RIGHT[:30] + 3000, RIGHT[:30] + 300) - 3000, id="a clock that goes back"),
        pytest.param(RIGHT.reshape(-1, 4)[:, [0, 2, 3, 1]].ravel(), id="in the order of decoding"),
    ],
)
def test_wrong_stamps_are_repaired_where_they_are(stamps: np.ndarray) -> None:
    found = repair(stamps)
    np.testing.assert_allclose(found.stamps, RIGHT, atol=1e-9)


@pytest.mark.parametrize(
    "stamps",
    [
        pytest.param(changed(slice(30, 60), 10 * 30), id="a pause of 10 s"),
        pytest.param(changed(slice(30, 60), 50 * HOUR), id="a pause of two days"),
        pytest.param(RIGHT * 30 * 600, id="a picture every ten minutes"),
        pytest.param(np.array([0, 300, 18000, 36000, 36300]), id="slides"),
        pytest.param(np.cumsum(1 + 17 * (RIGHT % 7)), id="a variable rate"),
    ],
)
def test_stamps_that_ascend_stay_as_they_are(stamps: np.ndarray) -> None:
    found = repair(stamps)
    assert found.stamps.tolist() == stamps.tolist()
    assert remarks(stamps, found, second=30.0) == []


def test_a_wrong_stamp_beside_a_pause_is_near_its_neighbors() -> None:
    stamps = changed(slice(30, 60), 300)
    stamps[30] = 15000
    found = repair(stamps).stamps
    assert found[:30].tolist() == stamps[:30].tolist()
    assert found[31:].tolist() == stamps[31:].tolist()
    assert 29 < found[30] < 331


def test_what_was_repaired_is_said() -> None:
    stamps = changed(30, 15000)
    stamps[9], stamps[-1] = stamps[8], 25 * HOUR
    said = remarks(stamps, repair(stamps), second=30.0)
    assert said == [
        "frame 30 has timestamp 501.000 s, out of order; it is shown at 1.000 s",
        "frame 59 has timestamp 90000.000 s, far from all others; it is shown at 1.967 s",
        "1 frame has the timestamp of the one before (frame 9 at 0.267 s); each is shown between its neighbors",
    ]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        (changed(slice(30, 60), 10 * 30), []),
        (changed(slice(30, 60), 100 * 30), [[30, 3030]]),  # longer than a minute and than all the rest
        (changed(slice(30, 60), 2 * HOUR), [[30, 30 + 2 * HOUR]]),
        (RIGHT * 2 * HOUR, []),
        (np.append(np.arange(9000.0), 9000 + 200 * 30), []),
    ],
)
def test_a_gap_is_longer_than_any_pause(stamps: np.ndarray, expected: list[list[float]]) -> None:
    assert gaps(stamps, step=repair(stamps).step, second=30.0).tolist() == expected


def test_whatever_the_stamps_are_they_ascend_afterwards(rng: np.random.Generator) -> None:
    for _ in range(500):
        stamps = np.cumsum(rng.integers(1, 4, rng.integers(1, 80))).astype(np.float64)
        for _ in range(rng.integers(0, 6)):
            begin, count, kind = rng.integers(len(stamps)), rng.integers(1, 20), rng.integers(4)
            part = slice(begin, begin + count)
            if kind == 0:
                stamps[part] = np.nan
            elif kind == 1:
                stamps[part] = rng.permutation(stamps[part])
            else:
                stamps[begin : None if kind == 2 else begin + count] += rng.integers(-(10**5), 10**5)
        found = repair(stamps)
        assert found.stamps.shape == stamps.shape
        assert (np.diff(found.stamps) > 0).all()
