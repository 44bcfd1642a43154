"""Pooled items: the reference's zooms, batches by seed and epoch, tables computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_sequences import check, data, read

from egotools.errors import OutputError
from egotools.stores.opening import open_store
from egotools.tables.chunks import Chunking, PooledItems, draws, padded, zoomed
from egotools.tables.sequences import items, pooled

__all__ = ["data"]  # a fixture


@pytest.mark.parametrize(("case", "slots"), [("train_max1200", 1200), ("train_max18", 18)])
def test_zooms_are_those_of_the_reference(data, case, slots):
    found = []
    for each in read(data, "train").sequences:
        for item in items(each, slots * 20):
            for seed in range(8):
                random = np.random.RandomState(seed)
                is_zoomed = random.randint(0, 2) == 0
                position = random.random_sample()
                found.append((item, zoomed(len(item), Chunking(20, slots), position) if is_zoomed else 20))
    check(case, found, open_store(data[2]))


def test_batches_from_the_middle_are_those_of_the_whole():
    lengths = [100 * number + 7 for number in range(11)]
    for sort in (False, True):
        options = {"batch_size": 4, "epochs": 5, "seed": 3, "sort": sort}
        whole = list(draws(0, lengths, Chunking(), **options))
        assert list(draws(7, lengths, Chunking(), **options)) == whole[7:]
        assert [sorted(n for draw in whole[at : at + 3] for n in draw.items) for at in (0, 3)] == [[*range(11)]] * 2
        assert whole[0] != whole[3]


def test_sorted_batches_need_less_padding():
    lengths = np.random.default_rng(0).integers(100, 20000, 256).tolist()
    longest = {
        sort: sum(
            max(lengths[n] for n in draw.items)
            for draw in draws(0, lengths, Chunking(), batch_size=8, epochs=3, seed=0, sort=sort)
        )
        for sort in (False, True)
    }
    assert longest[True] < 0.75 * longest[False]


def test_chunks_are_computed_once_and_leave_nothing(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = read(data, "train").sequences
    folder = tmp_path / "run" / "chunks"
    folder.mkdir(parents=True)
    (folder / "left by a killed process").touch()
    calls = []
    monkeypatch.setattr("egotools.tables.chunks.pooled", lambda *given: calls.append(given) or pooled(*given))
    with PooledItems(found, [data[2]], folder) as table:
        for _ in range(2):
            for number, chunk in ((2, 20), (0, 20), (1, 13)):
                expected = pooled([open_store(data[2])], found[number], chunk)
                np.testing.assert_array_equal(table(number, chunk), expected)
        assert len(calls) == 3
        values, counts = padded([table(0, 20), table(1, 13)], 40)
        assert counts.tolist() == [len(table(0, 20)), len(table(1, 13))]
        assert not values[0, counts[0] :].any()
    assert not folder.exists()


def test_a_full_disk_is_an_error_of_one_line(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("egotools.tables.chunks.os.pwrite", full)
    found = read(data, "train").sequences
    with PooledItems(found, [data[2]], tmp_path / "c") as table, pytest.raises(OutputError, match="No space left"):
        table(0, 20)
