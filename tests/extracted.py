"""Extractions on small videos, and what is in their caches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from egotools.errors import StoreError
from egotools.extraction.request import CacheRequest
from egotools.extractors.lookup import find_extractor
from egotools.stores import open_store

ODD = Path(__file__).parent / "odd_extractors.py"


def want(folder: Path, name: str, *, cache: str = "", suffix: str = ".lmdb", **options: Any) -> CacheRequest:
    found = find_extractor(f"{ODD}:{name}" if name[0].isupper() else name)
    extractor = found.kind(**found.fixed, **options)
    return CacheRequest(folder / f"{cache or found.cache_name}{suffix}", extractor, found)


def rows_of(wanted: CacheRequest) -> dict[str, np.ndarray]:
    store = open_store(wanted.cache)
    return {id: store[id].values for id in store}


def assert_same_rows(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """The design's promise for float32 rows of another batch size, worker count or company."""
    assert one.keys() == other.keys()
    for id, rows in one.items():
        np.testing.assert_allclose(rows, other[id], rtol=1e-4, atol=1e-4 * np.abs(rows).max())


def committed(cache: Path) -> int:
    try:
        return len(open_store(cache))
    except StoreError:
        return 0
