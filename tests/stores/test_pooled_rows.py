"""Statistics of a clip's rows: those of the whole clip, in whatever blocks it lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from egotools.stores import pooling
from egotools.stores.store import StoredClip

ROWS = arrays(np.float32, some.tuples(some.integers(1, 9), some.integers(1, 3)), elements=some.floats(-8, 8, width=32))


def clip_of(values, cuts=()):
    times = np.stack([np.arange(len(values)), np.arange(len(values)) + 1.0], axis=1)
    return StoredClip([part for part in np.split(values, sorted(cuts)) if len(part)], times, 0)


@given(values=ROWS, cuts=some.sets(some.integers(1, 8), max_size=3), seed=some.integers(0, 5))
def test_blocks_and_order_of_rows_change_no_statistic(values, cuts, seed):
    whole = clip_of(values)
    parts = clip_of(values, {cut for cut in cuts if cut < len(values)})
    mixed = clip_of(np.random.default_rng(seed).permutation(values))
    for statistic in (pooling.mean, pooling.deviation):
        np.testing.assert_allclose(statistic(parts), statistic(whole), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(statistic(mixed), statistic(whole), rtol=1e-12, atol=1e-12)
    for extreme in (pooling.largest, pooling.smallest):
        assert extreme(parts).tolist() == extreme(mixed).tolist() == extreme(whole).tolist()


@given(ROWS)
def test_statistics_are_those_of_loops_over_the_rows(values):
    clip = clip_of(values)
    for column, numbers in enumerate(values.T.tolist()):
        mean = sum(numbers) / len(numbers)
        variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
        assert pooling.mean(clip)[column] == pytest.approx(mean, abs=1e-9)
        assert pooling.deviation(clip)[column] == pytest.approx(variance**0.5, abs=1e-6)
        assert (pooling.smallest(clip)[column], pooling.largest(clip)[column]) == (min(numbers), max(numbers))


def test_many_equal_rows_have_exactly_their_value_as_mean():
    values = np.full((1001, 1), 0.1, np.float16)
    assert pooling.mean(clip_of(values))[0] == float(np.float16(0.1))
    assert pooling.deviation(clip_of(values))[0] == 0.0
    large = np.full((40, 1), 60000, np.float16)  # a float16 sum would be infinite
    assert pooling.mean(clip_of(large, [20]))[0] == float(np.float16(60000))


def test_one_nan_is_seen_in_its_column_alone():
    values = np.array([[1.0, 2.0], [np.nan, 4.0]], np.float32)
    for statistic in (pooling.mean, pooling.deviation, pooling.largest, pooling.smallest):
        assert np.isnan(statistic(clip_of(values, [1]))).tolist() == [True, False]


def test_a_known_mean_is_used():
    clip = clip_of(np.array([[1.0], [3.0]], np.float32))
    assert pooling.deviation(clip)[0] == 1.0
    assert pooling.deviation(clip, np.array([0.0]))[0] == pytest.approx(5**0.5)


def test_a_span_goes_from_the_first_start_to_the_last_end_in_any_order():
    assert pooling.span(np.array([[4.0, 5.0], [1.0, 9.0], [2.0, 3.0]])).tolist() == [[1.0, 9.0]]
