"""A function in processes of its own: what takes one down takes its item, and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from egotools.errors import EgotoolsError
from egotools.processes import Crash, apart


def squared(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 7:
        raise ValueError("no sevens")
    return number * number


def test_an_item_that_takes_its_process_down_is_named_and_the_others_go_on():
    found = dict(apart(squared, [1, 2, 3, 4, 5], count=2))
    assert found == {1: 1, 2: 4, 3: Crash(-signal.SIGSEGV), 4: 16, 5: 25}


def test_a_mistake_of_the_function_is_no_crash():
    with pytest.raises(EgotoolsError, match="failed on 7"):
        list(apart(squared, [1, 7], count=1))


def test_nothing_to_do_starts_nothing():
    assert list(apart(squared, [], count=0)) == []


def test_who_stops_early_leaves_no_process():
    found = apart(squared, range(100, 200), count=2)
    next(found)
    found.close()
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]
