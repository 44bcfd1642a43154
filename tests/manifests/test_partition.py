"""Windows cover a clip in order; splits keep groups together and meet their fractions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egotools.errors import ManifestError
from egotools.manifests.partition import cut_windows, split_clips, windows
from egotools.types import Clip


@pytest.mark.parametrize(
    ("stretch", "options", "expected"),
    [
        ((0, 6), {"length": 2}, [(0, 2), (2, 4), (4, 6)]),
        ((0, 5), {"length": 2}, [(0, 2), (2, 4), (4, 5)]),  # half a length is kept
        ((0, 4.9), {"length": 2}, [(0, 2), (2, 4)]),
        ((0, 4.9), {"length": 2, "min_length": 0.5}, [(0, 2), (2, 4), (4, 4.9)]),
        ((0, 5), {"length": 4, "hop": 1}, [(0, 4), (1, 5)]),
        ((0, 5.5), {"length": 4, "hop": 1}, [(0, 4), (1, 5), (2, 5.5)]),
        ((0, 5), {"length": 1, "hop": 2}, [(0, 1), (2, 3), (4, 5)]),
        ((0, 0.5), {"length": 2}, []),
        ((0, 0.3), {"length": 0.1}, [(0, 0.1), (0.1, 0.2), (0.2, 0.3)]),  # 3 * 0.1 > 0.3 in binary
    ],
)
def test_pieces_of_a_clip(stretch, options, expected):
    clip = Clip("a", Path("/v.mp4"), *map(float, stretch))
    assert cut_windows(clip, (0.0, 100.0), **options) == [pytest.approx(piece) for piece in expected]


def test_pieces_begin_with_the_first_frame_and_end_with_the_file():
    clip = Clip("a", Path("/v.mp4"), 0.0, 50.0)
    assert cut_windows(clip, (1.4, 5.4), length=2) == [(1.4, 3.4), (3.4, 5.4)]


@given(
    st.floats(0, 3600), st.floats(0.1, 600), st.floats(0.1, 30), st.floats(0.1, 2), st.sampled_from([None, 0.0, 0.1])
)
@settings(deadline=None)
def test_pieces_are_in_order_inside_and_cover_all_but_a_short_rest(start, duration, length, overlap, shortest):
    end = start + min(duration, 500 * length)
    hop = min(length * overlap, length)
    pieces = cut_windows(Clip("a", Path("/v")), (start, end), length=length, hop=hop, min_length=shortest)
    assert pieces == sorted(set(pieces))
    assert all(start - 1e-5 <= first < last <= end + 1e-5 and last - first <= length + 1e-5 for first, last in pieces)
    covered = pieces[-1][1] if pieces else start
    assert end - covered <= (length / 2 if shortest is None else shortest) + hop + 1e-5


def test_pieces_keep_labels_and_sort_in_time_order():
    clip = Clip("walk", Path("/v.mp4"), 0.0, 30.0, "train", {"video": "v"}, fps=10.0)
    pieces = windows([clip], {"walk": (0.0, 30.0)}, length=0.002)
    assert [piece.id for piece in pieces] == sorted(piece.id for piece in pieces)
    assert (pieces[0].id, pieces[-1].id) == ("walk/00000", "walk/14999")
    assert pieces[1] == Clip("walk/00001", Path("/v.mp4"), 0.002, 0.004, "train", {"video": "v"}, 10.0)


def test_cutting_twice_changes_nothing():
    clips = [Clip("a", Path("/v.mp4")), Clip("b", Path("/w.mp4"), 0.0, 0.4)]
    spans = {"a": (0.033, 7.4), "b": (0.0, 9.0)}
    for options in ({"length": 2.0}, {"length": 3.0, "hop": 0.7}):
        once = windows(clips, spans, **options)
        assert once[-1] == clips[1]
        twice = windows(once, {clip.id: spans[clip.id.split("/")[0]] for clip in once}, **options)
        assert twice == once


def test_a_clip_of_unknown_span_stays():
    clip = Clip("a", Path("/broken.mp4"))
    assert windows([clip], {}, length=1.0) == [clip]


def test_ids_of_pieces_meet_no_other_clip():
    clips = [Clip("a", Path("/v.mp4"), 0.0, 4.0), Clip("a/0001", Path("/w.mp4"), 0.0, 1.0)]
    cut = windows(clips, {clip.id: (0.0, 9.0) for clip in clips}, length=2.0)
    assert [clip.id for clip in cut] == ["a/00000", "a/00001", "a/0001"]


def test_pieces_of_no_length_are_refused():
    with pytest.raises(ValueError, match="length 0"):
        cut_windows(Clip("a", Path("/v")), (0.0, 1.0), length=0)


# Splits


def clips_of(groups: dict[str, int], label: str = "") -> list[Clip]:
    return [
        Clip(f"{label}{group}-{index}", Path(), labels={"video": f"{label}{group}", "action": label})
        for group, count in groups.items()
        for index in range(count)
    ]


@given(
    st.lists(st.integers(1, 9), min_size=3, max_size=30),
    st.sampled_from([{"train": 0.8, "val": 0.1, "test": 0.1}, {"train": 0.5, "test": 0.5}]),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_groups_stay_together_and_no_split_is_empty(sizes, fractions, seed):
    clips = clips_of({str(index): size for index, size in enumerate(sizes)})
    result = split_clips(clips, by="video", fractions=fractions, seed=seed)
    assert [clip.id for clip in result] == [clip.id for clip in clips]
    splits = {clip.labels["video"]: {other.split for other in result if other.labels == clip.labels} for clip in result}
    assert all(len(names) == 1 for names in splits.values())
    counts = Counter(clip.split for clip in result)
    assert set(counts) == set(fractions)
    if len(sizes) >= 10 * len(fractions):
        for name, fraction in fractions.items():
            assert abs(counts[name] - fraction * len(clips)) <= max(sizes) + 1e-9


def test_fractions_are_met_exactly_where_they_can_be():
    result = split_clips(clips_of(dict.fromkeys(map(str, range(100)), 3)), by="id", fractions={"a": 0.7, "b": 0.3})
    assert Counter(clip.split for clip in result) == {"a": 210, "b": 90}


def test_the_seed_decides_and_the_order_of_rows_does_not():
    clips = clips_of(dict.fromkeys(map(str, range(40)), 2))
    fractions = {"train": 0.5, "test": 0.5}
    first = {clip.id: clip.split for clip in split_clips(clips, by="video", fractions=fractions, seed=1)}
    again = {clip.id: clip.split for clip in split_clips(clips[::-1], by="video", fractions=fractions, seed=1)}
    other = {clip.id: clip.split for clip in split_clips(clips, by="video", fractions=fractions, seed=2)}
    assert first == again != other


def test_stratified_splits_hold_every_label_in_the_same_share():
    clips = [*clips_of(dict.fromkeys(map(str, range(50)), 1), "walk"), *clips_of(dict.fromkeys("abcdefghij", 1), "run")]
    result = split_clips(clips, by="video", fractions={"train": 0.8, "test": 0.2}, stratify="action")
    counts = Counter((clip.labels["action"], clip.split) for clip in result)
    expected = {("walk", "train"): 40, ("walk", "test"): 10, ("run", "train"): 8, ("run", "test"): 2}
    assert counts == expected


def test_labels_of_one_group_each_do_not_all_go_one_way():
    clips = [clip for label in "abcdefghij" for clip in clips_of({"x": 1}, label)]
    result = split_clips(clips, by="video", fractions={"train": 0.5, "test": 0.5}, stratify="action")
    assert Counter(clip.split for clip in result) == {"train": 5, "test": 5}


def test_splitting_needs_the_column_filled_and_groups_enough():
    clips = clips_of({"a": 3, "b": 1})
    with pytest.raises(ManifestError, match="no column 'subject' in the manifest; choose from id, path, split, video"):
        split_clips(clips, by="subject", fractions={"train": 0.5, "test": 0.5})
    with pytest.raises(ManifestError, match="column 'video' has 2 values, too few for 3 splits"):
        split_clips(clips, by="video", fractions={"train": 0.8, "val": 0.1, "test": 0.1})
    with pytest.raises(ManifestError, match="clip 'a-0': no value in column 'action'"):
        split_clips(clips, by="action", fractions={"train": 0.5, "test": 0.5})
    with pytest.raises(ValueError, match=r"sum to 0\.9"):
        split_clips(clips, by="video", fractions={"train": 0.8, "test": 0.1})
