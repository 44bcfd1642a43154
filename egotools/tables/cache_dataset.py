"""Caches as a dataset of PyTorch: clips, rows or runs of rows, read from disk when they are asked for.

Axes: C clips, N items, T rows of a clip, L rows of an item, B items of a batch, D features of all caches together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, default_collate

from egotools.errors import TableError
from egotools.manifests.table import column_of, read_manifest
from egotools.stores.opening import open_store
from egotools.stores.store import Store
from egotools.tables.joining import SAME_TIME, count_named, listed, not_joined, present_in_all, row_counts, shared_clips
from egotools.texts import tidy
from egotools.types import Clip, IntArray

Item = dict[str, Any]  # Any: a text, tensors, and what `transform` returns


class CacheDataset(Dataset[Item]):
    """Features in caches, for a `DataLoader`: nothing but ids and labels is in memory.

    An item is a dict: `id` of the clip, `values` float32, `times` float64 (seconds of the file), and `label`, if one
    was asked for. Worker processes may be forked or spawned: a dataset is sent as the paths of its caches, and a
    cache that was replaced in the meantime is an error.
    """

    classes: tuple[str, ...]  # by number; empty without a label, or if it is a number
    remarks: tuple[str, ...]  # what was left out, counted and named
    width: int  # D

    def __init__(
        self,
        caches: Path | str | Sequence[Path | str],
        *,
        manifest: Path | str | None = None,
        item: Literal["clip", "row"] | int = "clip",
        hop: int | None = None,
        label: str | None = None,
        label_is_number: bool = False,
        classes: Sequence[str] | None = None,
        split: str | None = None,
        transform: Callable[[Tensor], Any] | None = None,  # Any: what the user's own network takes
    ) -> None:
        """Finds the items.

        Args:
            caches: joined by id; their features are concatenated along D in this order.
            manifest: lists the clips, in order; None: all clips of the first cache.
            item: a whole clip, values [T, D]; a single row, [D]; or so many rows in a row, [L, D]. Rows after a
                clip's last whole item are in no item.
            hop: rows from the start of an item to that of the next one, if an item is a number of rows; None: L.
            label: the manifest's column that `label` comes from, as the number of its class; clips without one are
                left out.
            label_is_number: whether the label is a float32, such as a score, in place of a class.
            classes: names by number; None: all labels in the manifest, sorted, whichever split they are in.
            split: only the clips of this split; None: all.
            transform: makes from an item's values what the item has as `values`.

        Raises:
            TableError: no clip is in every cache, times differ between caches, or a label is no class or no number.
            ValueError: arguments that do not fit together.
        """
        paths = listed(caches)
        _check(item, hop)
        if manifest is None and (label is not None or split is not None):
            raise ValueError("label and split are columns of a manifest: give manifest=")
        self._stores = [open_store(path) for path in paths]
        self.width = sum(store.width for store in self._stores)
        self.transform, self._is_row = transform, item == "row"
        clips, remarks = _clips(self._stores, manifest, label, split)
        self.classes = ()
        self._labels: npt.NDArray[Any] | None = None  # Any: int64 or float32
        if label is not None and label_is_number:
            self._labels = np.array([_number(clip, label) for clip in clips], np.float32)
        elif label is not None:
            self.classes = tuple(_classes(manifest, label) if classes is None else classes)
            self._labels = _class_numbers(clips, label, self.classes)
        counts = row_counts(clips, self._stores)
        _check_times(clips, self._stores)
        self._ids = [clip.id for clip in clips]
        self._items, short = _items(counts, item, hop)
        if len(short) == len(clips):
            raise TableError(f"all {len(clips)} clips in {', '.join(map(str, paths))} have fewer than {item} rows")
        if len(short):
            remarks.append(count_named([self._ids[at] for at in short], f"with fewer than {item} rows left out"))
        self.remarks = tuple(remarks)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:
        """An item.

        Raises:
            IndexError: there is no such item.
            StoreError: the cache is damaged.
            TableError: its features are not finite.
        """
        clip, first, rows = self._items[range(len(self))[index]].tolist()
        id = self._ids[clip]
        stored = [store.stored(id) for store in self._stores]
        values = np.empty((rows, self.width), np.float32)
        left = 0
        for store, each in zip(self._stores, stored, strict=True):
            np.concatenate(
                [*each.between(first, first + rows)], out=values[:, left : left + store.width], casting="same_kind"
            )
            left += store.width
        if not np.isfinite(values).all():
            caches = ", ".join(str(store.path) for store in self._stores)
            raise TableError(f"{caches}: clip {id!r} has NaN or infinite features; extract it again, or leave it out")
        times = np.array(stored[0].times[first : first + rows])
        whole = torch.from_numpy(values[0] if self._is_row else values)
        item = {
            "id": id,
            "values": whole if self.transform is None else self.transform(whole),
            "times": torch.from_numpy(times[0] if self._is_row else times),
        }
        if self._labels is not None:  # as a tensor, since numbers of Python would become float64 in a batch
            item["label"] = torch.tensor(self._labels[clip])
        return item

    @staticmethod
    def padded(items: Sequence[Item]) -> Item:
        """A batch of clips of different lengths, for `DataLoader(..., collate_fn=CacheDataset.padded)`.

        Returns:
            As PyTorch's own, with zeros after the last row of `values` [B, T, ...] and `times` [B, T, 2], and `rows`
            [B]: how many rows are real.
        """
        padded = {name: pad_sequence([each[name] for each in items], batch_first=True) for name in ("values", "times")}
        others = [{name: value for name, value in each.items() if name not in padded} for each in items]
        return {**default_collate(others), "rows": torch.tensor([len(each["values"]) for each in items]), **padded}


def _check(item: str | int, hop: int | None) -> None:
    is_number = isinstance(item, int) and not isinstance(item, bool)
    if item not in ("clip", "row") and not (is_number and int(item) > 0):
        raise ValueError(f"item is 'clip', 'row' or a number of rows, not {item!r}")
    if hop is not None and not (is_number and hop > 0):
        raise ValueError(f"hop is a number of rows, for items that are a number of rows: hop={hop!r}, item={item!r}")


def _clips(
    stores: Sequence[Store], manifest: Path | str | None, label: str | None, split: str | None
) -> tuple[list[Clip], list[str]]:
    """The clips with rows in every store and a label, and remarks on the others."""
    if manifest is None:
        found, remarks = present_in_all([Clip(id, Path()) for id in stores[0]], stores, stores[0].path)
        return found, [*remarks]
    found, remarks = shared_clips(Path(manifest), stores, split, None if label is None else [label])
    if label is None:
        return found, [*remarks]
    labels = [tidy(text) for text in column_of(found, label)]
    kept = [replace(clip, labels={label: text}) for clip, text in zip(found, labels, strict=True) if text]
    if not kept:
        raise TableError(f"{manifest}: no clip with features has a label in the column {label!r}")
    without = [clip.id for clip, text in zip(found, labels, strict=True) if not text]
    return kept, [*remarks, *([count_named(without, f"with an empty {label!r} left out")] if without else [])]


def _classes(manifest: Path | str | None, label: str) -> list[str]:
    """All labels of a manifest, so that the numbers are the same in each split."""
    assert manifest is not None, "checked"
    return sorted({tidy(text) for text in column_of(read_manifest(manifest, labels=[label]), label)} - {""})


def _class_numbers(clips: Sequence[Clip], label: str, classes: Sequence[str]) -> IntArray:
    numbers = {name: at for at, name in enumerate(classes)}
    for clip in clips:
        if clip.labels[label] not in numbers:
            raise TableError(
                f"clip {clip.id!r}: its {label} {clip.labels[label]!r} is none of the {len(classes)} classes"
            )
    return np.array([numbers[clip.labels[label]] for clip in clips], np.int64)


def _number(clip: Clip, label: str) -> float:
    text = clip.labels[label]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TableError(f"clip {clip.id!r}: its {label} {text!r} is not a number")
    return value


def _check_times(clips: Sequence[Clip], stores: Sequence[Store]) -> None:
    """Refuses to put rows of different times beside each other."""
    for store in stores[1:]:
        for clip in clips:
            times, others = stores[0].stored(clip.id).times, store.stored(clip.id).times
            if (np.abs(times - others) > SAME_TIME).any():
                raise not_joined(clip.id, (stores[0], len(times)), (store, len(others)))


def _items(counts: IntArray, item: str | int, hop: int | None) -> tuple[npt.NDArray[np.int64], IntArray]:
    """Each item's clip, first row and number of rows [N, 3]; and the numbers of clips too short for one."""
    clips = np.arange(len(counts))
    if item == "clip":
        return np.stack([clips, np.zeros_like(counts), counts], axis=1), clips[:0]
    length = 1 if item == "row" else int(item)
    hop = hop or length
    each = np.maximum((counts - length) // hop + 1, 0)
    of_clip = np.repeat(clips, each)
    place = np.arange(len(of_clip)) - np.repeat(np.cumsum(each) - each, each)
    return np.stack([of_clip, place * hop, np.full_like(place, length)], axis=1), clips[each == 0]
