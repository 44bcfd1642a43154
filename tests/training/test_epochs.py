"""Batches by epochs: every row once an epoch, in an order that follows from seed and epoch, from any batch on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from egotools.errors import TableError
from egotools.training.epochs import batch_count, batches, progress_at, steps_of
from egotools.training.how import How


def listed(first=0, *, rows=7, batch_size=3, epochs=2, seed=0, shuffle=True):
    found = batches(
        first, rows=torch.arange(100, 100 + rows), batch_size=batch_size, epochs=epochs, seed=seed, shuffle=shuffle
    )
    return [(batch.rows.tolist(), batch.progress) for batch in found]


@given(
    rows=some.integers(1, 20), batch_size=some.integers(1, 8), epochs=some.integers(1, 3), first=some.integers(0, 70)
)
def test_beginning_in_the_middle_gives_the_rest_of_the_same_batches(rows, batch_size, epochs, first):
    options = {"rows": rows, "batch_size": batch_size, "epochs": epochs}
    whole = listed(**options)
    assert listed(first, **options) == whole[first:]
    count = batch_count(rows, batch_size)
    assert len(whole) == epochs * count
    for epoch in range(epochs):
        parts = whole[epoch * count : (epoch + 1) * count]
        assert sorted(row for part, _ in parts for row in part) == list(range(100, 100 + rows))
        assert all(len(part) == batch_size for part, _ in parts[:-1])
        assert {progress for _, progress in parts} == {progress_at(epoch, epochs)}


def test_orders_follow_from_seed_and_epoch():
    one, two = listed(rows=20, batch_size=20)
    assert one[0] != two[0]
    assert listed(rows=20, batch_size=20, epochs=1) == [(one[0], 0.0)]
    assert listed(rows=20, batch_size=20, seed=1)[0] != one
    assert listed(shuffle=False)[:3] == [([100, 101, 102], 0.0), ([103, 104, 105], 0.0), ([106], 0.0)]


def test_progress_goes_from_0_to_1():
    assert [progress_at(epoch, 3) for epoch in range(3)] == [0.0, 0.5, 1.0]
    assert progress_at(0, 1) == 0.0


def test_orders_are_those_of_release_0_1():
    """A training that it began is resumed with the same batches."""
    recorded = [[101, 104, 102], [103, 106, 105], [100], [104, 102, 100], [106, 105, 103], [101]]
    assert [rows for rows, _ in listed(seed=5)] == recorded


def test_an_epoch_has_a_step_for_each_group_of_accumulated_batches():
    assert steps_of(10, 4, How()) == 3
    assert steps_of(10, 4, How(accumulate=3)) == 1
    with pytest.raises(TableError, match="10 training rows make 3 batches an epoch, which --accumulate 2"):
        steps_of(10, 4, How(accumulate=2))
