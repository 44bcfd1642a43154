"""Which frames and times stand for a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from egotools.errors import ClipError
from egotools.sampling import (
    evenly,
    extent,
    floor_linspace,
    frame_stacks,
    frames_inside,
    intervals,
    single_frames,
    spread_frames,
    window_frames,
)
from egotools.types import Clip, VideoInfo

FILE = Path("video.mp4")


def film(frames=20, fps=10.0, first=0.0):
    return VideoInfo(first + np.arange(frames) / fps, first + frames / fps, 64, 48)


def irregular(gaps, first=0.0):
    """A video whose frames are shown for these many seconds each."""
    edges = first + np.concatenate([[0], np.cumsum(gaps)])
    return VideoInfo(edges[:-1], float(edges[-1]), 64, 48)


def clip(start=0.0, end=None):
    return Clip("a", FILE, start, end)


def singles(video, of, *, fps=None, frames=None, stride=None):
    found = single_frames(video, of, fps=fps, frames=frames, stride=stride)
    assert found.frames.shape == (len(found.times), 1)
    assert found.frames.dtype == np.int64
    return found


def stacks(video, of, length, *, fps=None, hop=None, clips=None):
    found = frame_stacks(video, of, length=length, fps=fps, hop=hop, clips=clips)
    assert found.frames.shape == (len(found.times), length)
    assert found.frames.dtype == np.int64
    return found


videos = st.one_of(
    st.builds(film, st.integers(1, 200), st.sampled_from([1, 12.5, 15, 24000 / 1001, 25, 30000 / 1001, 60, 119.88])),
    st.builds(irregular, st.lists(st.floats(0.004, 1.5), min_size=1, max_size=60), st.floats(0, 5)),
)


@st.composite
def videos_with_clips(draw):
    """A video and a stretch of it, from a hundredth of it on."""
    video = draw(videos)
    first, duration = video.times[0], video.end - video.times[0]
    start = first + duration * draw(st.floats(0, 0.98))
    end = start + (video.end - start) * draw(st.floats(0.01, 1))
    return video, clip(start, draw(st.sampled_from([None, end])))


@settings(max_examples=150, deadline=None)
@given(videos_with_clips(), st.floats(0.05, 200))
def test_rows_at_a_rate_lie_in_the_clip_one_after_the_other(pair, fps):
    video, of = pair
    found = singles(video, of, fps=fps)
    end = video.end if of.end is None else of.end
    assert len(found.times) >= 1
    assert (found.times[:, 0] >= of.start - 1e-9).all()
    assert (found.times[:, 1] <= end + 1e-9).all()
    assert (found.times[:, 0] < found.times[:, 1]).all()
    assert np.allclose(np.diff(found.times[:, 0]), 1 / fps)
    assert (np.diff(found.frames[:, 0]) >= 0).all()
    for index, (begins, ends) in zip(found.frames[:, 0], found.times, strict=True):
        shown_until = video.times[index + 1] if index + 1 < len(video) else video.end
        assert video.times[index] < ends + 1e-4  # the frame is on the screen during its row
        assert shown_until > begins - 1e-4


@settings(max_examples=100, deadline=None)
@given(videos_with_clips(), st.integers(1, 40))
def test_a_number_of_rows_is_that_number_over_the_whole_clip(pair, count):
    video, of = pair
    found = singles(video, of, frames=count)
    assert len(found.times) == count
    assert found.times[0, 0] == pytest.approx(of.start)
    assert found.times[-1, 1] == pytest.approx(video.end if of.end is None else of.end)
    assert set(found.frames[:, 0]) <= set(frames_inside(video, of.start, video.end if of.end is None else of.end))
    assert (np.diff(found.frames[:, 0]) >= 0).all()


@settings(max_examples=150, deadline=None)
@given(
    videos_with_clips(),
    st.integers(1, 40),
    st.one_of(st.none(), st.floats(0.5, 60)),
    st.one_of(st.none(), st.floats(0.05, 5)),
    st.one_of(st.none(), st.integers(1, 9)),
)
def test_windows_lie_in_the_clip_and_hold_its_frames_in_order(pair, length, fps, hop, clips):
    video, of = pair
    found = stacks(video, of, length, fps=fps, hop=hop, clips=clips)
    end = video.end if of.end is None else of.end
    inside = frames_inside(video, of.start, end)
    assert len(found.times) == clips if clips is not None else len(found.times) >= 1
    assert found.frames.min() >= inside[0]
    assert found.frames.max() <= inside[-1]
    assert (np.diff(found.frames, axis=1) >= 0).all()
    assert (found.times[:, 0] >= of.start - 1e-6).all()
    assert (found.times[:, 1] <= end + 1e-6).all()
    assert (np.diff(found.times[:, 0]) >= 0).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.sampled_from([10, 15, 24000 / 1001, 25, 30000 / 1001, 59.94, 120]), st.floats(0, 100))
def test_at_its_own_rate_a_video_gives_each_frame_once(frames, fps, first):
    video = film(frames, fps, first)
    assert singles(video, clip(), fps=fps).frames[:, 0].tolist() == list(range(frames))


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 72, 303, 332])
def test_one_row_a_clip_is_the_middle_frame(frames):
    assert singles(film(frames), clip(), frames=1).frames.tolist() == [[frames // 2]]
    assert singles(irregular(np.linspace(0.01, 2, frames)), clip(), frames=1).frames.tolist() == [[frames // 2]]


def test_the_frame_of_a_row_is_the_one_shown_in_its_middle():
    video = irregular([0.1, 0.9, 0.3, 0.7, 1.0])
    found = singles(video, clip(), fps=1)
    wanted = [max(k for k in range(5) if video.times[k] <= middle) for middle in (0.5, 1.5, 2.5)]
    assert found.frames[:, 0].tolist() == wanted
    assert found.times.tolist() == [[0, 1], [1, 2], [2, 3]]


def test_a_last_row_is_kept_when_more_than_half_of_it_is_there():
    assert singles(film(26), clip(), fps=1).times.tolist() == [[0, 1], [1, 2], [2, 2.6]]
    assert singles(film(24), clip(), fps=1).times.tolist() == [[0, 1], [1, 2]]
    assert singles(film(26), clip(), fps=1).frames[:, 0].tolist() == [5, 15, 23]  # the middle of 2.0 to 2.6 s


def test_a_stride_counts_frames_of_the_file_not_of_the_clip():
    found = singles(film(20), clip(0.35, 1.25), stride=4)
    assert found.frames[:, 0].tolist() == [4, 8, 12]
    assert np.allclose(found.times, [[0.4, 0.5], [0.8, 0.9], [1.2, 1.3]])


def test_a_stride_that_falls_beside_a_short_clip_gives_no_row():
    assert len(singles(film(20), clip(0.5, 0.7), stride=10).times) == 0


def test_strides_over_windows_of_a_video_give_what_the_whole_gives():
    whole = singles(film(100), clip(), stride=7).frames[:, 0].tolist()
    parts = [singles(film(100), clip(at, at + 2.5), stride=7).frames[:, 0].tolist() for at in (0, 2.5, 5, 7.5)]
    assert sum(parts, []) == whole  # noqa: RUF017


def test_a_clip_of_less_than_a_frame_gives_the_frame_that_is_shown():
    assert singles(film(20), clip(0.52, 0.54), fps=1).frames.tolist() == [[5]]
    assert singles(film(20), clip(0.52, 0.54), frames=2).frames.tolist() == [[5], [5]]
    assert stacks(film(20), clip(0.52, 0.54), 3).frames.tolist() == [[5, 5, 5]]


def test_windows_follow_each_other_without_a_gap():
    found = stacks(film(20), clip(), 6)
    assert found.frames.tolist() == [list(range(6)), list(range(6, 12)), list(range(12, 18))]
    assert np.allclose(found.times, [[0, 0.6], [0.6, 1.2], [1.2, 1.8]])


def test_windows_every_hop_overlap():
    assert stacks(film(20), clip(), 6, hop=0.5).frames[:, 0].tolist() == [0, 5, 10]


def test_a_window_at_a_rate_takes_the_frames_shown_at_its_middles():
    found = stacks(film(30, fps=30), clip(), 5, fps=10)
    assert found.frames.tolist() == [[1, 4, 7, 10, 13], [16, 19, 22, 25, 28]]


def test_a_rate_above_that_of_the_video_repeats_frames():
    assert stacks(film(4), clip(), 8, fps=20).frames.tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]


def test_a_clip_shorter_than_a_window_repeats_its_last_frame():
    found = stacks(film(20), clip(0.5, 0.8), 6)
    assert found.frames.tolist() == [[5, 6, 7, 7, 7, 7]]
    assert found.times.tolist() == [[0.5, 0.8]]


def test_a_number_of_windows_spreads_from_the_first_to_the_last():
    found = stacks(film(20), clip(), 4, clips=3)
    assert found.frames[:, 0].tolist() == [0, 8, 16]
    assert found.frames[-1].tolist() == [16, 17, 18, 19]


def test_a_video_that_does_not_begin_at_zero_is_told_in_its_own_time():
    video = film(20, first=3.0)
    assert singles(video, clip(), fps=1).times.tolist() == [[3, 4], [4, 5]]
    assert singles(video, clip(4.0), fps=1).frames.tolist() == [[15]]
    assert stacks(video, clip(4.0), 4).times[0].tolist() == [4.0, 4.4]


def test_a_clip_may_end_a_little_after_the_file():
    assert extent(clip(0, 2.09), 0.0, 2.0) == (0.0, 2.0)
    assert singles(film(20), clip(1.0, 2.15), fps=1).times.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (0.0, 2.5, r"video\.mp4: the clip ends at 2\.5 s, the file at 2\.000 s"),
        (2.0, None, r"video\.mp4: the clip begins at 2 s, the file ends at 2\.000 s"),
        (7.0, 9.0, r"video\.mp4: the clip begins at 7 s, the file ends at 2\.000 s"),
    ],
)
def test_a_clip_outside_the_file_is_refused(start, end, text):
    with pytest.raises(ClipError, match=text):
        singles(film(20), clip(start, end), fps=1)
    with pytest.raises(ClipError, match=text):
        stacks(film(20), clip(start, end), 4)


def test_a_clip_before_the_first_frame_is_refused():
    with pytest.raises(ClipError, match=r"the clip ends at 1\.5 s, the file begins at 3\.000 s"):
        singles(film(20, first=3.0), clip(0.5, 1.5), fps=1)


def test_intervals_follow_their_definition():
    for start, end, length, hop in [(0.0, 10.0, 1.0, 1.0), (2.0, 7.3, 2.0, 0.5), (0.0, 0.2, 1.0, 1.0)]:
        wanted, at = [], start
        while not wanted or at + length / 2 <= end + 1e-6:
            wanted.append([at, min(at + length, end)])
            at += hop
        assert np.allclose(intervals(start, end, length, hop), wanted)


def test_equal_parts_meet_and_cover():
    parts = evenly(1.0, 3.0, 4)
    assert parts.tolist() == [[1, 1.5], [1.5, 2], [2, 2.5], [2.5, 3]]


def test_some_sampling_must_be_chosen():
    with pytest.raises(ValueError, match="fps, frames and stride"):
        singles(film(), clip())


def test_a_single_window_is_the_middle_one():
    found = stacks(film(20), clip(), 4, clips=1)
    assert found.frames.tolist() == [[8, 9, 10, 11]]


@settings(deadline=None)
@given(videos_with_clips(), st.integers(1, 60))
def test_frames_spread_over_a_clip_are_nearest_to_equal_steps_from_its_first_to_its_last(pair, count):
    video, part = pair
    windows = spread_frames(video, part, count=count)
    start, end = extent(part, video.times[0], video.end, slack=1 / video.fps)
    inside = frames_inside(video, start, end).tolist()
    (chosen,) = windows.frames.tolist()
    assert len(chosen) == count
    for place, frame in enumerate(chosen):
        wanted = place * (len(inside) - 1) / (count - 1) if count > 1 else 0
        assert abs(frame - inside[0] - wanted) <= 0.5 + 1e-9
    assert chosen[0] == inside[0]
    assert count == 1 or chosen[-1] == inside[-1]
    assert windows.times.tolist() == [[start, end]]


def test_spread_frames_that_fall_between_two_are_rounded_to_even():
    assert spread_frames(film(6), clip(), count=3).frames.tolist() == [[0, 2, 5]]
    assert spread_frames(film(20), clip(0.5, 1.2), count=5).frames.tolist() == [[5, 7, 8, 9, 11]]


def test_frames_of_a_clip_outside_the_file_are_not_spread():
    with pytest.raises(ClipError, match="the clip begins at 5 s"):
        spread_frames(film(20), clip(5.0), count=3)


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16, 32, 125, 128])
def test_evenly_spaced_positions_are_truncated_as_torch_truncates_them(count):
    for total in range(1, 260):
        wanted = torch.linspace(0, total - 1, count).long().numpy()
        np.testing.assert_array_equal(floor_linspace(total, count), wanted, err_msg=f"{count} of {total}")


def test_evenly_spaced_positions_begin_with_a_repeated_one_if_there_is_one_too_few():
    assert floor_linspace(124, 125).tolist() == [0, *range(124)]  # specification of RepLAI, its notation
    assert floor_linspace(9, 8).tolist() == [0, 1, 2, 3, 4, 5, 6, 8]
    with pytest.raises(ValueError, match="8 positions out of 0"):
        floor_linspace(0, 8)


@pytest.mark.parametrize("offset", [0.0, 0.013, 1 / 32, 0.0624])
def test_a_window_has_as_many_frames_as_its_length_says(offset):
    video = film(160, 16.0)
    found = window_frames(video, 3.0 + offset, 3.5 + offset, 8)
    assert found.tolist() == [48 + (offset > 0) + k for k in range(8)]


def test_where_a_window_lies_does_not_change_its_number_of_frames(rng):
    video = film(250, 25.0)
    starts = rng.uniform(0.7, 9.0, 100)
    lasts = {int(window_frames(video, at, at + 0.5, 2)[-1] - window_frames(video, at, at + 0.5, 1)[0]) for at in starts}
    assert lasts == {11}  # half a second is 12.5 frames, always 12 of them


def test_a_window_of_few_frames_repeats_them_and_of_many_leaves_some_out():
    assert window_frames(film(80, 8.0), 2.0, 2.5, 8).tolist() == [16, 16, 16, 17, 17, 18, 18, 19]
    assert window_frames(film(300, 30.0), 1.0, 1.5, 8).tolist() == list(range(30, 46, 2))
    assert window_frames(film(4, 1.0), 1.2, 1.7, 3).tolist() == [1, 1, 1]  # none begins in it
    lost = irregular([0.1] * 10 + [0.2] + [0.1] * 9)  # 0.4 s at 9.52 a second are 4 frames, of which 3 are there
    assert window_frames(lost, 0.9, 1.3, 4).tolist() == [9, 10, 11, 9]


def test_all_frames_of_a_window_include_that_at_its_end():
    assert window_frames(film(), 0.5, 1.0, 6, rule="all").tolist() == [5, 6, 7, 8, 9, 10]
    assert window_frames(film(), 0.5, 1.0, 5).tolist() == [5, 6, 7, 8, 9]
    assert window_frames(film(), 0.0, 9.0, 3, rule="all").tolist() == [0, 9, 19]
