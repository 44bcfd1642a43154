"""Caches as a dataset of PyTorch: what is in an item, and that worker processes read the same."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tabled import IMPORTED, write_cache, write_table
from torch.utils.data import DataLoader

from egotools.errors import StoreError, TableError
from egotools.stores import Source, open_writer
from egotools.tables.cache_dataset import CacheDataset
from egotools.types import Rows

LENGTHS = {"long": 7, "short": 3, "single": 1}  # rows of each clip


def write_rows(path: Path, width: int, *, shift: float = 0.0, ids: Any = LENGTHS) -> Path:
    """A cache in which row k of each clip is full of k, plus 10 times the number of the clip."""
    with open_writer(path, IMPORTED) as writer:
        for number, id in enumerate(ids):
            at = np.arange(LENGTHS[id])
            values = np.repeat(10 * number + at[:, np.newaxis], width, axis=1).astype(np.float32)
            writer.append(id, Rows(values, np.stack([at, at + 1], axis=1) + shift))
            writer.finish(id, Source(""))
        writer.seal()
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    labels = {"verb": ["take", "", "cut"], "score": ["0.5", "0.25", "1"]}
    return write_table(tmp_path / "m.csv", ["short", "long", "single"], labels, ["train", "train", "test"])


@pytest.fixture(params=["a.lmdb", "a.h5"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_rows(tmp_path / request.param, 2)


def test_an_item_is_a_whole_clip_with_its_times(cache: Path) -> None:
    dataset = CacheDataset(str(cache))
    assert [(item["id"], item["values"].shape) for item in dataset] == [
        *(("long", (7, 2)), ("short", (3, 2)), ("single", (1, 2)))
    ]
    assert dataset[1]["values"].tolist() == [[10, 10], [11, 11], [12, 12]]
    assert dataset[-2]["times"].tolist() == [[0, 1], [1, 2], [2, 3]]
    assert set(dataset[0]) == {"id", "values", "times"}
    with pytest.raises(IndexError):
        dataset[3]


def test_an_item_is_a_row(cache: Path) -> None:
    dataset = CacheDataset(cache, item="row")
    assert [item["values"][0].item() for item in dataset] == [*range(7), 10, 11, 12, 20]
    assert dataset[8]["times"].tolist() == [1, 2]
    assert dataset[8]["id"] == "short"


@pytest.mark.parametrize(
    ("length", "hop", "first_rows", "left"),
    [
        (3, None, [0, 3, 10], "1 clip with fewer than 3 rows left out: 'single'"),
        (3, 2, [0, 2, 4, 10], "1 clip with fewer than 3 rows left out: 'single'"),
        (5, 1, [0, 1, 2], "2 clips with fewer than 5 rows left out: 'short', 'single'"),
    ],
)
def test_an_item_is_a_number_of_rows_every_hop(
    cache: Path, length: int, hop: int | None, first_rows: list[int], left: str
) -> None:
    dataset = CacheDataset(cache, item=length, hop=hop)
    assert [item["values"][:, 1].tolist() for item in dataset] == [
        [first + row for row in range(length)] for first in first_rows
    ]
    assert dataset.remarks == (left,)


def test_caches_are_joined_by_id_not_by_position(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.lmdb", 2)
    other = write_rows(tmp_path / "other.lmdb", 1, ids=["single", "long"])
    dataset = CacheDataset([one, other])
    assert [item["id"] for item in dataset] == ["long", "single"]
    assert dataset[0]["values"][3].tolist() == [3, 3, 13]
    assert dataset.width == 3
    assert dataset.remarks == (f"1 clip missing in {other} left out: 'short'",)


def test_caches_of_different_times_are_not_put_beside_each_other(tmp_path: Path) -> None:
    one, other = write_rows(tmp_path / "one.lmdb", 2), write_rows(tmp_path / "other.lmdb", 2, shift=0.5)
    with pytest.raises(TableError, match=r"clip 'long' has 7 rows .* with different times"):
        CacheDataset([one, other])


def test_labels_are_classes_whose_numbers_do_not_depend_on_the_split(cache: Path, manifest: Path) -> None:
    train, test = (CacheDataset(cache, manifest=manifest, label="verb", split=split) for split in ("train", "test"))
    assert train.classes == test.classes == ("cut", "take")
    assert [(item["id"], item["label"].item()) for item in train] == [("short", 1)]
    assert [(item["id"], item["label"].item()) for item in test] == [("single", 0)]
    assert train.remarks == ("1 clip with an empty 'verb' left out: 'long'",)
    with pytest.raises(TableError, match="clip 'short': its verb 'take' is none of the 1 classes"):
        CacheDataset(cache, manifest=manifest, label="verb", classes=["cut"])


def test_labels_that_are_numbers_stay_float32_in_a_batch(cache: Path, manifest: Path) -> None:
    dataset = CacheDataset(cache, manifest=manifest, label="score", label_is_number=True, item="row")
    (batch,) = DataLoader(dataset, batch_size=100)
    assert batch["label"].dtype == torch.float32
    assert batch["label"].tolist() == [0.5] * 3 + [0.25] * 7 + [1]
    with pytest.raises(TableError, match="clip 'short': its verb 'take' is not a number"):
        CacheDataset(cache, manifest=manifest, label="verb", label_is_number=True)


def halved(values: torch.Tensor) -> torch.Tensor:
    return values / 2


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_worker_processes_read_what_this_one_reads(cache: Path, start: str) -> None:
    dataset = CacheDataset([cache], item=2, hop=1, transform=halved)
    dataset[0]  # opened and read here, too
    loader: Callable[..., Any] = DataLoader
    batches = [*loader(dataset, batch_size=3, num_workers=1, multiprocessing_context=start)]
    expected = [dataset[index] for index in range(len(dataset))]
    assert [id for batch in batches for id in batch["id"]] == [item["id"] for item in expected]
    assert torch.equal(torch.cat([batch["values"] for batch in batches]), torch.stack([e["values"] for e in expected]))


def test_a_cache_that_was_replaced_is_not_read_in_its_place(tmp_path: Path) -> None:
    sent = pickle.dumps(CacheDataset(write_rows(tmp_path / "a.lmdb", 2)))
    assert len(sent) < 2000  # no rows
    (tmp_path / "a.lmdb").rename(tmp_path / "old.lmdb")
    write_rows(tmp_path / "a.lmdb", 2)
    with pytest.raises(StoreError, match="another cache has taken its place"):
        pickle.loads(sent)


def test_clips_of_different_lengths_are_padded(cache: Path) -> None:
    (batch,) = DataLoader(CacheDataset(cache), batch_size=3, collate_fn=CacheDataset.padded)
    assert batch["rows"].tolist() == [7, 3, 1]
    assert batch["values"][1, :, 0].tolist() == [10, 11, 12, 0, 0, 0, 0]
    assert batch["times"].shape == (3, 7, 2)
    assert batch["id"] == ["long", "short", "single"]


def test_features_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    path = write_cache(tmp_path / "a.lmdb", ["good", "bad"], np.array([[1.0], [np.nan]]))
    dataset = CacheDataset(path)
    assert dataset[1]["id"] == "good"
    with pytest.raises(TableError, match=r"a\.lmdb: clip 'bad' has NaN or infinite features"):
        dataset[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"item": "window"}, "item is 'clip', 'row' or a number of rows, not 'window'"),
        ({"item": 0}, "item is 'clip', 'row' or a number of rows, not 0"),
        ({"item": "row", "hop": 2}, "hop is a number of rows"),
        ({"label": "verb"}, "give manifest="),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CacheDataset(write_rows(tmp_path / "a.lmdb", 1), **options)
