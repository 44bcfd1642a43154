"""Metrics of segments against the reference's figures, against published tables, and at their edges."""

from __future__ import annotations

import fill
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egotools.metrics import segmentation as metrics
from egotools.metrics.segmentation import Segments, runs, scores

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=60)
NOTHING = Segments(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
FIGURES = ("edit", "mof", "f1@10", "f1@25", "f1@50")


def segments(*found: tuple[int, float, float]) -> Segments:
    labels, starts, ends = zip(*found, strict=True)
    return Segments(np.array(labels), np.array(starts, float), np.array(ends, float))


def listed(found: Segments) -> list[tuple[int, float, float]]:
    return list(zip(found.labels.tolist(), found.starts.tolist(), found.ends.tolist(), strict=True))


def in_seconds(found: Segments, offset: float = 0.0) -> Segments:
    """The same at 30 frames a second, with the rounding of a file of six digits."""
    return Segments(found.labels, np.round(found.starts / 30 + offset, 6), np.round(found.ends / 30 + offset, 6))


@pytest.fixture(scope="module")
def recorded():
    with np.load(fill.DATA / "two_stream/metrics.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def pairs(recorded):
    ends = np.cumsum(recorded["lens"])[:-1]
    predicted, true = (np.split(recorded[name], ends) for name in ("pred", "gt"))
    return [(runs(one), runs(other)) for one, other in zip(predicted, true, strict=True)]


@pytest.mark.parametrize(("background", "suffix"), [((), ""), ((0,), "_bg0")])
@pytest.mark.parametrize(
    ("unit", "fps"),
    [(lambda found: found, 1), (in_seconds, 30), (lambda found: in_seconds(found, 1234.5), 30)],
    ids=["frames", "seconds", "seconds of a file"],
)
def test_figures_of_frames_and_of_seconds_are_the_references(pairs, recorded, background, suffix, unit, fps):
    pairs = [(unit(one), unit(true)) for one, true in pairs]
    for (one, true), length, wanted in zip(pairs, recorded["lens"], recorded[f"per_seq{suffix}"], strict=True):
        kept, kept_true = metrics.without(one, background), metrics.without(true, background)
        assert metrics.edit(kept, kept_true) == pytest.approx(wanted[0], abs=1e-9)
        assert metrics.f1_counts(kept, kept_true).ravel().tolist() == wanted[2:].tolist()
        assert np.multiply(metrics.correct(one, true), fps) == pytest.approx([wanted[1], length], abs=2e-3)
    found = scores(pairs, average="corpus", background=background)
    np.testing.assert_allclose(
        [found[name] for name in FIGURES], recorded[f"corpus{suffix}"], atol=1e-9 if fps == 1 else 1e-4
    )
    assert found["total"] == pytest.approx(sum(recorded[f"corpus{suffix}"]), abs=1e-3)
    assert list(found) == ["mof", "edit", "f1@10", "f1@25", "f1@50", "total"]


# data/segmentation/SOURCE.md: accuracy, edit, F1 at 10, 25 and 50 percent.
PUBLISHED = {
    ("gtea", "svm"): (53.70, 35.75, 44.23, 38.16, 27.99),
    ("gtea", "edtcn"): (63.71, 69.89, 73.15, 68.52, 55.60),
    ("gtea", "dilated"): (61.30, 52.86, 60.87, 54.68, 40.23),
    ("50salads_eval", "svm"): (68.14, 28.88, 38.96, 33.64, 25.64),
    ("50salads_eval", "stcnn"): (71.32, 52.87, 61.70, 57.38, 47.25),
    ("50salads_eval", "edtcn"): (73.43, 72.27, 76.47, 73.77, 64.50),
    ("50salads_eval", "dilated"): (71.14, 46.93, 55.80, 52.33, 44.33),
}


@pytest.mark.parametrize(("name", "method"), PUBLISHED)
def test_real_predictions_have_the_figures_of_the_published_table(name, method, shared):
    with np.load(shared / f"data/segmentation/{name}.npz", allow_pickle=False) as arrays:
        videos = sorted({key.rpartition("/")[0] for key in arrays.files if key.startswith(f"{method}/")})
        pairs = [(runs(arrays[f"{video}/P"]), runs(arrays[f"{video}/Y"])) for video in videos]
    found = scores(pairs, average="video", background=(0,))
    assert tuple(round(found[key], 2) for key in ("mof", *FIGURES[:1], *FIGURES[2:])) == PUBLISHED[name, method]


@settings(max_examples=30)
@given(LABELS)
def test_runs_say_every_frame_once_and_no_two_neighbors_the_same(labels):
    found = runs(np.array(labels, np.int32))
    assert np.repeat(found.labels, (found.ends - found.starts).astype(int)).tolist() == labels
    assert (found.labels[1:] != found.labels[:-1]).all()
    assert found.starts.tolist() == [0, *found.ends[:-1].tolist()]


@settings(max_examples=30)
@given(LABELS, LABELS)
def test_the_distance_of_two_lists_is_levenshteins(one, other):
    rows = [list(range(len(other) + 1))]
    for label in one:
        above, row = rows[-1], [rows[-1][0] + 1]
        for place, wanted in enumerate(other):
            row.append(min(above[place + 1] + 1, row[place] + 1, above[place] + (label != wanted)))
        rows.append(row)
    assert metrics.levenshtein(np.array(one), np.array(other)) == rows[-1][-1]


@settings(max_examples=30)
@given(LABELS, LABELS)
def test_time_that_is_right_is_that_of_the_frames(one, other):
    right = sum(a == b for a, b in zip(one, other, strict=False))  # what is not predicted is wrong
    assert metrics.correct(runs(np.array(one)), runs(np.array(other))) == (right, len(other))


def test_a_segment_is_found_once_at_most_and_by_the_first():
    true = segments((1, 0, 10), (2, 10, 20))
    predicted = segments((1, 0, 5), (1, 5, 10), (2, 10, 11), (3, 11, 20))
    assert metrics.f1_counts(predicted, true, (0.1, 0.5, 0.6)).tolist() == [[2, 2, 0], [1, 3, 1], [0, 4, 2]]


def test_an_overlap_of_just_the_threshold_is_enough_in_seconds_too():
    true, predicted = segments((1, 0.1, 0.4)), segments((1, 0.1, 0.25))
    assert (0.25 - 0.1) / (0.4 - 0.1) < 0.5  # 0.5 in frames
    assert metrics.f1_counts(predicted, true, (0.5,)).tolist() == [[1, 0, 0]]


def test_without_true_segments_all_predicted_ones_are_in_vain():
    one = segments((1, 0, 5), (2, 5, 9))
    assert metrics.f1_counts(one, NOTHING).tolist() == [[0, 2, 0]] * 3
    assert metrics.f1_counts(NOTHING, one).tolist() == [[0, 0, 2]] * 3
    assert metrics.edit(one, NOTHING) == metrics.edit(NOTHING, one) == 0
    assert metrics.edit(NOTHING, NOTHING) == 100
    assert metrics.correct(NOTHING, one) == (0, 9)
    assert metrics.correct(one, NOTHING) == (0, 0)


def test_a_sequence_of_background_only_has_figures():
    pair = runs(np.zeros(10, np.int64)), runs(np.zeros(10, np.int64))
    for average in ("corpus", "video"):
        found = scores([pair], average=average, background=(0,))
        assert found == {"mof": 100, "edit": 100, "f1@10": 0, "f1@25": 0, "f1@50": 0, "total": 200}


def test_averages_weigh_time_and_segments_or_videos():
    long_right = runs(np.repeat([1, 2, 3], 30))
    short = runs(np.array([1])), runs(np.array([2]))
    corpus = scores([(long_right, long_right), short], average="corpus")
    video = scores([(long_right, long_right), short], average="video")
    assert (corpus["mof"], corpus["edit"], corpus["f1@50"]) == pytest.approx((100 * 90 / 91, 50, 75))
    assert (video["mof"], video["edit"], video["f1@50"]) == pytest.approx((50, 50, 50))


def test_segments_of_a_file_that_touch_count_as_one_where_their_label_is_the_same():
    written = segments((1, 0, 2), (1, 2, 3), (2, 3, 4), (2, 4.5, 5), (3, 5, 5))
    assert listed(metrics.merged(written)) == [(1, 0, 3), (2, 3, 4), (2, 4.5, 5)]
    assert listed(metrics.merged(NOTHING)) == []
    whole = segments((1, 0, 3), (2, 3, 4), (2, 4.5, 5))
    assert scores([(whole, written)], average="corpus")["total"] == pytest.approx(500)


def test_time_without_a_true_label_is_not_judged_and_without_a_predicted_one_is_wrong():
    true, predicted = segments((1, 0, 2), (2, 5, 9)), segments((1, 1, 7))
    assert metrics.correct(predicted, true) == (1, 6)
    assert metrics.correct(segments((2, 0, 100)), true) == (4, 6)


def test_accuracy_can_be_that_of_some_classes():
    true, predicted = segments((1, 0, 2), (2, 2, 10)), segments((1, 0, 4), (2, 4, 10))
    pairs = [(predicted, true)]
    assert metrics.accuracy(pairs) == 80
    assert metrics.accuracy(pairs, {1}) == 100
    assert metrics.accuracy(pairs, {2, 5}) == 75
    assert np.isnan(metrics.accuracy(pairs, {5}))
    assert listed(metrics.only(true, {2})) == [(2, 2, 10)]


def test_segments_are_cut_at_two_times():
    found = segments((1, 0, 2), (2, 2, 10), (3, 12, 13))
    assert listed(metrics.cut(found, 1, 12)) == [(1, 1, 2), (2, 2, 10)]
    assert listed(metrics.cut(found, 2, 2)) == []


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="2 labels, 1 starts and 2 ends"):
        Segments(np.array([1, 2]), np.array([0.0]), np.array([1.0, 2.0]))
    for wrong in ([(1, 2, 1)], [(1, 0, 2), (2, 1, 3)], [(1, 5, 6), (2, 1, 3)]):
        with pytest.raises(ValueError, match="do not overlap"):
            segments(*wrong)
    with pytest.raises(ValueError, match="no sequences"):
        scores([], average="corpus")
    with pytest.raises(ValueError, match="not 'all'"):
        scores([(NOTHING, NOTHING)], average="all")
