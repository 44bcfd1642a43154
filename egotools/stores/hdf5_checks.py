"""HDF5 files of others: what of them lies in the file itself, and is as large as the file says."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from egotools.numpy_files import MOST_TIMES, MOST_UNFOLDED, check_fits


def datasets(file: Any, *, without: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """Every dataset that hard links lead to, with its path; soft and external links may lead anywhere, out of the file.

    Any: h5py has no types.

    Args:
        file: an open file, or a group.
        without: groups on top that are passed over.
    """
    import h5py  # here, for it takes its time to import

    seen, waiting = set(), [("", file)]
    while waiting:
        path, group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:  # groups may hold each other
            continue
        seen.add(address)
        deeper = []
        for name in group:
            if (not path and name in without) or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group[name]
            if isinstance(item, h5py.Dataset):
                yield path + name, item
            elif isinstance(item, h5py.Group):
                deeper.append((f"{path}{name}/", item))
        waiting.extend(reversed(deeper))


def check_dataset(dataset: Any, size: int) -> None:
    """Refuses a dataset whose values lie outside its file, or that declares more than lies there. Any: as above.

    Args:
        dataset: not read yet.
        size: bytes of the file.

    Raises:
        ValueError: says why.
    """
    if dataset.is_virtual or dataset.external:
        raise ValueError("its values lie in another file; copy them into one, with h5repack or h5py")
    if dataset.shape is None:
        raise ValueError("it is empty")
    declared = math.prod(dataset.shape) * max(dataset.dtype.itemsize, 1)
    stored, offset = dataset.id.get_storage_size(), dataset.id.get_offset()
    if stored > size or (offset is not None and offset + stored > size):
        raise ValueError(f"it declares {stored} bytes of a file of {size}")
    if dataset.chunks is None and stored < declared:
        raise ValueError(f"it declares {declared} bytes and holds {stored}")
    if declared > max(MOST_UNFOLDED, MOST_TIMES * stored):
        raise ValueError(f"it unfolds from {stored} to {declared} bytes, more than {MOST_TIMES} times")
    check_fits(declared)
