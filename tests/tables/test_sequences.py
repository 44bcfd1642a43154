"""Sequences against recorded outputs of the reference's loaders, and what is refused."""

from __future__ import annotations

from pathlib import Path

import assembly
import numpy as np
import pytest

from egotools.errors import TableError
from egotools.stores.opening import open_store
from egotools.tables.sequences import (
    FeatureSequence,
    Reading,
    Sequences,
    items,
    paired,
    pooled,
    pooled_labels,
    read_sequences,
)

PUBLISHED = Reading(frame_shift=1, shared_span=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("assembly")
    return *assembly.write_lists(folder), assembly.write_features(folder / "tsm.lmdb")


def read(data: tuple[Path, Path, Path], split: str, reading: Reading = PUBLISHED) -> Sequences:
    return read_sequences(data[0], [data[2]], data[1], classes=assembly.CLASSES, splits=[split], reading=reading)


def first_frame(item: FeatureSequence) -> int:
    return round(item.times[0, 0] * assembly.FPS) + 1


def check(case: str, found: list[tuple[FeatureSequence, int]], store: object) -> None:
    """The items, with the rows of a chunk, are the recorded ones of that case."""
    arrays = {name.removeprefix(f"{case}_"): value for name, value in assembly.golden("dataset")[1].items()}
    assert [f"{item.name}%{item.id.rpartition('/')[2]}" for item, _ in found] == [
        name.partition("@")[0] for name in arrays["names"]
    ]
    assert [len(item) for item, _ in found] == arrays["len"].tolist()
    assert [first_frame(item) for item, _ in found] == arrays["start"].tolist()
    assert [chunk for _, chunk in found] == arrays["chunk"].tolist()
    values = np.concatenate([pooled([store], item, chunk) for item, chunk in found])  # type: ignore[list-item]
    np.testing.assert_array_equal(values[:, ::256], arrays["pooled_slice"])
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), arrays["pooled_l2"], rtol=1e-6)
    if not case.startswith("ssl"):  # its labels are never used
        labels = np.concatenate([pooled_labels(item.labels, chunk, len(assembly.CLASSES)) for item, chunk in found])
        np.testing.assert_array_equal(labels, arrays["labels"])


@pytest.mark.parametrize(("case", "slots"), [("val_max1200", 1200), ("val_max8", 8)])
def test_items_of_a_list_are_those_of_the_reference(data, case, slots):
    found = [(item, 20) for each in read(data, "train").sequences for item in items(each, slots * 20)]
    check(case, found, open_store(data[2]))


@pytest.mark.parametrize(("case", "slots"), [("testaug_max1200", 1200), ("testaug_max8", 8)])
def test_items_of_test_time_augmentation_are_those_of_the_reference(data, case, slots):
    found = [
        (item, chunk)
        for each in read(data, "train").sequences
        for chunk in (10, 17, 24)
        for item in items(each, slots * chunk)
    ]
    check(case, found, open_store(data[2]))


def test_pairs_of_views_are_those_of_the_reference(data):
    reading = Reading(frame_shift=1, span_round=1000)
    with pytest.raises(TableError, match="no clip has the view"):
        read(data, "pair", Reading(views=("e9",)))
    by_view = {view: read(data, "pair", Reading((view,), 1, 1000)).sequences for view in ("e4", "v3")}
    pairs = [paired(ego, exo) for ego, exo in zip(by_view["e4"], by_view["v3"], strict=True)]
    arrays = assembly.golden("dataset")[1]
    store = open_store(data[2])
    assert [len(ego) for ego, _ in pairs] == arrays["ssl_val_max1200_len"].tolist(), reading
    for side, name in enumerate(("pooled", "teacher")):
        values = np.concatenate([pooled([store], pair[side], 20) for pair in pairs])
        np.testing.assert_array_equal(values[:, ::256], arrays[f"ssl_val_max1200_{name}_slice"])
