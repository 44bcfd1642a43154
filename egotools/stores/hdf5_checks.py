"""Checks HDF5 files before reading: data must be inside the file, and sizes must be plausible."""

import math
import struct
from collections.abc import Collection, Iterator
from mmap import mmap
from typing import Any

from egotools.files.numpy_files import MOST_TIMES, MOST_UNPACKED, check_fits

_REFERENCE = struct.Struct("<IQI")  # reference to a text: bytes, global heap, index in it
_HEAP = struct.Struct("<8xQ")  # header of a global heap: its bytes
_OBJECT = struct.Struct("<H6xQ")  # header of an object in it: index, bytes

# The exceptions that h5py raises for damaged data.
DAMAGES = (OSError, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


def datasets(file: Any, *, without: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """Every dataset reachable by hard links, with its path; soft and external links may lead anywhere, even elsewhere.

    Any: h5py has no types.

    Args:
        file: an open file, or a group.
        without: top-level groups to skip.
    """
    import h5py  # imported here because h5py is slow to import

    seen, waiting = set(), [("", file)]
    while waiting:
        path, group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:  # groups may contain each other
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
    """Refuses a dataset whose values are outside its file, or that declares more than is stored. Any: as above.

    Args:
        dataset: not read yet.
        size: bytes of the file.

    Raises:
        ValueError: says why.
    """
    if dataset.is_virtual or dataset.external:
        raise ValueError("its values are in another file; copy them into one, with h5repack or h5py")
    if dataset.shape is None:
        raise ValueError("it is empty")
    declared = math.prod(dataset.shape) * max(dataset.dtype.itemsize, 1)
    stored, offset = dataset.id.get_storage_size(), dataset.id.get_offset()
    if stored > size or (offset is not None and offset + stored > size):
        raise ValueError(f"it declares {stored} bytes, but the file has {size}")
    if dataset.chunks is None and stored < declared:
        raise ValueError(f"it declares {declared} bytes but holds {stored}")
    if declared > max(MOST_UNPACKED, MOST_TIMES * stored):
        raise ValueError(f"it decompresses from {stored} to {declared} bytes, more than {MOST_TIMES} times")
    check_fits(declared)


def own_dataset(file: Any, name: str, dtype: str | None, shape: tuple[int, ...], size: int) -> Any:
    """A dataset of one of our caches, not read yet. Any: as above.

    Args:
        file: an open file.
        name: its path; only hard links lead to it.
        dtype: of its elements; None for texts.
        shape: the expected shape.
        size: bytes of the file.

    Raises:
        ValueError: it is missing, has another type or shape, or its values are outside the file.
    """
    import h5py

    dataset = file
    for step in name.split("/"):
        if not isinstance(dataset, h5py.Group) or not isinstance(dataset.get(step, getlink=True), h5py.HardLink):
            raise ValueError(f"its dataset {name!r} is missing, or points outside it")
        dataset = dataset[step]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"its dataset {name!r} is not a dataset")
    layout, string = dataset.id.get_create_plist(), h5py.check_string_dtype(dataset.dtype)
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"its dataset {name!r} is in another file")
    if layout.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or layout.get_nfilters():
        raise ValueError("its arrays were rewritten with chunks or compression; restore it, or compute it again")
    is_text = string is not None and string.length is None
    is_right = is_text if dtype is None else not is_text and dataset.dtype == dtype
    if not is_right or dataset.shape != shape or dataset.id.get_type().committed():
        raise ValueError(f"its dataset {name!r} is {dataset.dtype} of the shape {dataset.shape}, not what was written")
    try:
        check_dataset(dataset, size)
    except ValueError as error:
        raise ValueError(f"its dataset {name!r} is damaged: {error}") from error
    return dataset


def own_texts(file: Any, name: str, count: int, content: mmap) -> list[tuple[int, int]]:
    """The offset and the size in bytes of each text of a dataset in one of our caches. Any: as above.

    HDF5 itself may read endlessly, or fill the memory, if the references to such texts are damaged.

    Raises:
        ValueError: as `own_dataset`, or a text is outside the file.
    """
    dataset = own_dataset(file, name, None, (count,), len(content))
    offset, properties = dataset.id.get_offset(), file.id.get_create_plist()
    if not count:
        return []
    if offset is None or properties.get_sizes() != (8, 8) or properties.get_userblock():
        raise ValueError(f"its dataset {name!r} is not stored as egotools wrote it; restore it, or compute it again")
    heaps: dict[int, dict[int, tuple[int, int]]] = {}
    places = []
    for length, heap, index in _REFERENCE.iter_unpack(content[offset : offset + count * _REFERENCE.size]):
        if heap not in heaps:
            heaps[heap] = _objects(heap, content)
        start, size = heaps[heap].get(index, (0, 0))
        if length > size:
            raise ValueError(f"its dataset {name!r} has a text that is not in it")
        places.append((start, length))
    return places


def _objects(heap: int, content: mmap) -> dict[int, tuple[int, int]]:
    """The offset and size of each object of a global heap, by its index (HDF5 File Format, section III.E)."""
    if heap + _HEAP.size > len(content) or content[heap : heap + 4] != b"GCOL":
        return {}
    end = heap + _HEAP.unpack_from(content, heap)[0]
    objects, at = {}, heap + _HEAP.size
    while at + _OBJECT.size <= min(end, len(content)):
        index, size = _OBJECT.unpack_from(content, at)
        start = at + _OBJECT.size
        if not index or start + size > min(end, len(content)):
            break
        objects[index] = start, size
        at = start + -(-size // 8) * 8
    return objects


def own_text(file: Any, name: str) -> str | bytes:
    """A text attribute of an open cache; empty if it has none. Any: as above."""
    import h5py

    if name not in file.attrs:
        return ""
    attribute = file.attrs.get_id(name)
    string = h5py.check_string_dtype(attribute.dtype)
    return file.attrs[name] if string is not None and attribute.shape == () else ""
