"""Cached features as inputs of a network: groups of columns in a fixed order, cluster indices as one-hot vectors.

Axes: N clips, D features of all groups together, K clusters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.config import plain
from egotools.errors import TableError
from egotools.stores.opening import open_store
from egotools.stores.store import Store, classes_of
from egotools.tables.table import Table, read_table

RAW = "m3s"
SIMILARITY = "similarity"
ORDER = (
    RAW,
    "hrnet",
    "csn",
    f"{SIMILARITY}-hrnet",
    f"{SIMILARITY}-csn",
    SIMILARITY,
)  # the order of the published weights


@dataclass(frozen=True)
class Group:
    """One cache's features among the columns: `start` to `stop`. Any: JSON values of the recipe."""

    name: str  # the stem of the cache's file name
    cache: Path
    start: int
    stop: int
    classes: int | None  # number of clusters, for one-hot vectors; None: plain numbers
    identity: Mapping[str, Any]
    origin: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The extractor or derivation behind it, as far as order and normalization depend on it."""
        return _kind(self.name, self.identity)

    @property
    def tier(self) -> str:
        """The group that it counts as in an ablation: all similarities are one."""
        return SIMILARITY if self.kind.startswith(SIMILARITY) else self.name

    @property
    def width(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class Features:
    """The table of a manifest's clips, and the group of each of its columns."""

    table: Table
    groups: tuple[Group, ...]


def read_features(
    manifest: Path,
    caches: Sequence[Path],
    *,
    labels: Sequence[str] | None = None,
    groups_of_run: Sequence[Group] | None = None,
) -> Features:
    """The features of a manifest's clips, one row per clip, in the order raw, hrnet, csn, similarity, others.

    Args:
        manifest: lists the clips.
        caches: their features.
        labels: the manifest's label columns to read; None: all.
        groups_of_run: the groups that a run was trained on, which `caches` match (`egotools.tables.matching`):
            the result has their order and names.

    Raises:
        TableError: two caches have the same name, no clip is in every cache, NaN, invalid cluster indices, a group has
            another width than in the run.
    """
    stores = [open_store(path) for path in caches]
    if groups_of_run is None:
        stores = _ordered(stores)
    groups = _groups(stores)
    if groups_of_run is not None:
        groups = _as_in_run(groups, groups_of_run)
    table = read_table(manifest, [store.path for store in stores], labels=labels)
    if any(group.classes is not None for group in groups):
        values = np.concatenate(list(_expanded(table, stores, groups)), axis=1)
        table = replace(table, values=values)
    return Features(table, groups)


def only(features: Features, names: Sequence[str]) -> Features:
    """The columns of some groups, for the same clips."""
    kept, start = [], 0
    for group in features.groups:
        if group.name in names:
            kept.append(replace(group, start=start, stop=start + group.width))
            start += group.width
    columns = [features.table.values[:, g.start : g.stop] for g in features.groups if g.name in names]
    return Features(replace(features.table, values=np.concatenate(columns, axis=1)), tuple(kept))


def _as_in_run(groups: Sequence[Group], wanted: Sequence[Group]) -> tuple[Group, ...]:
    """The groups by the names that a run uses for them."""
    for group, there in zip(groups, wanted, strict=True):
        if group.width != there.width:
            raise TableError(
                f"{group.cache} has {group.width} columns, but the run was trained on {there.width} of {there.name!r}"
            )
    return tuple(replace(group, name=there.name) for group, there in zip(groups, wanted, strict=True))


def _ordered(stores: Sequence[Store]) -> list[Store]:
    names = [store.path.stem for store in stores]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise TableError(f"two caches are named {twice}: feature groups are identified by that name, so rename one")

    def place(store: Store) -> int:
        return ORDER.index(kind) if (kind := kind_of(store)) in ORDER else len(ORDER)

    return sorted(stores, key=place)  # stable: others stay in the given order


def kind_of(store: Store) -> str:
    """The extractor or derivation of a cache, as far as order and normalization depend on it."""
    return _kind(store.path.stem, store.recipe.identity)


def _kind(name: str, identity: Mapping[str, Any]) -> str:
    if identity.get("derivation") == SIMILARITY or name.startswith(SIMILARITY):
        return name if name in ORDER else SIMILARITY
    extractor = str(identity.get("extractor"))
    return extractor if extractor in ORDER else name


def _groups(stores: Sequence[Store]) -> tuple[Group, ...]:
    groups, start = [], 0
    for store in stores:
        classes, identity, origin = classes_of(store.recipe), plain(store.recipe.identity), plain(store.recipe.origin)
        stop = start + (store.width if classes is None else classes)
        groups.append(Group(store.path.stem, store.path, start, stop, classes, identity, origin))
        start = stop
    return tuple(groups)


def _expanded(table: Table, stores: Sequence[Store], groups: Sequence[Group]) -> Any:
    """The columns [N, D] of each group."""
    at = 0
    for store, group in zip(stores, groups, strict=True):
        values = table.values[:, at : at + store.width]
        at += store.width
        yield values if group.classes is None else one_hot(values, group)


def one_hot(values: npt.NDArray[np.float32], group: Group) -> npt.NDArray[np.float32]:
    """Cluster indices [N, 1], -1 for none, to one-hot vectors [N, K]."""
    numbers = values[:, 0].astype(np.int64)
    classes = group.classes or 0
    if values.shape[1] != 1 or (numbers != values[:, 0]).any() or (numbers < -1).any() or (numbers >= classes).any():
        raise TableError(f"{group.cache}: its rows are not indices of {classes} clusters; rebuild it")
    hot = np.zeros((len(numbers), classes), np.float32)
    rows = np.flatnonzero(numbers >= 0)
    hot[rows, numbers[rows]] = 1
    return hot
