"""Rows and windows of clips in files with gaps, and limits of what can be sampled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egotools.errors import ClipError
from egotools.sampling import (
    MOST_FRAMES,
    MOST_ROWS,
    check_rows,
    evenly,
    extent,
    frame_stacks,
    frames_inside,
    intervals,
    near,
    single_frames,
    spread_frames,
)
from egotools.types import Clip, FrameWindows, VideoInfo

# Two recordings of one second each at 10 Hz, and 98 s without frames between them.
TIMES = np.concatenate([np.arange(10) / 10, 99 + np.arange(10) / 10])
GAP = (1.0, 99.0)
BROKEN = VideoInfo(TIMES, 100.0, 8, 8, np.array([GAP]))


def clip(start: float = 0.0, end: float | None = None) -> Clip:
    return Clip("a", Path("video.mp4"), start, end)


def singles(of: Clip, **how: float | int) -> FrameWindows:
    return single_frames(BROKEN, of, **{"fps": None, "frames": None, "stride": None, **how})  # type: ignore[arg-type]


def test_no_rows_are_made_in_a_gap() -> None:
    found = singles(clip(), fps=5)
    assert len(found.times) == 10
    assert found.frames[:, 0].tolist() == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    middles = found.times.mean(axis=1)
    assert not ((middles > GAP[0]) & (middles < GAP[1])).any()


def test_a_number_of_frames_is_spread_over_what_is_left_without_the_gap() -> None:
    found = singles(clip(), frames=4)
    assert found.frames[:, 0].tolist() == [2, 7, 12, 17]
    np.testing.assert_allclose(found.times, [[0, 0.5], [0.5, 99.0], [99.0, 99.5], [99.5, 100.0]])


def test_a_strided_frame_ends_at_the_gap() -> None:
    found = singles(clip(), stride=9)
    assert found.frames[:, 0].tolist() == [0, 9, 18]
    np.testing.assert_allclose(found.times, [[0, 0.1], [0.9, 1.0], [99.8, 99.9]])


def test_windows_of_frames_have_their_middle_outside_the_gap() -> None:
    found = frame_stacks(BROKEN, clip(), length=5, fps=None, hop=None, clips=None)
    assert found.frames[0].tolist() == [0, 1, 2, 3, 4]
    assert found.frames[-1].tolist() == [15, 16, 17, 18, 19]
    assert len(found.times) == 4
    assert near(found.times, BROKEN.gaps).all()


def test_a_number_of_windows_is_spread_over_what_is_left_without_the_gap() -> None:
    found = frame_stacks(BROKEN, clip(), length=5, fps=None, hop=None, clips=4)
    np.testing.assert_allclose(found.times[:, 0], [0.0, 0.5, 99.0, 99.5])
    assert found.frames[:, 0].tolist() == [0, 5, 10, 15]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), min_size=1, max_size=6),
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), max_size=3),
)
def test_a_window_is_near_frames_if_its_middle_lies_in_no_gap(
    times: list[tuple[float, float]], gaps: list[tuple[float, float]]
) -> None:
    found = near(np.array(times), np.array(gaps).reshape(-1, 2))
    expected = [not any(begin <= (a + b) / 2 < end for begin, end in gaps) for a, b in times]
    assert found.tolist() == expected


@settings(deadline=None, max_examples=40)
@given(st.floats(0, 100), st.floats(0.1, 100), st.integers(1, 20))
def test_equal_parts_are_equal_and_adjacent(start: float, length: float, count: int) -> None:
    parts = evenly(start, start + length, count)
    assert (parts[0, 0], parts[-1, 1]) == (start, start + length)
    assert parts[1:, 0].tolist() == parts[:-1, 1].tolist()
    np.testing.assert_allclose(np.diff(parts, axis=1), length / count, atol=1e-9)


@pytest.mark.parametrize(("start", "end", "found"), [(0.0, None, (0.5, 2.0)), (0.7, 1.5, (0.7, 1.5)), (1, 2.2, (1, 2))])
def test_a_clip_covers_the_part_of_the_file_that_exists(start: float, end: float | None, found: object) -> None:
    assert extent(clip(start, end), 0.5, 2.0, slack=0.11) == found


def test_a_clip_may_end_after_the_file_by_the_slack_and_not_more() -> None:
    assert extent(clip(0, 2.3), 0.0, 2.0, slack=0.25) == (0.0, 2.0)
    with pytest.raises(ClipError, match=r"video\.mp4: the clip ends at 2\.4 s, the file at 2\.000 s"):
        extent(clip(0, 2.4), 0.0, 2.0, slack=0.25)


@pytest.mark.parametrize(
    "sample",
    [
        lambda: check_rows(MOST_ROWS + 1),
        lambda: check_rows(float("nan")),
        lambda: intervals(0.0, 1e9, 0.01, 0.01),
        lambda: singles(clip(), fps=1e6),
        lambda: singles(clip(), frames=MOST_ROWS + 1),
        lambda: frame_stacks(BROKEN, clip(), length=4, fps=None, hop=1e-6, clips=None),
        lambda: frame_stacks(BROKEN, clip(), length=4, fps=None, hop=None, clips=MOST_ROWS + 1),
    ],
)
def test_an_absurd_number_of_rows_is_refused_before_memory_is_allocated(sample: Callable[[], object]) -> None:
    with pytest.raises(ClipError, match="rows for one clip, at most 10000000 are possible"):
        sample()


def test_the_largest_number_of_rows_is_allowed() -> None:
    check_rows(MOST_ROWS)
    check_rows(0)


def test_all_frames_of_a_clip_are_one_window_unless_they_are_too_many() -> None:
    found = spread_frames(BROKEN, clip(0.25, 99.35), count="all")
    assert found.frames.tolist() == [[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]]
    assert found.times.tolist() == [[0.25, 99.35]]
    long = VideoInfo(np.arange(MOST_FRAMES + 1.0), MOST_FRAMES + 1.0, 8, 8)
    assert spread_frames(long, clip(0, MOST_FRAMES), count="all").frames.shape == (1, MOST_FRAMES)
    with pytest.raises(ClipError, match=f"the clip has {MOST_FRAMES + 1} frames, but --frames all reads at most"):
        spread_frames(long, clip(), count="all")


def test_frames_belong_to_the_part_in_which_they_begin() -> None:
    assert frames_inside(BROKEN, 0.2, 0.5).tolist() == [2, 3, 4]
    assert frames_inside(BROKEN, 0.21, 0.5).tolist() == [3, 4]
    assert frames_inside(BROKEN, 0.21, 0.29).tolist() == [2]  # none begins there: the one that is shown
    assert frames_inside(BROKEN, 0.95, 99.05).tolist() == [10]
