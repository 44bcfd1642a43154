"""The basic types: which clips, rows and windows are valid, and which frame is shown when."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egotools.errors import ClipError, EgotoolsError, ManifestError, MissingExtra, NoSound, RecipeError, StoreError
from egotools.types import LONGEST_ID, Clip, FrameWindows, Rows, VideoInfo


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clip("", Path()), "a clip needs an id"),
        (lambda: Clip("x" * (LONGEST_ID + 1), Path()), "clip 'x{40}'...: the id is longer than 400 bytes"),
        (lambda: Clip("é" * (LONGEST_ID // 2 + 1), Path()), "the id is longer than 400 bytes"),
        (lambda: Clip("\ud800", Path()), "the id cannot be encoded in UTF-8"),  # JSON may hold half a character
        (lambda: Clip("a", Path(), start=-0.1), "clip 'a': start -0.1 is not a time in seconds, 0 or more"),
        (lambda: Clip("a", Path(), start=math.nan), "clip 'a': start nan is not a time"),
        (lambda: Clip("a", Path(), start=math.inf), "clip 'a': start inf is not a time"),
        (lambda: Clip("a", Path(), 1.0, 1.0), "clip 'a': end 1.0 s is not after start 1.0 s"),
        (lambda: Clip("a", Path(), 1.0, 0.5), "clip 'a': end 0.5 s is not after start 1.0 s"),
        (lambda: Clip("a", Path(), 1.0, math.nan), "clip 'a': end nan s is not after start 1.0 s"),
        (lambda: Clip("a", Path(), 1.0, math.inf), "clip 'a': end inf s is not after start 1.0 s"),
    ],
)
def test_a_clip_that_makes_no_sense_is_refused(make: Callable[[], Clip], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        make()


def test_the_longest_id_is_allowed_and_ids_are_composed() -> None:
    assert Clip("é" * (LONGEST_ID // 2), Path()).id == "é" * (LONGEST_ID // 2)
    assert Clip("cafe\u0301", Path()) == Clip("caf\u00e9", Path())


@pytest.mark.parametrize(
    ("values", "times"),
    [((3,), (3, 2)), ((3, 4), (3,)), ((3, 4), (2, 2)), ((3, 4), (3, 3)), ((3, 4, 5), (3, 2))],
)
@pytest.mark.parametrize("kind", [Rows, FrameWindows])
def test_rows_and_windows_need_two_times_each(kind: Any, values: tuple[int, ...], times: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"need .* and times \[T, 2\], not \(3,.*\) and \("):
        kind(np.zeros(values), np.zeros(times))


def test_a_clip_may_have_no_rows() -> None:
    assert len(Rows(np.zeros((0, 5), np.float32), np.zeros((0, 2))).values) == 0


@st.composite
def videos(draw: st.DrawFn) -> VideoInfo:
    steps = draw(st.lists(st.floats(0.01, 2), min_size=1, max_size=12))
    edges = draw(st.floats(0, 3)) + np.concatenate([[0], np.cumsum(steps)])
    return VideoInfo(edges[:-1], float(edges[-1]), 8, 8)


@settings(deadline=None, max_examples=30)
@given(videos(), st.floats(-1, 30))
def test_the_frame_at_a_time_is_the_last_that_began_before_it(video: VideoInfo, seconds: float) -> None:
    shown = 0
    for index, begin in enumerate(video.times):
        if begin <= seconds + 1e-4:
            shown = index
    assert video.at(seconds) == shown
    assert video.at([[seconds, video.times[0]]]).tolist() == [[shown, 0]]


@settings(deadline=None, max_examples=30)
@given(videos())
def test_frames_end_where_the_next_begins_and_the_last_one_with_the_file(video: VideoInfo) -> None:
    assert video.ends[:-1].tolist() == video.times[1:].tolist()
    assert video.ends[-1] == video.end
    assert (video.ends - video.times).mean() == pytest.approx(1 / video.fps)


def test_a_timestamp_rounded_by_a_container_is_the_frame_it_was_meant_to_be() -> None:
    video = VideoInfo(np.array([0.0, 0.03337, 0.06673]), 0.1, 8, 8)
    assert video.at([1001 / 30000, 2002 / 30000]).tolist() == [1, 2]


def test_a_gap_ends_the_frame_before_it_and_does_not_count_for_the_rate() -> None:
    times = np.array([0.0, 0.1, 0.2, 100.0, 100.1])
    video = VideoInfo(times, 100.2, 8, 8, np.array([[0.3, 100.0]]))
    assert video.ends.tolist() == [0.1, 0.2, 0.3, 100.1, 100.2]
    assert video.fps == pytest.approx(10)
    assert VideoInfo(times, 100.2, 8, 8).fps == pytest.approx(5 / 100.2)


def test_errors_are_caught_by_what_they_are_about() -> None:
    assert issubclass(NoSound, ClipError)
    assert issubclass(RecipeError, StoreError)
    for kind in (ClipError, StoreError, ManifestError, MissingExtra):
        assert issubclass(kind, EgotoolsError)
        assert not issubclass(kind, ValueError)


def test_the_error_of_a_missing_library_says_how_to_install_it_and_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(MissingExtra("FAISS", "faiss")))
    assert isinstance(error, MissingExtra)
    assert str(error) == "FAISS is not installed; install it with: pip install 'egotools[faiss]'"
