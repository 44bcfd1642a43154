"""The order of examples: by seed and epoch, from any batch on, each process its share of every batch."""

from __future__ import annotations

from itertools import chain, islice

import pytest

from egotools.errors import TrainingError
from egotools.loading.items import random_of
from egotools.loading.order import Order


def test_every_epoch_has_each_example_once_in_an_order_of_its_own():
    order = Order(11, 3, seed=4, epochs=3, drop_last=False)
    batches = list(order.batches())
    assert [len(batch) for batch in batches] == [3, 3, 3, 2] * 3
    epochs = [[index for epoch, index in chain(*batches) if epoch == number] for number in range(3)]
    assert all(sorted(indices) == list(range(11)) for indices in epochs)
    assert epochs[0] != epochs[1] != list(range(11))
    assert batches == list(Order(11, 3, seed=4, epochs=3, drop_last=False).batches())
    assert batches != list(Order(11, 3, seed=5, epochs=3, drop_last=False).batches())


def test_the_last_batch_is_dropped_if_it_is_smaller():
    order = Order(11, 3, seed=4, epochs=2)
    assert [len(batch) for batch in order.batches()] == [3] * 6
    assert order.per_epoch == 3


@pytest.mark.parametrize("drop_last", [True, False])
def test_it_goes_on_from_any_batch(drop_last):
    order = Order(11, 3, seed=4, epochs=3, drop_last=drop_last)
    batches = list(order.batches())
    for first in range(len(batches) + 1):
        assert list(order.batches(first)) == batches[first:]
    endless = Order(11, 3, seed=4, drop_last=drop_last)
    assert list(islice(endless.batches(5), 9))[: len(batches) - 5] == batches[5:]


def test_processes_share_the_batches_of_one_process_with_all_of_them():
    alone = list(Order(23, 6, seed=4, epochs=2).batches())
    shares = [list(Order(23, 3, seed=4, epochs=2, rank=rank, size=2).batches()) for rank in range(2)]
    assert [len(share) for share in shares] == [len(alone)] * 2
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(chain(*parts)) == sorted(whole)
        assert [len(part) for part in parts] == [3, 3]
    unshuffled = [next(Order(23, 3, seed=4, shuffle=False, rank=rank, size=2).batches()) for rank in range(2)]
    assert unshuffled == [[(0, 0), (0, 2), (0, 4)], [(0, 1), (0, 3), (0, 5)]]


def test_too_few_examples_are_refused():
    with pytest.raises(TrainingError, match="5 examples make no batch for --batch-size 6; lower it"):
        Order(5, 6, seed=0)
    with pytest.raises(TrainingError, match="5 examples make no batch for 2 processes with --batch-size 3"):
        Order(5, 3, seed=0, rank=1, size=2, drop_last=False)
    with pytest.raises(ValueError, match="--batch-size must be 1 or above, not 0"):
        Order(5, 0, seed=0)
    with pytest.raises(TrainingError, match="0 examples"):
        Order(0, 1, seed=0, drop_last=False)


def test_chance_depends_on_seed_epoch_and_example():
    drawn = {random_of(*numbers).random() for numbers in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)]}
    assert len(drawn) == 5
    assert random_of(3, 1, 2).random() == random_of(3, 1, 2).random()
